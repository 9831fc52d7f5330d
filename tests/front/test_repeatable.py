"""The front's table of tools that only read, compared with what the server says of its tools."""

from algocline_mcp.front.resend import REPEATABLE
from algocline_mcp.server.app import tools_of


def test_exactly_the_tools_that_only_read_are_sent_again() -> None:
    hints = {tool.name: tool.annotations for tool in tools_of({"ALC_TOOLS": "full"})}

    assert {name for name, hint in hints.items() if hint is not None and hint.read_only_hint} == REPEATABLE
