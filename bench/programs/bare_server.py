"""A bare MCPServer with the tools of algocline-mcp as stubs: what the SDK alone costs. Serves MCP over stdio.

    python bare_server.py

Contract: same names and arguments; every call returns at once what a paused session would. Ends with its stdin.
"""

from typing import Any, Literal

from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel, ConfigDict

PAUSED = {
    "status": "needs_response",
    "session_id": "p-18c2f0a1b2c3d4e5-0123456789abcdef",
    "query_id": "q-0",
    "prompt": "first",
    "system": None,
    "max_tokens": 1024,
}


class Outcome(BaseModel):
    model_config = ConfigDict(extra="allow")
    status: str
    session_id: str


def alc_run(
    code: str = "",
    code_file: str = "",
    ctx: dict[str, Any] | None = None,
    title: str = "",
    project_root: str = "",
    wait_s: float | None = None,
) -> Outcome:
    """Start a strategy."""
    return Outcome.model_validate(PAUSED)


def alc_continue(
    session_id: str,
    response: str = "",
    responses: list[dict[str, Any]] | None = None,
    refuse: str = "",
    query_id: str = "",
    usage: dict[str, int] | None = None,
    by: str = "",
    wait_s: float | None = None,
) -> Outcome:
    """Answer the prompts of a session."""
    return Outcome.model_validate(PAUSED)


def alc_status(session_id: str = "", wait_s: float | None = None) -> dict[str, Any]:
    """Look at one session, or list all."""
    return {"active_sessions": 0, "sessions": []}


def alc_stop(session_id: str, mode: Literal["hibernate", "cancel"] = "hibernate") -> Outcome:
    """Stop a session."""
    return Outcome.model_validate(PAUSED)


def main() -> None:
    server = MCPServer("bare", version="1", log_level="WARNING")
    for stub in (alc_run, alc_continue, alc_status, alc_stop):
        server.add_tool(stub)
    server.run("stdio")


if __name__ == "__main__":
    main()
