"""Takes the place of `algocline_mcp.server.tool_call.compiler`: strategies of the fake pool are JSON."""

from algocline_mcp.languages import LUA, Language


def language_of(code: str, preferred: Language = LUA) -> Language:
    return LUA


def syntax_error(language: Language, chunk: str, source: str) -> str | None:
    return None
