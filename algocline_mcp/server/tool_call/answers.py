"""From the arguments of alc_continue to the answers it brings.

Contract: a call brings `response` or `refuse` for one prompt, or `responses` for any number. Items of `responses`
are judged one by one, here for their form and in the session for their meaning: one bad item costs the others
nothing. Refused: nothing usable was brought.
"""

from dataclasses import replace
from typing import Any

from pydantic_core import PydanticCustomError

from algocline_mcp.errors import Refused
from algocline_mcp.server.tool_call.arguments import kind, quoted, refuse, text, usage
from algocline_mcp.session.events import Answer

ITEM_KEYS = ("query_id", "response", "refuse", "usage", "by")

Unusable = dict[str, Any]  # {query_id, reason}, as in `refused` of a result


def gather(single: Answer, responses: list[Any] | None, answer_bytes: int) -> tuple[list[Answer], list[Unusable]]:
    """The answers to send, and the items that cannot be."""
    unusable: list[Unusable] = []
    if responses is None:
        answers = [_checked(single)]
    else:
        extra = [name for name in ("response", "refuse", "query_id", "usage") if getattr(single, name) is not None]
        if extra:
            raise Refused(f"responses came together with {' and '.join(extra)}: put all of it into the list's items")
        if not responses:
            raise Refused("Empty responses array: give one {query_id, response} for each pending prompt")
        answers, unusable = _read_items(responses, single.by)
    size = sum(len((answer.response or answer.refuse or "").encode("utf-8", "replace")) for answer in answers)
    if size > answer_bytes:
        raise Refused(f"the answers have {size} bytes, at most {answer_bytes} in one call: shorten", code="too_large")
    return answers, unusable


def _checked(single: Answer) -> Answer:
    if single.response is not None and single.refuse is not None:
        raise Refused("give either response or refuse, not both")
    if single.response is None and single.refuse is None:
        raise Refused(
            "Either 'response' or 'responses' must be provided, or 'refuse' with a reason; "
            "alc_status(session_id) shows the pending prompts"
        )
    return single


def _read_items(items: list[Any], by: str | None) -> tuple[list[Answer], list[Unusable]]:
    answers: list[Answer] = []
    unusable: list[Unusable] = []
    for item in items:
        try:
            answer = _read_item(item)
        except PydanticCustomError as exc:
            named = item.get("query_id", item.get("id")) if isinstance(item, dict) else None
            unusable.append({"query_id": named if isinstance(named, str) else None, "reason": exc.message()})
        else:
            answers.append(answer if answer.by else replace(answer, by=by))
    if not answers:
        raise Refused(unusable[0]["reason"])
    return answers, unusable


def _read_item(item: Any) -> Answer:
    if not isinstance(item, dict):
        raise refuse(f"an item of responses is {kind(item)}: give an object with query_id and response")
    given = {key: value for key, value in item.items() if value is not None}
    if "id" in given:  # a list of pending queries shows both names
        given.setdefault("query_id", given["id"])
        del given["id"]
    unknown = [key for key in given if key not in ITEM_KEYS]
    if unknown:
        fields = ", ".join(ITEM_KEYS)
        raise refuse(f"an item of responses has no field {quoted(unknown[0])}: its fields are {fields}")
    if "query_id" not in given:
        raise refuse("an item of responses has no query_id: name the prompt that it answers")
    if ("response" in given) == ("refuse" in given):
        raise refuse("each item of responses needs either a response, or refuse with a reason")
    return Answer(
        query_id=text(given["query_id"]),
        response=text(given["response"]) if "response" in given else None,
        refuse=text(given["refuse"]) if "refuse" in given else None,
        usage=usage(given.get("usage")),
        by=text(given["by"]) if "by" in given else None,
    )
