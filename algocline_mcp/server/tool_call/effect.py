"""Performs one change of shared state, exactly once, as a strategy of one line.

Contract. `alc.state` and `alc.card` are implemented in the worker alone. There a change is an effect: one transaction
of the state database stores the change together with a mark of the session, and the journal records the result, so a
process killed at any moment neither loses the change nor repeats it. A tool that changes shared state therefore starts
a session whose code is one line, and returns the session's result. The session never pauses (the code must not call
`alc.llm`) and is deleted in the background afterwards; retention deletes the session of a server that left before.
"""

import re
from typing import Any

from algocline_mcp.errors import AlcError, Refused, Unreachable
from algocline_mcp.pool import dispatch
from algocline_mcp.server.tool_call.arguments import ABSENT
from algocline_mcp.server.tool_call.deadline import with_deadline
from algocline_mcp.server.tool_call.pool_call import server_state
from algocline_mcp.server.tool_call.tool import ToolContext

_POSITION = re.compile(r"^call:(\d+:)? ")  # of an error in the line of code, which the caller has not written


async def run_effect(context: ToolContext, code: str, ctx: dict[str, Any]) -> Any:
    """What `code` returns. `ctx`: the values for the code; those that are None or ABSENT are left out.

    Raises Refused with the error that the code raises, and then nothing has changed; Unreachable where the session has
    not finished within `limits.grace_s`, and then it is not known whether the change was applied.
    """
    server = server_state(context)
    pool, limits = server.pool(), server.limits
    present = {key: value for key, value in ctx.items() if value is not None and value is not ABSENT}
    strategy = dispatch.Strategy(code, "call", present)
    advice = "the change may or may not have been applied. Check the state, then retry"
    call = dispatch.run_via_pool(pool, strategy, wait_s=limits.grace_s / 2)
    reply = await with_deadline(limits.grace_s, call, timeout_advice=advice)
    result = reply.result
    if result["status"] not in ("completed", "error"):
        raise Unreachable(f"Session {reply.session_id} has not finished; {advice}")
    pool.in_background(_delete, pool, reply.session_id)
    if result["status"] == "error":
        raise Refused(_POSITION.sub("", result["error"].partition("\n")[0]))
    return result["result"]


async def _delete(pool: dispatch.Pool, sid: str) -> None:
    try:
        await dispatch.stop_via_pool(pool, sid, "delete")
    except AlcError:
        return  # retention deletes the session later
