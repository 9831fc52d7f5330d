"""Takes the place of `algocline_mcp.server.tool_call.compiler`: strategies of the fake pool are JSON, not Lua."""


def syntax_error(chunk: str, source: str) -> str | None:
    return None
