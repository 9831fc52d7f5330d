"""Types and validators of tool arguments, and one sentence for each wrong argument.

Contract. Every annotation is either exactly `str`, which the SDK hands over unchanged, or has a validator that also
accepts the JSON text of its value, because hosts send objects as strings. An absent text is ABSENT (an absent number
is None) and differs from `""`: compare with `is`. JSON null counts as absent, because hosts send null for what they
leave out. Validators raise `refuse(sentence)`; `sentence_for` turns every error of pydantic into one sentence.
The `checked_…` functions need limits or the form of an id; they raise Refused.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Annotated, Any

from pydantic import PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LANGUAGES

SHOWN_CHARS = 60  # so much of a wrong value is shown in the sentence about it
_SESSION_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}")


class Absent(str):
    """Default of an optional text. A subclass of `str`, so that the annotation can be exactly `str`."""

    __slots__ = ()


ABSENT = Absent()


def refuse(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})  # braces in `sentence` stay


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def quoted(value: Any) -> str:
    """`value` as JSON, shortened for a sentence."""
    shown = _json(_beginning(value, SHOWN_CHARS))
    return shown if len(shown) <= SHOWN_CHARS else shown[:SHOWN_CHARS] + "…"


def _beginning(value: Any, size: int) -> Any:
    """Enough of `value` for the first `size` characters of its JSON, so that a long one is not written whole."""
    if isinstance(value, str):
        return value[: size + 1]
    if isinstance(value, list):
        return [_beginning(item, size) for item in value[: size + 1]]
    if isinstance(value, dict):
        return {str(key)[: size + 1]: _beginning(item, size) for key, item in islice(value.items(), size + 1)}
    return value


def text(value: Any) -> str:
    """`value` as a string. Models send `{"score": 3}` where a string is meant: it becomes its JSON text."""
    if value is None:
        return ABSENT
    return value if isinstance(value, str) else _json(value)


def _from_text(value: Any) -> Any:
    """`value`, parsed if it is a string. Raises ValueError or RecursionError where the string is not JSON."""
    return json.loads(value) if isinstance(value, str) else value


def _is_json(value: Any) -> bool:
    """False where `value` contains NaN or an infinity. Does not recurse."""
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
        raise refuse(f"{name} is a string that is not JSON: give an object such as {example}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refuse(f"{name} is {type_name(value)}: give an object such as {example}")
    if not _is_json(value):
        raise refuse(f"{name} contains NaN or an infinity, which JSON does not have: leave the value out or send null")
    return value


def type_name(value: Any) -> str:
    """The type of a JSON value, with its article."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


def _ctx(value: Any) -> dict[str, Any]:
    return _object(value, "ctx", '{"task": "…"}')


def _ctx_files(value: Any) -> dict[str, str]:
    paths = _object(value, "ctx_files", '{"text": "docs/guide.md"}')
    for name, path in paths.items():
        if not isinstance(path, str) or not path or "\0" in path:
            raise refuse(f"ctx_files.{name[:SHOWN_CHARS]} is {quoted(path)}: give the path of a file")
    return paths


def json_object(name: str, example: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: _object(value, name, example)


def usage(value: Any) -> dict[str, int] | None:
    """The two known counts that are present, or None. Further fields are ignored: hosts send their own."""
    sent = _object(value, "usage", '{"prompt_tokens": 100, "completion_tokens": 20}')
    chosen = {key: sent[key] for key in ("prompt_tokens", "completion_tokens") if sent.get(key) is not None}
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
    cure = 'give a list such as [{"query_id": "q-0", "response": "…"}]'
    try:
        value = _from_text(value)
    except (ValueError, RecursionError):
        raise refuse(f"responses is a string that is not JSON: {cure}") from None
    if isinstance(value, dict):
        value = [value]
    if value is not None and not isinstance(value, list):
        raise refuse(f"responses is {type_name(value)}: {cure}")
    return value


ACTIONS = ("install", "remove", "link", "unlink")
KINDS = ("strategies", "packages", "cards", "state", "help")
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
    raise refuse(f"action is {quoted(value)}: use one of {', '.join(ACTIONS)}")


def _mode(value: Any) -> str:
    if value is None or value in MODES:
        return value or "hibernate"
    modes = "hibernate (the session can go on later), cancel (ends it for good) or delete (also deletes its journal)"
    raise refuse(f"mode is {quoted(value)}: use {modes}")


def _view(value: Any) -> str | None:
    if value is None or value in ("", *VIEWS):
        return value or None
    raise refuse(f"view is {quoted(value)}: use one of {', '.join(VIEWS)}, or leave view out for the current state")


def _language(value: Any) -> str | None:
    if value is None or value in ("", *LANGUAGES):
        return value or None
    raise refuse(f"language is {quoted(value)}: use one of {', '.join(LANGUAGES)}, or leave language out")


def _kind(value: Any) -> str:
    if value is None or value in ("", *KINDS):
        return value or KINDS[0]
    raise refuse(f"kind is {quoted(value)}: use one of {', '.join(KINDS)}")


def count(name: str, least: int = 1) -> Callable[[Any], int | None]:
    def check(value: Any) -> int | None:
        if value is None or value == "":
            return None
        is_whole = isinstance(value, int | float | str) and not isinstance(value, bool)
        try:
            number = int(value) if is_whole and float(value) == int(float(value)) else least - 1
        except (ValueError, OverflowError):
            number = least - 1
        if number < least:
            raise refuse(f"{name} is {quoted(value)}: give a whole number of at least {least}")
        return number

    return check


Text = Annotated[str, PlainValidator(text), WithJsonSchema({"type": "string"})]
Ctx = Annotated[dict[str, Any], PlainValidator(_ctx), WithJsonSchema({"type": "object"})]
CtxFiles = Annotated[dict[str, str], PlainValidator(_ctx_files), WithJsonSchema({"type": "object"})]
Opts = Annotated[
    dict[str, Any], PlainValidator(json_object("opts", '{"rounds": 3}')), WithJsonSchema({"type": "object"})
]
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
Lang = Annotated[str | None, PlainValidator(_language), WithJsonSchema({"type": "string", "enum": list(LANGUAGES)})]
Kind = Annotated[str, PlainValidator(_kind), WithJsonSchema({"type": "string", "enum": list(KINDS)})]
Changed = Annotated[dict[str, Any] | None, PlainValidator(_changed), WithJsonSchema({"type": "object"})]
Flag = Annotated[bool, PlainValidator(flag("dry_run")), WithJsonSchema({"type": "boolean"})]
Finished = Annotated[bool, PlainValidator(flag("finished")), WithJsonSchema({"type": "boolean"})]
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
    """One sentence about the first wrong argument of `tool`, whose arguments are `names`."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "refused":
        return first["msg"]
    if first["type"] == "missing":
        return f"{tool} needs {name}: its arguments are {', '.join(names)}"
    return f"{name} of {tool} cannot be read; the arguments of {tool} are {', '.join(names)}"


def checked_session_id(session_id: str) -> str:
    if not session_id:
        raise Refused("session_id is empty: take it from the result of alc_run, or from the list of alc_status()")
    if not _SESSION_ID.fullmatch(session_id):
        raise Refused(f"Session {quoted(session_id)} not found: this is not a session id; alc_status() lists the ids")
    return session_id


def checked_ctx(ctx: dict[str, Any], limits: Limits) -> dict[str, Any]:
    from algocline_mcp.protocol.messages import is_deeper  # the server's start does not need them
    from algocline_mcp.session.digests import json_size

    if is_deeper(ctx, limits.json_depth):
        raise Refused(f"ctx nests more than {limits.json_depth} levels deep: flatten it")
    size = json_size(ctx)
    if size > limits.ctx_bytes:
        cure = "shorten it, or put the long text into a file and name its path in the prompt"
        raise Refused(f"ctx has {size} bytes, at most {limits.ctx_bytes}: {cure}", code="too_large")
    return ctx
