"""JSON Schema of Python types: what `schema=` and alc.schema take beside JSON Schema itself.

Contract: `schema_of(form, name)` returns plain JSON. A dict is taken as it is. A class with `model_json_schema()`, such
as a model of pydantic, writes its own. For any other type it is made from annotations: str, int, float, bool, None,
Any, list, tuple, dict with texts as keys, Union, Literal, Enum, Annotated with a text (the description), dataclasses
and TypedDicts, nested and recursive ones too. A field with a default is not required. What JSON Schema cannot express
raises Error with a sentence that begins with `name` and names the field.
"""

import dataclasses
import types
import typing
from collections import Counter, abc
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

from algocline_mcp import wording
from algocline_mcp.answers.schema import schema_form
from algocline_mcp.worker.engine.python.api.json_values import plain
from algocline_mcp.worker.engine.python.exceptions import Error

Schema = dict[str, Any]

_PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection)
_DICTS = (dict, abc.Mapping, abc.MutableMapping)
_MARKS = tuple(getattr(typing, mark, None) for mark in ("Required", "NotRequired", "ReadOnly"))  # ReadOnly: from 3.13
_ADVICE = (
    "which JSON Schema does not express: use str, int, float, bool, list[T], dict[str, T], T | None, Literal, an Enum, "
    "a dataclass or a TypedDict"
)
_SHOWN = 80  # characters of a type in a sentence
_REF = "#/$defs/"


def schema(form: Any) -> dict[str, Any]:
    """The JSON Schema of a dataclass, a TypedDict or another type, such as list[Claim] or Literal["A", "B"]: what
    `schema` of alc.llm makes of it."""
    made = schema_of(form, "alc.schema")
    _, mistake = schema_form(made, wording.PYTHON)
    if mistake is not None:
        raise Error(f"alc.schema: {mistake}")
    return dict(made)


def schema_of(form: Any, name: str) -> Any:
    write = getattr(form, "model_json_schema", None)
    if callable(write):
        return plain(write(), "schema")
    if isinstance(form, Mapping | str | int | float | list):
        return plain(form, "schema")  # of anything but a dict schema_form says what is wrong
    try:
        return _Writer(name).whole(form)
    except RecursionError as exc:
        raise Error(f"{name}: schema contains itself: name the part in a dataclass or a TypedDict") from exc


class _Writer:
    """Writes the schema of one type, with the classes in it as `$defs`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._definitions: dict[str, Schema] = {}
        self._classes: dict[type, str] = {}
        self._uses = Counter[str]()

    def whole(self, form: Any) -> Schema:
        schema = self._of(form, "schema")
        if (root := schema.get("$ref", "").removeprefix(_REF)) in self._definitions:
            schema = {**self._definitions[root]}  # with its own type in sight
            if self._uses[root] == 1:
                del self._definitions[root]
        return schema | ({"$defs": self._definitions} if self._definitions else {})

    def _of(self, form: Any, path: str) -> Schema:
        if form is Any or form is object:
            return {}
        if form is None or form is type(None):
            return {"type": "null"}
        if isinstance(form, type) and form in _PLAIN:
            return {"type": _PLAIN[form]}
        named = getattr(form, "__supertype__", None) or getattr(form, "__value__", None)  # NewType; type X = …
        if named is not None:
            return self._of(named, path)
        if callable(write := getattr(form, "model_json_schema", None)):
            return self._model(form, dict(plain(write(), path)))
        if isinstance(form, type) and get_origin(form) is None and (made := self._class(form, path)) is not None:
            return made
        return self._generic(form, get_origin(form) or form, get_args(form), path)

    def _generic(self, form: Any, origin: Any, arguments: tuple[Any, ...], path: str) -> Schema:
        if origin is Annotated:
            texts = [text for text in arguments[1:] if isinstance(text, str)]
            return self._of(arguments[0], path) | ({"description": texts[0]} if texts else {})
        if origin is Literal:
            values = (value.value if isinstance(value, Enum) else value for value in arguments)
            return self._choices(form, values, path)
        if origin in (Union, types.UnionType):
            return {"anyOf": [self._of(argument, path) for argument in arguments]}
        if origin is tuple and arguments and arguments[-1] is not ...:
            parts = [self._of(argument, path) for argument in arguments]
            return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
        if origin is tuple or origin in _LISTS:
            items = self._of(arguments[0], path) if arguments else {}
            return {"type": "array"} | ({"items": items} if items else {})
        if origin in _DICTS and (not arguments or arguments[0] in (str, Any)):
            values_schema = self._of(arguments[1], path) if arguments else {}
            return {"type": "object"} | ({"additionalProperties": values_schema} if values_schema else {})
        raise self._refusal(form, path)

    def _class(self, form: type, path: str) -> Schema | None:
        if issubclass(form, Enum):
            return self._choices(form, (member.value for member in form), path)
        if not dataclasses.is_dataclass(form) and not is_typeddict(form):
            return None
        name = self._classes.get(form)
        if name is None:
            name = self._classes[form] = form.__name__
            self._define(name, {})  # before its fields, which may name it
            self._definitions[name] = self._record(form)
        self._uses[name] += 1
        return {"$ref": _REF + name}

    def _choices(self, form: Any, values: Iterable[Any], path: str) -> Schema:
        choices = list(values)
        if not choices or not all(value is None or type(value) in _PLAIN for value in choices):
            raise self._refusal(form, path)
        kinds = {type(value) for value in choices}
        if len(kinds) == 1 and (kind := kinds.pop()) in (int, float, bool):
            return {"type": _PLAIN[kind], "enum": choices}
        return {"enum": choices}

    def _record(self, form: type) -> Schema:
        """Of a dataclass or a TypedDict."""
        hints = self._hints(form)
        if dataclasses.is_dataclass(form):
            fields = [field for field in dataclasses.fields(form) if field.init]
            defaults = {field.name: field.default for field in fields}
            required = {field.name for field in fields if field.default is field.default_factory is dataclasses.MISSING}
            hints = {name: hints[name] for name in defaults}
        else:
            defaults, required = {}, set(getattr(form, "__required_keys__", ()))
        properties: dict[str, Schema] = {}
        for name, hint in hints.items():
            while (mark := get_origin(hint)) is not None and mark in _MARKS:
                required = required - {name} if mark is typing.NotRequired else required
                required = required | {name} if mark is typing.Required else required
                hint = get_args(hint)[0]
            properties[name] = self._of(hint, f"{form.__name__}.{name}") | _default(defaults.get(name))
        names = [name for name in hints if name in required]
        return {"type": "object", "properties": properties} | ({"required": names} if names else {})

    def _hints(self, form: type) -> dict[str, Any]:
        try:
            return typing.get_type_hints(form, localns={form.__name__: form}, include_extras=True)
        except Exception as exc:  # an annotation may be any text
            advice = "define what they name at the top level of the file"
            raise Error(f"{self._name}: the annotations of {form.__name__} cannot be read ({exc}): {advice}") from exc

    def _model(self, form: Any, schema: Schema) -> Schema:
        for name, part in schema.pop("$defs", {}).items():
            self._define(name, part)
        return schema

    def _define(self, name: str, part: Schema) -> None:
        if self._definitions.setdefault(name, part) != part:
            raise Error(f"{self._name}: two types of the schema are named {name}: rename one of them")

    def _refusal(self, form: Any, path: str) -> Error:
        is_type = isinstance(form, type) and get_origin(form) is None
        shown = form.__name__ if is_type else repr(form).replace("typing.", "")[:_SHOWN]
        if not is_type and dataclasses.is_dataclass(form):
            return Error(f"{self._name}: {path} is an object of {type(form).__name__}: give the class itself")
        return Error(f"{self._name}: {path} is {shown}, {_ADVICE}")


def _default(value: Any) -> Schema:
    """Of a field; nothing where JSON does not have the value."""
    if isinstance(value, Enum):
        value = value.value
    if value is dataclasses.MISSING or not isinstance(value, str | int | float | bool):
        return {}
    try:
        return {"default": plain(value, "default")}
    except Error:
        return {}
