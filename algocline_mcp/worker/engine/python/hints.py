"""What to do instead: the sentence behind an error that a strategy in Python raises. Made only where it fails."""

import json
import linecache
import re
from difflib import get_close_matches
from types import TracebackType
from typing import Any

_AS_NUMBER = "an answer is a text: alc.parse_number(answer) reads the number in it"
_ASYNC = "await is missing: an async function gives its value to await"
_PARALLEL = "a strategy has one thread: alc.parallel asks many prompts at once, asyncio.gather with alc.aio.llm too"
_NO_FILES = "a strategy has no files: pass the text in ctx, keep values in alc.state"
_WITH_OPTIONS = "llm|llm_json|ground|specify|cache|parallel|chunk|match_enum|fork|pipe|tuning"

# (type, pattern of the text, hint). Python's own texts; the type is the class or one that it inherits from.
_ROWS: tuple[tuple[type[BaseException], str, str], ...] = (
    (NameError, r"^name 'nil' is", "Python writes None"),
    (NameError, r"^name 'null' is", "Python writes None"),
    (NameError, r"^name '(true|false)' is", "Python writes True and False"),
    (NameError, r"^name '(await|async)", _ASYNC),
    (NameError, r"^name '(tostring|tonumber|ipairs|pairs|require)' is", "this is Lua: give the language lua"),
    (AttributeError, r"^'coroutine' object", _ASYNC),
    (TypeError, r"'coroutine' object|: 'coroutine' and|and 'coroutine'|not coroutine$", _ASYNC),
    (TypeError, r"object (str|list|dict) can't be used in 'await'", "alc.llm needs no await; alc.aio.llm needs it"),
    (TypeError, rf"^({_WITH_OPTIONS})\(\) takes .*positional", "options are keywords: alc.llm(prompt, system=…)"),
    (TypeError, r"^run\(\) (takes 0|takes from 0|missing)", "write def run(ctx):"),
    (TypeError, r"^can only concatenate str", "write f\"… {x}\", or str(x)"),
    (TypeError, r"unsupported operand .*'(str|NoneType)'|'[<>]=?' not supported between .*'str'", _AS_NUMBER),
    (TypeError, r"not JSON serializable$", "return the value itself, alc makes it JSON"),
    (ValueError, r"^(invalid literal for int|could not convert string to float)", _AS_NUMBER),
    (json.JSONDecodeError, r"", "alc.llm_json reads it; alc.json_extract finds JSON in a text"),
    (RuntimeError, r"^can't start new thread", _PARALLEL),
    (RuntimeError, r"cannot be called from a running event loop", "write await instead of asyncio.run"),
    (RuntimeError, r"^no running event loop", "call it inside async def, under asyncio.run"),
    (RecursionError, r"", "a function calls itself without an end: give it a depth, or write a loop"),
    # Measured with Python 3.12 and a raised limit of recursion: what the interpreter says where a frame gets no memory.
    (SystemError, r"without (an )?exception set", "out of memory: does a function call itself without an end?"),
    (SystemExit, r"", "the strategy called exit: write return with the result"),
    (KeyboardInterrupt, r"", "the strategy raised it: write return with the result"),
)  # fmt: skip

_NEAR = 0.7  # how alike a misspelt name and a known one are

# Names that other libraries use -> what it is called here.
_OTHER_NAMES = {
    **dict.fromkeys(("ask", "prompt", "query", "chat", "complete", "completion", "generate", "call_llm"), "alc.llm"),
    **dict.fromkeys(("batch", "llm_many", "ask_all", "map_llm"), "alc.parallel or alc.llm_batch"),
    **dict.fromkeys(("gather", "llm_async", "allm", "async_llm"), "asyncio.gather with alc.aio.llm"),
    **dict.fromkeys(("bool", "boolean", "verdict"), "alc.match_bool"),
    **dict.fromkeys(("choice", "enum", "choose"), "alc.match_enum"),
    **dict.fromkeys(("rating", "score"), "alc.parse_score"),
    **dict.fromkeys(("parse_json", "extract_json", "json"), "alc.json_extract"),
    **dict.fromkeys(("get_state", "set_state", "memory"), "alc.state"),
}


def hint_of(error: BaseException, frame: TracebackType | None) -> str | None:
    """The hint for an error that arose in `frame`, the innermost of the strategy."""
    if isinstance(error, KeyError):
        return _missing_key(error, frame)
    if isinstance(error, AttributeError) and (name := _name_of_alc(error)) is not None:
        return f"here it is called: {name}"
    if isinstance(error, NameError) and error.name and _is_in_ctx(error.name, frame):
        return f"write ctx[{error.name!r}]"
    if isinstance(error, OSError):
        return _of_os(error)
    text = _text(error)
    for kind, pattern, hint in _ROWS:
        if isinstance(error, kind) and re.search(pattern, text):
            return hint
    return None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001  code of the strategy
        return ""


def _of_os(error: OSError) -> str | None:
    if isinstance(error, (PermissionError, FileNotFoundError)) or error.errno is not None:
        text = _text(error)
        if "a strategy" in text:
            return None
        return _NO_FILES if error.filename is not None else "a strategy has no files, network or processes"
    return None


def _name_of_alc(error: AttributeError) -> str | None:
    if getattr(error.obj, "__name__", "") not in ("alc", "alc.aio") or not error.name:
        return None
    near = get_close_matches(error.name, [name for name in dir(error.obj) if name[0] != "_"], 1, _NEAR)
    return _OTHER_NAMES.get(error.name.lower()) or (f"alc.{near[0]}" if near else None)


def _ctx(frame: TracebackType | None) -> dict[str, Any]:
    ctx = frame.tb_frame.f_globals.get("ctx") if frame else None
    if frame and not isinstance(ctx, dict):
        ctx = frame.tb_frame.f_locals.get("ctx")
    return ctx if isinstance(ctx, dict) else {}


def _is_in_ctx(name: str, frame: TracebackType | None) -> bool:
    return name in _ctx(frame)


_SHOWN_KEYS = 8


def _missing_key(error: KeyError, frame: TracebackType | None) -> str | None:
    key = error.args[0] if error.args else None
    line = linecache.getline(frame.tb_frame.f_code.co_filename, frame.tb_lineno) if frame else ""
    if not isinstance(key, str) or "ctx" not in line:
        return None
    ctx = _ctx(frame)
    if key in ctx:
        return None
    given = ", ".join(repr(name) for name in list(ctx)[:_SHOWN_KEYS]) or "nothing"
    return f"not given: ctx[{key!r}]; given: {given}; ctx.get({key!r}, …) has a default"
