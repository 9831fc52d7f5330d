"""Inputs of a package: what ctx gives, read by the forms in `meta.inputs`. Pure.

A form is that of packages/metadata.py: `type`, `description`, `default`, `enum`, `minimum`, `maximum`. Anything else
checks nothing: packages of others may keep something of their own under that name.

Contract: `changes` returns what has to be set in ctx, so that `run(ctx)` finds each declared input with the type of its
form: a default, or the value of a text that came from a command line or from an argument of an MCP prompt. Nothing,
null and a blank text are *not given*. Raises InputError, whose text is one sentence that names the inputs and what they
are.
"""

import json
from collections.abc import Mapping
from typing import Any

from algocline_mcp.nearness import nearest

_TYPES: dict[str, tuple[str, tuple[type, ...], str]] = {  # of JSON Schema -> in words, in Python, an example as JSON
    "string": ("a text", (str,), '"…"'),
    "integer": ("a whole number", (int,), "1"),
    "number": ("a number", (int, float), "1"),
    "boolean": ("true or false", (bool,), "true"),
    "array": ("a list", (list, tuple), '["…"]'),
    "object": ("an object", (dict,), '{"…": "…"}'),
}
_RESERVED = ("_ns", "budget", "env", "task", "result", "pipe_history", "choices")  # that every strategy may get
_SHOWN_CHARS = 80
_NAMES_SHOWN = 12

Form = Mapping[str, Any]
_reading = {"is_on": True}


class InputError(ValueError):
    """`inputs`: the forms, by name, of those that are missing or cannot be used."""

    def __init__(self, sentence: str, inputs: Mapping[str, Form]) -> None:
        super().__init__(sentence)
        self.inputs = inputs


def ignore_forms() -> None:
    """In the engine of a session that began before forms were read: with defaults in ctx it would ask other prompts."""
    _reading["is_on"] = False


def forms_in(meta: Any) -> dict[str, Form]:
    """The forms of a package, whatever its `meta` is."""
    return forms_of(meta.get("inputs")) if isinstance(meta, Mapping) else {}


def forms_of(inputs: Any) -> dict[str, Form]:
    """The forms in `meta.inputs`, whatever is there."""
    if not isinstance(inputs, Mapping) or not _reading["is_on"]:
        return {}
    return {name: form for name, form in inputs.items() if isinstance(name, str) and isinstance(form, Mapping)}


def changes(package: str, forms: Mapping[str, Form], ctx: Mapping[str, Any]) -> dict[str, Any]:
    missing = {name: form for name, form in forms.items() if "default" not in form and _is_absent(ctx.get(name))}
    if missing:
        names = " and ".join(f"{name}{_about(form)}" for name, form in missing.items())
        near = [f", and has no input {key}" for key in _unknown(forms, ctx) if _nearest(key, forms)]
        raise InputError(f"{package} needs {names}{''.join(near)}", missing)
    read = {name: _read(package, name, form, ctx.get(name)) for name, form in forms.items()}
    return {name: value for name, value in read.items() if value is not ctx.get(name)}


def unknown(package: str, forms: Mapping[str, Form], ctx: Mapping[str, Any], *, is_near: bool = False) -> list[str]:
    """A sentence for each name in ctx that is no input. `is_near`: only for those that are nearly one."""
    sentences = []
    for key in _unknown(forms, ctx):
        near = _nearest(key, forms)
        if near:
            sentences.append(f"{package} has no input {key}: was {near} meant?")
        elif not is_near:
            names = ", ".join([*forms][:_NAMES_SHOWN])
            sentences.append(f"{package} has no input {key}, and leaves it alone: its inputs are {names}")
    return sentences


def _unknown(forms: Mapping[str, Form], ctx: Mapping[str, Any]) -> list[str]:
    return sorted(str(key)[:_SHOWN_CHARS] for key in ctx if forms and key not in forms and key not in _RESERVED)


def _nearest(key: str, forms: Mapping[str, Form]) -> str:
    return nearest(key, forms) or ""


def how_to_give(inputs: Mapping[str, Form]) -> str:
    """The arguments of alc_run that give these inputs, with examples; cli/wording.py has them for a terminal."""
    ways = ['task="…"' if name == "task" else f'opts={{"{name}": {_example(form)}}}' for name, form in inputs.items()]
    file = next((name for name, form in inputs.items() if form.get("type") == "string" and name != "task"), None)
    return " and ".join(ways) + (f', or the text of a file by ctx_files={{"{file}": "PATH"}}' if file else "")


def _read(package: str, name: str, form: Form, value: Any) -> Any:
    if "default" in form and _is_absent(value):
        return form["default"]
    kind = _type_of(form)
    if not kind:
        return value
    words, types, _ = _TYPES[kind]
    value = _converted(kind, value)
    wanted = words
    if isinstance(value, types) and (kind == "boolean" or not isinstance(value, bool)):
        wanted = _outside(form, value)
    if wanted:
        raise InputError(f"{package}: {name}{_about(form)} must be {wanted}, and is {_shown(value)}", {name: form})
    return value


def _outside(form: Form, value: Any) -> str:
    """What a value of the right type must be, or "" where it is that."""
    low, high, enum = form.get("minimum"), form.get("maximum"), form.get("enum")
    if isinstance(enum, list | tuple) and value not in enum:
        return f"one of {', '.join(map(str, enum))}"
    if _is_at_least(value, low) and _is_at_least(high, value):
        return ""
    if high is None or low is None:
        return f"at least {low}" if high is None else f"at most {high}"
    return f"from {low} to {high}"


def _type_of(form: Form) -> str:
    """A type of JSON Schema, or ""."""
    kind = form.get("type")
    return kind if isinstance(kind, str) and kind in _TYPES else ""


def _converted(kind: str, value: Any) -> Any:
    """Values that come as text; a list as JSON or with an item on each line."""
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or kind == "string":
        return value
    try:
        read = json.loads(value.strip().lower() if kind == "boolean" else value)
    except (ValueError, RecursionError):
        read = value
    if kind == "array" and not isinstance(read, list):
        return [line.strip() for line in value.split("\n") if line.strip()]
    return value if isinstance(read, str) else read


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _is_at_least(value: Any, low: Any) -> bool:
    both = isinstance(value, int | float) and isinstance(low, int | float)
    return not both or bool(value >= low)


def _about(form: Form) -> str:
    about = form.get("description")
    return f" ({about})" if isinstance(about, str) and about else ""


def _example(form: Form) -> str:
    kind = _type_of(form)
    if isinstance(enum := form.get("enum"), list | tuple) and enum:
        return json.dumps(enum[0], ensure_ascii=False)
    if kind in ("integer", "number") and isinstance(default := form.get("default", form.get("minimum")), int | float):
        return str(default)
    return _TYPES[kind][2] if kind else '"…"'


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"
