"""Shapes of replies: the feed result of a worker, and the flat result of a tool that is made of it. Pure.

{"Paused": {queries, running?, warnings?}}
                                        {status: needs_response, session_id, query_id, prompt, …, running?, warnings?}
                                        several: {status, session_id, queries: [{query_id, …}], running?, warnings?}
{"Running": {elapsed_s, progress?}}     {status: running, session_id, elapsed_s, progress?, next}
{"Accepted": {remaining, pending}}      {status: accepted, session_id, remaining, pending, next}
{"Stuck": {error_code, error, …}}       {status: error, session_id, error_code, error, …}
{"Finished": {state, metrics}}          {status: completed | cancelled | error, session_id, result?, error?,
                                        warnings?, stats?, next?}
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from algocline_mcp.errors import Refused, Unreachable
from algocline_mcp.protocol.messages import PoolResponse
from algocline_mcp.session.results import lean_query

# Fields of a result that an option of alc.llm must not set.
# fmt: off
OWN_FIELDS = {
    "status", "session_id", "id", "query_id", "prompt", "system", "max_tokens", "grounded", "underspecified",
    "queries", "running", "result", "error", "error_code", "stats", "next", "title", "progress", "warnings",
    "refused", "elapsed_s", "not_taken", "remaining", "pending", "pool_save_error", "truncated", "cursor", "resource",
    "stopped",
}
# fmt: on
NEXT_WHILE_RUNNING = "alc_status with this session_id and wait_s waits for the next prompt"
_NEXT_AFTER_ACCEPTED = "answer the pending queries; alc_status with this session_id shows their prompts again"
_NEXT_AFTER_ERROR = "correct the code or ctx, then call alc_run again"
_NEXT_AFTER_PAID_ERROR = (
    "correct the code, then call alc_branch with this session_id and code=… (or ctx=…, the whole of it): a new session "
    "keeps all answers and asks only the prompts that differ"
)
_NEXT_AFTER_STOP = "stopped: its processes have ended and nothing is lost. To go on: "
_GO_ON = {  # by status; an error of a session that can go on has its own `next`
    "needs_response": "answer the pending prompts with alc_continue",
    "running": "call alc_status with this session_id and wait_s",
}
_NEXT_AFTER_NOT_TAKEN = "the answer is not taken yet: send the same answer again"


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress that a strategy reported with alc.progress; step and total are 0 where it has reported nothing.
    `elapsed_s`: for how long the session computes; None: not known."""

    step: int
    total: int
    message: str | None
    elapsed_s: float | None = field(default=None, compare=False)


OnProgress = Callable[[Progress], Awaitable[None]]


class PoolReply(NamedTuple):
    """`result`: the flat result of a tool. `pool_save_error`: why registry.json could not be written, or None."""

    session_id: str
    result: dict[str, Any]
    pool_save_error: str | None


def extract_feed_response(response: PoolResponse) -> tuple[str, dict[str, Any]]:
    """`(session id, feed result)`. Raises Refused with the worker's error text, Unreachable for another shape."""
    if response.error is not None:
        raise Refused(response.error, code=response.code or "refused")
    data = response.data or {}
    if data.get("kind") != "feed" or not isinstance(data.get("feed_result"), dict):
        raise Unreachable(f"the worker answered {data.get('kind')!r} instead of a feed result; ask again")
    return str(data["session_id"]), data["feed_result"]


def result_of(session_id: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a tool from the data of a response: `{feed_result, refused?, not_taken?}`."""
    result = feed_result_to_mcp_json(session_id, data["feed_result"])
    if data.get("refused"):
        result["refused"] = data["refused"]
    if data.get("not_taken"):
        result |= {"not_taken": True, "next": _NEXT_AFTER_NOT_TAKEN}
    return result


def stopped(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a session that has been hibernated: it says so, and how to go on. That of a session that had ended
    before is returned as it is."""
    status = result["status"]
    has_ended = status in ("completed", "cancelled") or (status == "error" and "error_code" not in result)
    if has_ended:
        return dict(result)
    head = {name: result[name] for name in ("status", "session_id")}
    advice = _GO_ON.get(status) or result.get("next") or _GO_ON["running"]
    return {**head, "stopped": True, **result, "next": _NEXT_AFTER_STOP + advice}


def feed_result_to_mcp_json(session_id: str, feed_result: Mapping[str, Any]) -> dict[str, Any]:
    """The flat result of a tool from a worker's feed result; see the table above."""
    ((name, body),) = feed_result.items()
    head = {"session_id": session_id}
    if name == "Paused":
        return {"status": "needs_response", **head, **_queries_json(body)}
    if name == "Accepted":
        return {"status": "accepted", **head, **body, "next": _NEXT_AFTER_ACCEPTED}
    if name == "Stuck":
        return {"status": "error", **head, **body}
    if name == "Running":
        return {"status": "running", **head, **body, "next": NEXT_WHILE_RUNNING}
    return _end_json(head, body)


def _queries_json(body: Mapping[str, Any]) -> dict[str, Any]:
    queries = [_query_json(query) for query in body["queries"]]
    rest = {name: body[name] for name in ("running", "warnings") if name in body}
    if len(queries) == 1:
        return {**queries[0], **rest}
    return {"queries": queries, **rest}


def _query_json(query: Mapping[str, Any]) -> dict[str, Any]:
    """Further options of the strategy come last and never replace a field of ours."""
    lean = lean_query({key: query[key] for key in ("prompt", "system", "max_tokens")})
    own = {"query_id": query["id"]} | lean
    flags = {key: True for key in ("grounded", "underspecified") if query.get(key)}
    return own | flags | {key: value for key, value in query.items() if key not in OWN_FIELDS}


def _end_json(head: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    state, stats = body["state"], body["metrics"]
    if state == "Cancelled":
        return {"status": "cancelled", **head, "stats": stats}
    ((name, end),) = state.items()
    warnings = {"warnings": end["warnings"]} if end.get("warnings") else {}
    if name == "Failed":
        advice = _NEXT_AFTER_PAID_ERROR if stats["auto"]["rounds"] else _NEXT_AFTER_ERROR
        return {"status": "error", **head, "error": end["error"], **warnings, "next": advice}
    return {"status": "completed", **head, "result": end["result"], **warnings, "stats": stats}
