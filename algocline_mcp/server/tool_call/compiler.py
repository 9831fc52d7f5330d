"""Compiles the source of a strategy without running it."""

_MEMORY_BYTES = 64 * 1024 * 1024  # for one source


def syntax_error(chunk: str, source: str) -> str | None:
    """Why `source` does not compile, or None. As in the engine, a first line that begins with # is for a shell."""
    import lupa.lua55 as lua  # 4 ms, needed only where a file is read

    text = (f"--{source}" if source.startswith("#") else source).encode("utf-8", "replace")
    runtime = lua.LuaRuntime(encoding=None, register_eval=False, register_builtins=False, max_memory=_MEMORY_BYTES)
    try:
        runtime.compile(text, name=b"@" + chunk.encode("utf-8", "replace"), mode=b"t")
    except lua.LuaError as exc:
        reason = exc.args[0]
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return None
