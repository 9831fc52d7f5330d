"""Compiles the source of a strategy without running it."""

from pathlib import Path
from typing import Any

from algocline_mcp import languages

_HINT_BYTES = 400  # of a line that is searched for a hint
_MEMORY_BYTES = 64 * 1024 * 1024  # for one source


def syntax_error(chunk: str, source: str) -> str | None:
    """Why `source` does not compile, with the hint that the engine would give, or None.

    As in the engine, a first line that begins with # is for a shell."""
    import lupa.lua55 as lua  # 4 ms, needed only where a file is read

    text = (f"--{source}" if source.startswith("#") else source).encode("utf-8", "replace")
    runtime = lua.LuaRuntime(encoding=None, register_eval=False, register_builtins=False, max_memory=_MEMORY_BYTES)
    try:
        runtime.compile(text, name=b"@" + chunk.encode("utf-8", "replace"), mode=b"t")
    except lua.LuaError as exc:
        reason = exc.args[0]
        problem = reason if isinstance(reason, bytes) else str(reason).encode("utf-8", "replace")
        return (problem + _hint(runtime, problem, text)).decode("utf-8", "replace")
    return None


def _hint(runtime: Any, problem: bytes, text: bytes) -> bytes:
    """ " (…)" or nothing. The lines are cut, because Lua's patterns hold the interpreter lock while they match."""
    source = (Path(languages.__file__).parent / languages.LUA.hints).read_bytes()
    shared = runtime.table()
    runtime.compile(source, name=b"@hints", mode=b"t")(shared)
    hint: bytes = shared[b"syntax_hint"](problem, b"\n".join(line[:_HINT_BYTES] for line in text.split(b"\n")))
    return hint
