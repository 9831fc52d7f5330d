"""Carries out a change of shared state as a strategy of one line, exactly once."""

import re
from typing import Any

from algocline_mcp.errors import AlcError, Refused, Unreachable
from algocline_mcp.pool import dispatch
from algocline_mcp.server.tool_call.arguments import ABSENT
from algocline_mcp.server.tool_call.deadline import within
from algocline_mcp.server.tool_call.tool import Host, opened

_PLACE = re.compile(r"^call:(\d+:)? ")  # of an error, in a line of code that nobody has written


async def carried_out(host: Host, code: str, ctx: dict[str, Any]) -> Any:
    """What the code returns. Raises Refused with the error that it raises."""
    held = opened(host)
    pool, limits = held.usable(), held.limits
    given = {key: value for key, value in ctx.items() if value is not None and value is not ABSENT}
    started = dispatch.Strategy(code, "call", given)
    again = "whether it was done is not known; look, and call this again"
    reply = await within(
        limits.grace_s, dispatch.run_via_pool(pool, started, wait_s=limits.grace_s / 2), unanswered=again
    )
    result = reply.result
    if result["status"] not in ("completed", "error"):
        raise Unreachable(f"session {reply.session_id} is at it; {again}")
    pool.in_background(_delete, pool, reply.session_id)
    if result["status"] == "error":
        raise Refused(_PLACE.sub("", result["error"].partition("\n")[0]))
    return result["result"]


async def _delete(pool: dispatch.Pool, sid: str) -> None:
    try:
        await dispatch.stop_via_pool(pool, sid, "delete")
    except AlcError:
        return  # retention takes it
