"""The MCP server behind HTTP: its addresses, and its end.

Contract. /mcp takes MCP by streamable HTTP in both eras of the protocol, without sessions of the transport: each
request stands by itself, so any server of this home can take the next one. /healthz says that the process serves,
/readyz whether it takes calls: it says 503 from SIGTERM on, and while the database of a node does not answer. /metrics
has counts, for whoever may call. `end_calls` gives each call that still waits a reply.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp

from algocline_mcp.config.http import HttpLimits, HttpSettings
from algocline_mcp.http.guard import Admission, Guard
from algocline_mcp.http.long_replies import LongReplies
from algocline_mcp.server.app import Server, build_as
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.lifespan import ServerState

if TYPE_CHECKING:
    from algocline_mcp.http.metrics import Metrics
    from algocline_mcp.pool.node import Node
    from algocline_mcp.pool.spawn import ForkServerProcess

PATH = "/mcp"
_ENDING = (
    "this server is stopping; the session goes on and nothing is lost: call {tool} again with the same arguments, "
    "or alc_status() where it would start something"
)


class HttpServer(Server):
    """Calls that can be ended with a reply."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._calls: set[anyio.CancelScope] = set()
        self._is_ending = False
        self.state: ServerState | None = None  # once a tool was called

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[ServerState, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        if context is not None:
            self.state = context.request_context.lifespan_context
        with anyio.CancelScope() as scope:
            self._calls.add(scope)
            try:
                if not self._is_ending:
                    return await super().call_tool(name, arguments, context)
            finally:
                self._calls.discard(scope)
        return results.refusal(_ENDING.format(tool=name), "stopping", name)

    def end_calls(self) -> None:
        self._is_ending = True
        for scope in list(self._calls):
            scope.cancel()


class Service:
    """`verifier`: of the tokens of callers; None where everybody who reaches the server is the user. `node`: where
    several servers share a database."""

    def __init__(
        self,
        settings: HttpSettings,
        limits: HttpLimits,
        verifier: TokenVerifier | None = None,
        fork_process: "ForkServerProcess | None" = None,
        node: "Node | None" = None,
    ) -> None:
        self.server = build_as(HttpServer, fork_process, node)
        self._node = node
        self._manager = StreamableHTTPSessionManager(
            self.server._lowlevel_server, stateless=True, max_request_body_size=limits.body_bytes
        )
        self._admission = Admission(LongReplies(self._manager.handle_request), limits)
        self._is_ready = False
        endpoint: ASGIApp = self._admission
        metrics = _metrics(self._admission)
        show: Callable[..., Any] = _no_metrics if metrics is None else metrics.show
        middleware = []
        metadata_url, metadata_routes = _metadata(settings)
        if verifier is not None:
            endpoint = RequireAuthMiddleware(endpoint, [], metadata_url)
            show = RequireAuthMiddleware(request_response(show), [], metadata_url)
            middleware = [Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(verifier))]
        routes = [
            *(Route(path, endpoint=endpoint) for path in (PATH, f"{PATH}/")),
            Route("/healthz", endpoint=self._health),
            Route("/readyz", endpoint=self._readiness),
            Route("/metrics", endpoint=show, methods=["GET"]),
            *metadata_routes,
        ]
        app = Starlette(routes=routes, middleware=middleware)
        app.router.redirect_slashes = False  # it leads to http://, also behind TLS, and to whatever Host was sent
        guarded = Guard(app, settings, checks_host=verifier is None)
        self.app: ASGIApp = guarded if metrics is None else metrics.around(guarded)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._manager.run():
            self._is_ready = True
            yield

    def become_unready(self) -> None:
        self._is_ready = False

    async def _health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readiness(self, request: Request) -> Response:
        if self._is_ready and self._node is not None and not await self._node.is_ready():
            return PlainTextResponse("the database does not answer\n", 503)
        return PlainTextResponse("ready\n") if self._is_ready else PlainTextResponse("stopping\n", 503)


def _metrics(admission: Admission) -> "Metrics | None":
    """None where the extra is not installed."""
    try:
        from algocline_mcp.http.metrics import Metrics
    except ImportError:
        return None
    gauges: dict[str, tuple[str, Callable[[], float]]] = {
        "alc_http_requests_under_way": ("Requests at /mcp that have no reply yet.", admission.under_way.total),
        "alc_http_bodies_bytes": ("Bodies of these requests.", lambda: admission.bodies_bytes),
    }
    return Metrics(PATH, gauges)


async def _no_metrics(request: Request) -> Response:
    return PlainTextResponse("install prometheus-client, the extra `metrics`, and start this server again\n", 404)


def _metadata(settings: HttpSettings) -> tuple[AnyHttpUrl | None, list[Route]]:
    """Where a client without a token learns which issuer gives it one (RFC 9728): the URL and its route; none where the
    audience of the tokens is not an address."""
    issuer = settings.issuer
    if issuer is None or not issuer.audience.startswith(("http://", "https://")):
        return None, []
    urls = {"issuer_url": issuer.issuer, "resource_server_url": issuer.audience}  # kept as they are written
    server = AuthSettings.model_validate(urls | {"validate_token_resource": False})  # the verifier does
    assert server.resource_server_url is not None
    routes = create_protected_resource_routes(server.resource_server_url, [server.issuer_url])
    return build_resource_metadata_url(server.resource_server_url), routes
