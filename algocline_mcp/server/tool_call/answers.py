"""Answers from the arguments of alc_continue.

Contract. A call has `response` or `refuse` for one prompt, or `responses` for any number of prompts. Each item of
`responses` is checked on its own, here for its form and by the session for its meaning: an invalid item does not affect
the others. Refused is raised where no item is valid. An empty answer is no answer: it is absent. A response of "null",
[] or {} is an answer where nothing else is given, and absent beside a refusal or `responses`.
"""

from dataclasses import replace
from typing import Any

from pydantic_core import PydanticCustomError

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.server.tool_call.absence import is_absent, is_blank
from algocline_mcp.server.tool_call.arguments import ABSENT, quoted, refuse, text, type_name, usage
from algocline_mcp.session.events import Answer

ITEM_KEYS = ("query_id", "response", "refuse", "usage", "by")

_ID_MAX_CHARS = 200  # ids are short, and a reason repeats its id

Invalid = dict[str, Any]  # {query_id, reason}, as in `refused` of a result


def answer_of(*, query_id: str, response: str, refuse: str, usage: dict[str, int] | None, by: str) -> Answer:
    """The answer of a call without `responses`. A text that is ABSENT becomes None."""
    if refuse is not ABSENT and is_absent(response):
        response = ABSENT
    return Answer(
        query_id=None if query_id is ABSENT else query_id,
        response=None if response is ABSENT else response,
        refuse=None if refuse is ABSENT else refuse,
        usage=usage,
        by=None if by is ABSENT else by,
    )


def gather(single: Answer, responses: list[Any] | None, limits: Limits) -> tuple[list[Answer], list[Invalid]]:
    """The valid answers, and the reasons why the other items are invalid."""
    invalid: list[Invalid] = []
    if responses and is_absent(single.response):
        single = replace(single, response=None)
    if responses is None:
        answers = [_checked(single)]
    else:
        extra = [name for name in ("response", "refuse", "query_id", "usage") if getattr(single, name) is not None]
        if extra:
            raise Refused(
                f"responses came together with {' and '.join(extra)}: put everything into the items of responses"
            )
        if not responses:
            raise Refused("Empty responses array: give one {query_id, response} for each pending prompt")
        if len(responses) > limits.queries:
            cure = "a pause has no more prompts; answer the pending ones"
            raise Refused(f"responses has {len(responses)} items, at most {limits.queries}: {cure}", code="too_large")
        answers, invalid = _read_items(responses, single.by)
    size = sum(len((answer.response or answer.refuse or "").encode("utf-8", "replace")) for answer in answers)
    if size > limits.answer_bytes:
        raise Refused(
            f"the answers have {size} bytes, at most {limits.answer_bytes} in one call: shorten them", code="too_large"
        )
    return answers, invalid


def _checked(single: Answer) -> Answer:
    if single.response is not None and single.refuse is not None:
        raise Refused("give either response or refuse, not both")
    if single.response is None and single.refuse is None:
        raise Refused(
            "Either 'response' or 'responses' must be provided, or 'refuse' with a reason (an empty response is no "
            "answer); alc_status(session_id) shows the pending prompts"
        )
    return single


def _read_items(items: list[Any], by: str | None) -> tuple[list[Answer], list[Invalid]]:
    answers: list[Answer] = []
    invalid: list[Invalid] = []
    for item in items:
        try:
            answer = _read_item(item)
        except PydanticCustomError as exc:
            query_id = item.get("query_id", item.get("id")) if isinstance(item, dict) else None
            invalid.append({"query_id": query_id if isinstance(query_id, str) else None, "reason": exc.message()})
        else:
            answers.append(answer if answer.by else replace(answer, by=by))
    if not answers:
        raise Refused(invalid[0]["reason"])
    return answers, invalid


def _read_item(item: Any) -> Answer:
    if not isinstance(item, dict):
        raise refuse(f"an item of responses is {type_name(item)}: give an object with query_id and response")
    fields = {key: value for key, value in item.items() if not is_blank(value)}
    fields = {key: value for key, value in fields.items() if key == "response" or not is_absent(value)}
    if "refuse" in fields and is_absent(fields.get("response")):
        fields.pop("response", None)
    if "id" in fields:  # lists of pending queries show the id under both names
        fields.setdefault("query_id", fields["id"])
        del fields["id"]
    unknown = [key for key in fields if key not in ITEM_KEYS]
    if unknown:
        names = ", ".join(ITEM_KEYS)
        raise refuse(f"an item of responses has no field {quoted(unknown[0])}: its fields are {names}")
    if "query_id" not in fields:
        raise refuse("an item of responses has no query_id: name the prompt that the item answers")
    if len(text(fields["query_id"])) > _ID_MAX_CHARS:
        raise refuse(f"query_id {quoted(fields['query_id'])} is not an id of a prompt: take it from the prompt")
    if ("response" in fields) == ("refuse" in fields):
        raise refuse("an item of responses needs either a response, which is not empty, or refuse with a reason")
    return Answer(
        query_id=text(fields["query_id"]),
        response=text(fields["response"]) if "response" in fields else None,
        refuse=text(fields["refuse"]) if "refuse" in fields else None,
        usage=usage(fields.get("usage")),
        by=text(fields["by"]) if "by" in fields else None,
    )
