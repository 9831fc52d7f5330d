"""Writes algocline_mcp/stubs/alc.d.lua, types for editors of Lua (LuaCATS), from the signatures of the package alc.

python -m tests.docs.lua_stub
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, is_typeddict

import alc
from algocline_mcp.worker.engine.python.api import options
from algocline_mcp.worker.engine.python.api.options import SchemaWriter

STUB = Path(__file__).parents[2] / "algocline_mcp" / "stubs" / "alc.d.lua"
SPACES: dict[str, Any] = {"": alc, **{name: getattr(alc, name) for name in ("state", "stats", "card", "math")}}
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "any", None: "nil", type(None): "nil"}
# Where Lua has the parameters in another shape: all in one table, or the options before the last.
ONE_TABLE = ("card.lineage", "card.sink_backfill")
RETURNS = {"llm_json": ["any", "string answer", "string? mismatch"], "llm_batch": ["any[]"], "tuning": ["any"]}
HEAD = """---@meta
-- Types of alc.* for editors (lua-language-server). Written by tests/docs/lua_stub.py from the signatures of the Python
-- package alc: do not edit.

---@class alc
---@field env alc.Env
alc = {}

---The arguments of the session.
---@type table<string, any>
ctx = {}

---@class alc.Env
---@field [string] string?
local env = {}
---@param name string
---@param default? any
---@return any
function env:get(name, default) end
---Several variables at once. The first missing variable is an error.
---@param names string[]
---@return table<string, string>
function env:use(names) end

---Of functions that ask by themselves, which alc.parallel runs side by side.
---@class alc.ChainOptions
---@field chain? true
---@field on_error? "fail"|"abort"|"skip"
"""
OVERLOADS = {  # forms that only Lua has
    "parallel": [
        "fun(items: any[], fn: (fun(item: any, i: integer): any), options: alc.ChainOptions): any[]",
        "fun(functions: (fun(): any)[], options?: alc.ChainOptions): any[]",
    ]
}


def lua_type(hint: Any) -> str:
    if hint in PLAIN:
        return PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "|".join(f'"{value}"' if isinstance(value, str) else str(value).lower() for value in arguments)
    if origin in (typing.Union, types.UnionType):
        # Lua has no classes
        arguments = tuple(
            part for part in arguments if part is not SchemaWriter and typing.get_origin(part) is not type
        )
        names = dict.fromkeys(lua_type(part) for part in arguments if part is not int or float not in arguments)
        return "any" if "any" in names else "|".join(names)
    if origin in (typing.Required, typing.NotRequired):
        return lua_type(arguments[0])
    if origin in (Mapping, dict):
        return f"table<{lua_type(arguments[0])}, {lua_type(arguments[1])}>"
    if origin in (list, Sequence, Iterable) or (origin.__class__ is type and origin and issubclass(origin, Iterable)):
        item = lua_type(arguments[0])
        return f"({item})[]" if "|" in item else f"{item}[]"
    if origin is Callable or hint is Callable:
        return "function"
    if isinstance(hint, TypeVar):
        return "any"
    return f"alc.{hint.__name__}" if is_typeddict(hint) else "any"


def optional(name: str, hint: str, *, is_optional: bool) -> str:
    kind = "|".join(part for part in hint.split("|") if part != "nil") if is_optional else hint
    return f"{name}{'?' if is_optional else ''} {kind}"


def class_of(kind: Any) -> str:
    """A TypedDict as a class. The host's own options stand beside the others in Lua."""
    lines = [f"---@class alc.{kind.__name__}"]
    for name, hint in typing.get_type_hints(kind).items():
        if name == "options":
            lines.append("---@field [string] string|number|boolean # an option of the host: temperature, model, …")
        else:
            is_optional = name in kind.__optional_keys__
            lines.append(f"---@field {optional(name, lua_type(hint), is_optional=is_optional)}")
    return "\n".join(lines)


def sentence(fn: Callable[..., Any]) -> str:
    first = (inspect.getdoc(fn) or "").split("\n\n")[0].replace("\n", " ")
    return re.sub(r"\bfrom 0, of", "from 1, of", first).replace("counts from 0", "counts from 1").replace("None", "nil")


def function_of(space: str, name: str, fn: Callable[..., Any]) -> str:
    full = f"{space}.{name}".lstrip(".")
    hints = typing.get_type_hints(fn)
    lines = [f"---{sentence(fn)}"] if sentence(fn) else []
    names, in_options = [], []
    for parameter in inspect.signature(fn).parameters.values():
        own, has_default = parameter.name.rstrip("_"), parameter.default is not parameter.empty
        hint = lua_type(hints.get(parameter.name, Any))
        if parameter.kind is parameter.VAR_KEYWORD:
            names.append(("options", f"options? alc.{typing.get_args(hints[parameter.name])[0].__name__}"))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            names.append(("...", "... any"))
        elif full in ONE_TABLE or (parameter.kind is parameter.KEYWORD_ONLY and own != "details"):
            in_options.append(optional(own, hint, is_optional=has_default).replace(" ", ": ", 1))
        elif own != "details":
            names.append((own, optional(own, hint, is_optional=has_default)))
    if in_options:
        mark = "" if full in ONE_TABLE else "?"
        names.append(("options", f"options{mark} {{ {', '.join(in_options)} }}"))
    if full == "llm_safe":  # alc.llm_safe(prompt, options, default)
        names[1], names[2] = names[2], names[1]
    lines += [f"---@param {text}" for _, text in names]
    returned = hints.get("return")
    kinds = RETURNS.get(full) or ([] if returned is type(None) else [lua_type(returned)])
    lines += [f"---@return {kind}" for kind in kinds]
    lines += [f"---@overload {form}" for form in OVERLOADS.get(full, ())]
    lines.append(f"function alc.{full}({', '.join(name for name, _ in names)}) end")
    return "\n".join(lines)


def _is_in_lua(value: Any) -> bool:
    """A function that Lua has too: types, and what is there for a desk without an engine, are Python's."""
    is_of_python = value is alc.schema or getattr(value, "__module__", "").startswith("alc.desk")
    return inspect.isfunction(value) and not is_of_python


def stub_text() -> str:
    parts = [HEAD]
    functions = {
        space: {name: fn for name, fn in sorted(vars(module).items()) if _is_in_lua(fn)}
        for space, module in SPACES.items()
    }
    every = [fn for found in functions.values() for fn in found.values()]
    hints = [hint for fn in every for hint in typing.get_type_hints(fn).values()]
    kinds = {part for hint in hints for part in _parts(hint) if is_typeddict(part)} | {options.Options}
    parts += [class_of(kind) for kind in sorted(kinds, key=lambda kind: kind.__name__)]
    for space, found in functions.items():
        if space:
            parts.append(f"---@class alc.{space}\nalc.{space} = {{}}")
        parts += [function_of(space, name, fn) for name, fn in found.items()]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _parts(hint: Any) -> list[Any]:
    return [hint, *(part for argument in typing.get_args(hint) for part in _parts(argument))]


if __name__ == "__main__":
    STUB.parent.mkdir(exist_ok=True)
    STUB.write_text(stub_text())
