"""Options of a query: their types, and the query that is sent."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Required, TypedDict

from algocline_mcp import wording
from algocline_mcp.answers.schema import schema_form
from algocline_mcp.nearness import nearest
from algocline_mcp.worker.engine.python.api.memory import memory
from algocline_mcp.worker.engine.python.api.numbers import is_finite, is_number, whole
from algocline_mcp.worker.engine.python.api.refused import raise_refused
from algocline_mcp.worker.engine.python.api.schemas import schema_of
from algocline_mcp.worker.engine.python.api.texts import TEXTS, kind_of, problem
from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.session import current
from algocline_mcp.worker.engine.stdlib import DEFAULTS

Record = dict[str, Any]
HostOption = str | int | float | bool


class SchemaWriter(Protocol):
    """A class that writes its own JSON Schema, as the models of pydantic do."""

    def model_json_schema(self) -> Mapping[str, Any]: ...


class Options(TypedDict, total=False):
    """Keywords of alc.llm and of whatever asks. `options` are the host's own: temperature, model, ...."""

    system: str | None
    max_tokens: int
    grounded: bool
    underspecified: bool
    schema: Mapping[str, Any] | SchemaWriter | type[Any] | None
    label: str | None
    options: Mapping[str, HostOption] | None


class Query(Options, total=False):
    """An item of alc.llm_batch: the prompt, and the keywords of alc.llm."""

    prompt: Required[str | int | float]


class CacheOptions(Options, total=False):
    cache_key: Any
    cache_skip: bool


class ParallelOptions(Options, total=False):
    post_fn: Callable[..., Any] | None


KEYWORDS = tuple(Options.__annotations__)
_KNOWN = ("prompt", *KEYWORDS[:-1])
_CHECKED = 100  # names of options of a session that are compared with the known ones
_LONGEST_NAME = 64  # characters of a name in a sentence


def query_of(name: str, prompt: Any, options: Mapping[str, Any]) -> Record:
    """The query that is sent. `name` begins its sentences. Raises Error, and TypeError for an unknown keyword."""
    refuse_unknown(name, options, KEYWORDS)
    query: Record = {
        **_host_options(options.get("options")),
        "prompt": text_of_prompt(name, prompt),
        "system": _optional_text("system", options.get("system")),
        "max_tokens": _max_tokens(options.get("max_tokens")),
    }
    query |= {flag: True for flag in ("grounded", "underspecified") if options.get(flag) is True}
    if (label := _optional_text("label", options.get("label"))) is not None:
        query["label"] = label
    if options.get("schema") is not None:
        schema = schema_of(options["schema"], name)
        query["prompt"] += _form_of(schema)
        query["schema"] = schema
    return query


def refuse_unknown(name: str, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raises TypeError for the first keyword that is not known."""
    for key in options:
        if key not in known:
            shown = str(key)[:_LONGEST_NAME]
            near = nearest(shown, known)
            hint = f"was {near} meant?" if near else f"an option of the host is given by options={{'{shown}': …}}"
            raise TypeError(f"{name}: there is no keyword {shown}: {hint}")


def text_of_prompt(name: str, prompt: Any) -> str:
    if isinstance(prompt, str) or is_number(prompt):
        return str(prompt)
    raise_refused(prompt)
    raise problem("prompt", name, kind_of(prompt))


def _optional_text(option: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise_refused(value)
    current().warn(TEXTS["option.value"] % (option, kind_of(value)))
    return None


def _max_tokens(value: Any) -> int:
    if value is None:
        return int(DEFAULTS["max_tokens"])
    count = whole(value)
    if count is not None and 0 <= count <= DEFAULTS["max_tokens_limit"]:
        return count
    current().warn(TEXTS["option.max_tokens"])
    return int(DEFAULTS["max_tokens"])


def _form_of(value: Any) -> str:
    """The text behind a prompt that asks for the form of a schema."""
    session_memory = memory()
    key = json.dumps(value, sort_keys=True)  # a loop uses one schema
    if key != session_memory.schema_form[0]:
        form, mistake = schema_form(value, wording.PYTHON)
        if form is None:
            raise Error(f"alc.llm: {mistake}")
        session_memory.schema_form = (key, form)
    return f"\n\n{session_memory.schema_form[1]}"


def _host_options(options: Any) -> Record:
    """Those that can be passed on to the host. Warns of the others, and of a near miss of a known one."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise problem("argument", "alc.llm", "options", "a dict of the host's options", kind_of(options))
    passed: Record = {}
    for name, value in options.items():
        if name in _KNOWN:
            raise TypeError(f"alc.llm: {name} is a keyword and not an option of the host: write {name}=…")
        if not isinstance(name, str) or not _is_scalar(value):
            current().warn(TEXTS["option.value"] % (str(name)[:_LONGEST_NAME], kind_of(value)))
            continue
        passed[name] = value
        _warn_of_near_miss(name)
    return passed


def _is_scalar(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return whole(value) is not None
    return isinstance(value, bool | str) or is_finite(value)


def _warn_of_near_miss(name: str) -> None:
    checked = memory().checked_options
    if name not in checked and len(checked) < _CHECKED:
        checked.add(name)
        near = nearest(name, _KNOWN)
        if near is not None:
            current().warn(TEXTS["option.near"] % (name, near))
