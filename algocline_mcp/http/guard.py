"""What is refused before the SDK sees a request, and before a body is read. ASGI.

Contract. `Guard` stands outermost: a request by a name or from a web page that is not allowed gets 421 or 403 (DNS
rebinding: a page of a stranger whose name leads to this machine sends that name as its Host, and its own Origin). One
that says twice who calls gets 400.
`Admission` stands behind the authentication: it counts requests under way and their bodies, reads a body whole, judges
it as the lines over stdio, and says who calls. The SDK decodes a body on the event loop, which serves all: one with
700,000 keys held it for 5 s on a busy machine, and takes 0.1 s now. Each refusal is one sentence in a JSON-RPC error,
and changes nothing. No header is repeated or logged.
"""

import json
from collections import Counter, deque
from collections.abc import Mapping
from functools import partial

import anyio
import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from algocline_mcp.config.http import HttpLimits, HttpSettings
from algocline_mcp.session.owner import USER, calling_as
from algocline_mcp.transport import jsonrpc

OPEN_PATHS = ("/healthz", "/readyz")  # a balancer asks them by an address; they say nothing of the sessions
_JUDGES = 2  # threads
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


class Refusal(Exception):
    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})
        self.code = jsonrpc.INVALID_REQUEST
        self.id: str | int | None = None

    @classmethod
    def of(cls, problem: jsonrpc.Problem) -> "Refusal":
        """Of a body that is not served."""
        is_no_json = problem.code == jsonrpc.PARSE_ERROR
        refusal = cls(400, "the body is not JSON: send one message" if is_no_json else problem.reason)
        refusal.code = problem.code
        refusal.id = next(iter(problem.ids), None)
        return refusal

    async def send(self, send: Send) -> None:
        error = {"jsonrpc": "2.0", "id": self.id, "error": {"code": self.code, "message": str(self)}}
        body = json.dumps(error).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **self.headers}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})


def host_of(header: str) -> str:
    """The name in a Host header, without its port."""
    name, _, port = header.rpartition(":")
    return (name if port.isascii() and port.isdigit() else header).lower()


class Guard:
    """`checks_host`: where the server asks for a token, a page of a stranger has none, and any name will do unless
    `settings` names some."""

    def __init__(self, app: ASGIApp, settings: HttpSettings, *, checks_host: bool) -> None:
        self._app = app
        self._hosts = frozenset((*_LOCAL_HOSTS, *settings.hosts)) if checks_host or settings.hosts else None
        self._origins = frozenset(settings.origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = None if scope["path"] in OPEN_PATHS else self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal.send(send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        hosts = _values(scope, b"host")
        if self._hosts is not None and (len(hosts) != 1 or host_of(hosts[0]) not in self._hosts):
            return Refusal(421, "this name of the server is not among those in ALC_HTTP_HOSTS of the server")
        for origin in _values(scope, b"origin"):
            if origin.lower() not in self._origins and not self._is_local_page(origin):
                return Refusal(403, "this web page is not among the origins in ALC_HTTP_ORIGINS of the server")
        if len(_values(scope, b"authorization")) > 1:  # a proxy may have judged another one than is read here
            return Refusal(400, "the request has several Authorization headers: send one")
        return None

    def _is_local_page(self, origin: str) -> bool:
        """Whether the page was served on this machine, which the Host says too where it is checked."""
        scheme, _, host = origin.partition("://")
        return scheme in ("http", "https") and host_of(host) in _LOCAL_HOSTS and self._hosts is not None


def _values(scope: Scope, header: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == header]


class Admission:
    def __init__(self, app: ASGIApp, limits: HttpLimits) -> None:
        self._app = app
        self._limits = limits
        self.under_way: Counter[str] = Counter()  # requests, by principal
        self.bodies_bytes = 0
        self._judges = anyio.CapacityLimiter(_JUDGES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = principal_of(scope)
        try:
            self._check(scope, principal)
        except Refusal as refusal:
            await refusal.send(send)
            return
        self.under_way[principal] += 1
        held = _Held(self)
        try:
            with calling_as(principal):
                await self._serve(held, scope, receive, send)
        finally:
            self.bodies_bytes -= held.size
            self.under_way[principal] -= 1
            if not self.under_way[principal]:
                del self.under_way[principal]

    def _check(self, scope: Scope, principal: str) -> None:
        if scope["method"] != "POST":
            raise Refusal(405, "this address takes POST alone: the server keeps no streams", {"allow": "POST"})
        limits = self._limits
        if self.under_way.total() >= limits.requests:
            raise _busy(f"the server has {limits.requests} requests under way (ALC_HTTP_REQUESTS)")
        if principal and self.under_way[principal] >= limits.requests_each:
            raise _busy(f"you have {limits.requests_each} requests under way (ALC_HTTP_REQUESTS_EACH)")
        for declared in _values(scope, b"content-length"):
            self.check_size(int(declared))  # h11 lets nothing else through

    def check_size(self, size: int) -> None:
        if size > self._limits.body_bytes:
            sentence = (
                f"the body has more than {self._limits.body_bytes} bytes (ALC_HTTP_BODY_BYTES): send less at once"
            )
            raise Refusal(413, sentence, {"connection": "close"})

    def check_total(self) -> None:
        if self.bodies_bytes > self._limits.bodies_bytes:
            raise _busy(f"the server holds {self._limits.bodies_bytes} bytes of requests (ALC_HTTP_BODIES_BYTES)")

    async def judged(self, parts: list[bytes]) -> bytes:
        """The body for the SDK, what can be repaired repaired. A long one is judged on a thread. Raises Refusal."""
        body = b"".join(parts)
        parts.clear()
        judge = partial(jsonrpc.message_of, body)
        is_long = len(body) > jsonrpc.WHOLE_BYTES
        message = await anyio.to_thread.run_sync(judge, limiter=self._judges) if is_long else judge()
        if isinstance(message, jsonrpc.Problem):
            raise Refusal.of(message)
        return message.text.encode()

    async def _serve(self, held: "_Held", scope: Scope, receive: Receive, send: Send) -> None:
        try:
            messages = deque(await held.read(receive))
        except Refusal as refusal:
            await refusal.send(send)
            return

        async def replay() -> Message:
            return messages.popleft() if messages else await receive()

        await self._app(scope, replay, send)


class _Held:
    """The body of one request, as far as it was read."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.size = 0

    async def read(self, receive: Receive) -> list[Message]:
        """The whole body as one message, or the end of the connection. Raises Refusal."""
        parts: list[bytes] = []
        while (message := await receive())["type"] == "http.request":
            part: bytes = message.get("body", b"")
            parts.append(part)
            self.size += len(part)
            self._admission.bodies_bytes += len(part)
            self._admission.check_size(self.size)
            self._admission.check_total()
            if not message.get("more_body", False):
                return [{"type": "http.request", "body": await self._admission.judged(parts), "more_body": False}]
        return [message]


def _busy(reason: str) -> Refusal:
    sentence = f"{reason}: send the request again in a moment; no answer is lost"
    return Refusal(503, sentence, {"retry-after": "1", "connection": "close"})


def principal_of(scope: Scope) -> str:
    """The name of the authenticated caller; the user's where nobody is asked."""
    user = scope.get("user")
    return USER if user is None else str(user.display_name)
