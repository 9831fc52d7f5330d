"""Calls from a tool into the pool: their deadline, their progress notifications, and the size of their result.

Contract. Each call answers within a deadline, whatever hangs: `call_pool` and `call_with_progress` within the granted
wait plus `limits.grace_s`, `run_in_thread` within `limits.grace_s`. At the deadline Unreachable (code `timeout`) says
`timeout_advice`; the session, the thread or the process that was waited for goes on. While a setting does not work,
each function raises HomeUnusable before it does anything else: no other advice helps then.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
from mcp_types import CallToolResult

from algocline_mcp.history.chunking import is_long
from algocline_mcp.server.tool_call import principals, results
from algocline_mcp.server.tool_call.deadline import allowed_wait_s, with_deadline, with_progress
from algocline_mcp.server.tool_call.lifespan import ServerState
from algocline_mcp.server.tool_call.tool import ToolContext
from algocline_mcp.server.tool_call.truncation import shown_bytes, truncate

if TYPE_CHECKING:
    from algocline_mcp.pool import dispatch

    PoolCall = Callable[[dispatch.Pool, float, dispatch.OnProgress | None], Awaitable[dispatch.PoolReply]]

Found = TypeVar("Found")


def server_state(context: ToolContext) -> ServerState:
    """The state of this server. Raises HomeUnusable where its pool cannot be opened."""
    server: ServerState = context.request_context.lifespan_context
    server.pool()
    return server


def client_name(context: ToolContext) -> str:
    """The name by which the host introduced itself, or ""."""
    params = context.session.client_params
    return params.client_info.name if params is not None else ""


def granted_wait_s(context: ToolContext, wait_s: float | None) -> float:
    """The wait that a call gets which asks for `wait_s`; None asks for the default of the settings."""
    limits = server_state(context).limits
    return allowed_wait_s(limits.wait_s if wait_s is None else wait_s, client_name(context), limits.wait_max_s)


async def call_pool(
    context: ToolContext,
    wait_s: float | None,
    call: "PoolCall",
    *,
    timeout_advice: str,
    additions: Mapping[str, list[Any]] | None = None,
    goes_on: bool = True,
) -> dict[str, Any]:
    """The result of `call(pool, granted wait, on_progress)`, which is about one session. `on_progress` is None where
    the host does not ask for progress: another node would report it for nothing.

    `additions`: field -> items that are appended to the list of this name in the result, such as `refused`. `goes_on`:
    where this server answers prompts itself, the open prompts of the session are answered.
    """
    server, granted_s = server_state(context), granted_wait_s(context, wait_s)
    is_reported = "progress_token" in (context.request_context.meta or {})

    async def answered(on_progress: "dispatch.OnProgress") -> "dispatch.PoolReply":
        began_s = anyio.current_time()
        reply = await call(server.pool(), granted_s, on_progress if is_reported else None)
        answering = server.answering() if goes_on else None
        if answering is None:
            return reply
        left_s = max(0.0, granted_s - (anyio.current_time() - began_s))
        return await answering.answered(server.pool(), reply, left_s, on_progress)

    reply = await with_progress(
        answered,
        context.report_progress,
        limit_s=granted_s + server.limits.grace_s,
        timeout_advice=timeout_advice,
    )
    result = dict(reply.result)
    for name, items in (additions or {}).items():
        if items:
            result[name] = [*result.get(name, []), *items]
    if "error_code" in result:  # else the error is the strategy's
        result["error"] = principals.sentence_for_caller(str(result["error"]), str(result["error_code"]))
    if reply.pool_save_error is not None:
        result["pool_save_error"] = principals.without_directories(reply.pool_save_error)
    return result


async def call_with_progress(
    context: ToolContext, wait_s: float, work: Callable[[], Awaitable[Found]], *, timeout_advice: str
) -> Found:
    """The result of `work()`, which is not about a session; the host gets a heartbeat while it waits."""
    server = server_state(context)
    return await with_progress(
        lambda on_progress: work(),
        context.report_progress,
        limit_s=granted_wait_s(context, wait_s) + server.limits.grace_s,
        timeout_advice=timeout_advice,
    )


async def run_in_thread(context: ToolContext, work: Callable[[], Found]) -> Found:
    """The result of `work()`, which blocks on the disk. The thread is not one of those in which the SDK reads stdin."""
    call = anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    advice = "ask again, perhaps with a lower limit"
    return await with_deadline(server_state(context).limits.grace_s, call, timeout_advice=advice)


def max_result_bytes(context: ToolContext) -> int:
    """How many bytes of one result the host shows to the model."""
    return shown_bytes(client_name(context), server_state(context).limits.output_bytes)


async def host_result(
    context: ToolContext, result: dict[str, Any], *, cursor: str = "", reserved_bytes: int = 0
) -> CallToolResult:
    """`result` cut to what the host shows, less `reserved_bytes`. `cursor`: of an earlier, truncated result. A long one
    is cut and written on a thread: 7 MB held the event loop, so every other session of the host, for 0.4 s."""
    max_bytes = max_result_bytes(context) - reserved_bytes
    result = _without_schemas(result)
    if not is_long(result):
        return results.short_result(truncate(result, max_bytes, cursor))
    write = partial(_cut_result, result, max_bytes, cursor)
    return await anyio.to_thread.run_sync(write, limiter=anyio.CapacityLimiter(1))


def _without_schemas(result: dict[str, Any]) -> dict[str, Any]:
    """The prompt of a query with a schema asks for its form: a host need not read that twice."""
    if isinstance(result.get("schema"), dict):
        result = {key: value for key, value in result.items() if key != "schema"}
    if any(isinstance(query.get("schema"), dict) for query in result.get("queries") or ()):
        return result | {"queries": [_without_schemas(query) for query in result["queries"]]}
    return result


def _cut_result(result: dict[str, Any], max_bytes: int, cursor: str) -> CallToolResult:
    cut = truncate(result, max_bytes, cursor)
    if cut is not result:
        result.clear()  # here, on the thread: to free a million objects takes 0.1 s
    return results.result(cut)
