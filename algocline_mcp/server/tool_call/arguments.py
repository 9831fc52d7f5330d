"""What a tool call may bring: the argument types, what each accepts, and the sentence for everything else.

Contract. Every annotation is either exactly `str`, which the SDK hands over untouched, or has a validator that
also takes the JSON text of its value, because hosts send objects as strings. Absent is ABSENT (or None for a
number), `""` is `""`: compare with `is`. JSON null counts as absent, since hosts send it for what they leave out.
Validators raise `refuse(sentence)`; `sentence_for` turns whatever pydantic reports into one sentence.
"""

import difflib
import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

SHOWN_CHARS = 60  # of a wrong value in the sentence about it


class Absent(str):
    """The default of an optional text. A `str`, so that the annotation can be exactly `str`."""

    __slots__ = ()


ABSENT = Absent()


def refuse(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})  # no braces of its own are read


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def quoted(value: Any) -> str:
    """`value` as it may stand in a sentence."""
    shown = _json(value)
    return shown if len(shown) <= SHOWN_CHARS else shown[:SHOWN_CHARS] + "…"


def text(value: Any) -> str:
    """Models send `{"score": 3}` where a text is meant: it arrives as its JSON text."""
    if value is None:
        return ABSENT
    return value if isinstance(value, str) else _json(value)


def _from_text(value: Any) -> Any:
    """`value`, parsed if it is JSON text. ValueError or RecursionError where it is no JSON."""
    return json.loads(value) if isinstance(value, str) else value


def _is_json(value: Any) -> bool:
    """Whether `value` holds neither NaN nor an infinity; walks without recursion."""
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, Mapping):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            return False
    return True


def _object(value: Any, name: str, example: str) -> dict[str, Any]:
    try:
        value = _from_text(value)
    except RecursionError:
        raise refuse(f"{name} is nested too deeply: flatten it") from None
    except ValueError:
        raise refuse(f"{name} is a text that is no JSON: give an object such as {example}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refuse(f"{name} is {kind(value)}: give an object such as {example}")
    if not _is_json(value):
        raise refuse(f"{name} holds NaN or an infinity, which JSON does not have: leave it out or send null")
    return value


def kind(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return "null" if value is None else kinds.get(type(value), "something else")


def _ctx(value: Any) -> dict[str, Any]:
    return _object(value, "ctx", '{"task": "…"}')


def an_object(name: str, example: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: _object(value, name, example)


def usage(value: Any) -> dict[str, int] | None:
    told = _object(value, "usage", '{"prompt_tokens": 100, "completion_tokens": 20}')
    chosen = {key: told[key] for key in ("prompt_tokens", "completion_tokens") if told.get(key) is not None}
    for key, count in chosen.items():
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 2**53:
            raise refuse(f"usage.{key} is {quoted(count)}: give a whole number of tokens, 0 or more")
    return chosen or None


def _wait_s(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if math.isnan(seconds) or seconds < 0:
        raise refuse(f"wait_s is {quoted(value)}: give a number of seconds, 0 or more")
    return seconds


def _responses(value: Any) -> list[Any] | None:
    sentence = 'give a list such as [{"query_id": "q-0", "response": "…"}]'
    try:
        value = _from_text(value)
    except (ValueError, RecursionError):
        raise refuse(f"responses is a text that is no JSON: {sentence}") from None
    if isinstance(value, dict):
        value = [value]
    if value is not None and not isinstance(value, list):
        raise refuse(f"responses is {kind(value)}: {sentence}")
    return value


ACTIONS = ("install", "remove", "link", "unlink")
KINDS = ("strategies", "packages", "cards", "state")
MODES = ("hibernate", "cancel", "delete")
VIEWS = ("summary", "prompts", "history", "log", "result", "code")


def _changed(value: Any) -> dict[str, Any] | None:
    return None if value is None or value == "" else _ctx(value)


def flag(name: str) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if value is None or value in (True, False, "", "true", "false"):
            return value in (True, "true")
        raise refuse(f"{name} is {quoted(value)}: give true or false")

    return check


def _action(value: Any) -> str:
    if isinstance(value, str) and value in ACTIONS:
        return value
    raise refuse(f"action is {quoted(value)}: it is one of {', '.join(ACTIONS)}")


def _mode(value: Any) -> str:
    if value is None or value in MODES:
        return value or "hibernate"
    told = "'hibernate' (goes on later), 'cancel' (ends for good) or 'delete' (its journal too)"
    raise refuse(f"mode is {quoted(value)}: it is {told}")


def _view(value: Any) -> str | None:
    if value is None or value in ("", *VIEWS):
        return value or None
    raise refuse(f"view is {quoted(value)}: it is one of {', '.join(VIEWS)}; without view the state comes")


def _kind(value: Any) -> str:
    if value is None or value in ("", *KINDS):
        return value or KINDS[0]
    raise refuse(f"kind is {quoted(value)}: it is one of {', '.join(KINDS)}")


def count(name: str, least: int = 1) -> Callable[[Any], int | None]:
    def check(value: Any) -> int | None:
        if value is None or value == "":
            return None
        is_whole = isinstance(value, int | float | str) and not isinstance(value, bool)
        try:
            found = int(value) if is_whole and float(value) == int(float(value)) else least - 1
        except (ValueError, OverflowError):
            found = least - 1
        if found < least:
            raise refuse(f"{name} is {quoted(value)}: give a whole number from {least} on")
        return found

    return check


Text = Annotated[str, PlainValidator(text), WithJsonSchema({"type": "string"})]
Ctx = Annotated[dict[str, Any], PlainValidator(_ctx), WithJsonSchema({"type": "object"})]
Opts = Annotated[dict[str, Any], PlainValidator(an_object("opts", '{"rounds": 3}')), WithJsonSchema({"type": "object"})]
Usage = Annotated[
    dict[str, int] | None,
    PlainValidator(usage),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {key: {"type": "integer"} for key in ("prompt_tokens", "completion_tokens")},
        }
    ),
]
WaitS = Annotated[float | None, PlainValidator(_wait_s), WithJsonSchema({"type": "number"})]
Mode = Annotated[str, PlainValidator(_mode), WithJsonSchema({"type": "string", "enum": list(MODES)})]
View = Annotated[str | None, PlainValidator(_view), WithJsonSchema({"type": "string", "enum": list(VIEWS)})]
Kind = Annotated[str, PlainValidator(_kind), WithJsonSchema({"type": "string", "enum": list(KINDS)})]
Changed = Annotated[dict[str, Any] | None, PlainValidator(_changed), WithJsonSchema({"type": "object"})]
Flag = Annotated[bool, PlainValidator(flag("dry_run")), WithJsonSchema({"type": "boolean"})]
Force = Annotated[bool, PlainValidator(flag("force")), WithJsonSchema({"type": "boolean"})]
Action = Annotated[str, PlainValidator(_action), WithJsonSchema({"type": "string", "enum": list(ACTIONS)})]
Count = Annotated[int | None, PlainValidator(count("n")), WithJsonSchema({"type": "integer"})]
Limit = Annotated[int | None, PlainValidator(count("limit")), WithJsonSchema({"type": "integer"})]
Responses = Annotated[
    list[Any] | None,
    PlainValidator(_responses),
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("query_id", "response", "refuse", "by")}
                | {"usage": {"type": "object"}},
                "required": ["query_id"],
            },
        }
    ),
]


def sentence_for(tool: str, names: list[str], error: ValidationError) -> str:
    """One sentence for the first thing that is wrong with the arguments of `tool`, which takes `names`."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "refused":
        return first["msg"]
    if first["type"] == "missing":
        return f"{tool} needs {name}: its arguments are {', '.join(names)}"
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, names, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        return f"{tool} has no argument {quoted(name)}{meant}: its arguments are {', '.join(names)}"
    return f"{name} of {tool} cannot be read: its arguments are {', '.join(names)}"
