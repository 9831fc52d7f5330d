"""What is sent to a second server after the first has ended, and what the host is told of the rest. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from algocline_mcp.transport.jsonrpc import INTERNAL_ERROR, Problem, replies

REPEATABLE = frozenset(
    (
        "alc_card_alias_list", "alc_card_find", "alc_card_get", "alc_card_get_by_alias", "alc_card_lineage",
        "alc_card_list", "alc_card_samples", "alc_catalog", "alc_eval_compare", "alc_eval_detail", "alc_eval_history",
        "alc_info", "alc_log_view", "alc_pkg_doctor", "alc_pkg_list", "alc_pool_ensure", "alc_pool_status",
        "alc_scenario_list", "alc_scenario_show", "alc_state_list", "alc_state_show", "alc_stats", "alc_status",
    )
)  # fmt: skip
"""Tools that only read; tests/front/test_repeatable.py compares them with the hints of the tools."""


_ADVICE = "No answer is lost: alc_status() lists the sessions; look there whether it took effect, then send it again"
_ADVICES = {
    "alc_run": "The session may have started: look at alc_status() before you call alc_run again",
    "alc_branch": "The branch may have started: look at alc_status() before you call alc_branch again",
    "alc_continue": "The answer may have been taken: alc_status(session_id) shows the pending prompts; answer them by "
    "their query_id, then sending an answer again is safe",
}


def is_repeatable(request: Mapping[str, Any]) -> bool:
    """Whether it does no harm to send the request to a second server after the first may have carried it out.

    An answer that names its prompt counts once; one without a name would answer whatever prompt is the next.
    """
    if request["method"] != "tools/call":
        return True  # what a host reads
    params = request.get("params") or {}
    arguments = params.get("arguments")
    if params.get("name") == "alc_continue" and isinstance(arguments, dict):
        return any(_is_given(arguments.get(name)) for name in ("responses", "query_id"))
    return isinstance(params.get("name"), str) and params["name"] in REPEATABLE


def _is_given(argument: Any) -> bool:
    """As server/tool_call/absence.py says it: hosts fill in what a model left out."""
    text = argument.strip() if isinstance(argument, str) else argument
    return text not in (None, "", "null", "[]", "{}", [], {})


def tool_of(request: Mapping[str, Any]) -> str | None:
    name = (request.get("params") or {}).get("name")
    return name if request["method"] == "tools/call" and isinstance(name, str) else None


# ── lines for the host ────────────────────────────────────────────────────────────────────────────────────


def reply_line(number: int | str, answer: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":%s%s\n' % (json.dumps(number).encode(), answer)


def error_line(number: int | str, code: int, reason: str) -> bytes:
    return replies(Problem(reason, code, (number,)))


def refusal(number: int | str, method: str, tool: str | None, deliveries: int, how: str) -> bytes:
    """A failed call as a result, because a model sees that, and of an error a host may show the code alone."""
    if deliveries == 0:
        reason = f"the server cannot start ({how}): its stderr says why; `alc doctor` at a terminal checks it"
        return error_line(number, INTERNAL_ERROR, reason)
    count = f"{deliveries} servers" if deliveries > 1 else "the server"
    reason = f"{count} ended ({how}) before {tool or method} was answered; the next call starts another one"
    if tool is None:
        return error_line(number, INTERNAL_ERROR, reason)
    text = f"{reason}. {_ADVICES.get(tool, _ADVICE)} [server_ended]"
    result = {"content": [{"type": "text", "text": text}], "isError": True, "resultType": "complete"}
    return reply_line(number, b',"result":%s}' % json.dumps(result).encode())
