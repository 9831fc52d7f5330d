"""Replies of tools in tests: the result of a success, the sentence of a refusal, each with the checks that hold always.
Strategies of the fake pool, and the id of its first session."""

import json
from typing import Any

TWO = json.dumps({"pauses": [["a", "b"], ["c"]]})
ONE = json.dumps({"pauses": [["a"]]})
SID = "p-1-0123456789abcdef"


def text_of(reply: Any) -> str:
    assert len(reply.content) == 1
    text: str = reply.content[0].text
    return text


def result_of(reply: Any) -> dict[str, Any]:
    """The structured result, after the checks that hold for every success."""
    assert not reply.is_error, text_of(reply)
    result: dict[str, Any] = reply.structured_content
    assert text_of(reply) == json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    return result


def refusal_of(reply: Any) -> str:
    """The sentence, after the checks that hold for every error."""
    assert reply.is_error
    assert reply.structured_content is None
    text = text_of(reply)
    assert text.endswith("]"), "an error ends with its code"
    assert "\n" not in text
    for noise in ("pydantic", "http", "Arguments", "validation error", "Traceback", "Error executing"):
        assert noise not in text
    return text
