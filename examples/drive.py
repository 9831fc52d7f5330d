"""A host in one loop: drives the server from Python with the official client.

    python examples/drive.py examples/panel.lua task="Ship on Friday?"

`think` stands for a model: call yours there. The rest is what any host does: it starts a run and answers every pending
prompt with its query_id until the session is over. If this program ends half-way, `alc ps` shows the session.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters

ALC = Path(sys.executable).with_name("alc")


def think(prompt: str, system: str | None) -> str:
    return f"An answer to: {prompt.splitlines()[0]}"


async def drive(file: str, ctx: dict[str, str]) -> dict[str, Any]:
    server = StdioServerParameters(command=str(ALC), env=dict(os.environ))
    async with Client(server) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            reply = await client.call_tool(tool, arguments)
            if reply.is_error or reply.structured_content is None:
                raise SystemExit(" ".join(getattr(block, "text", "") for block in reply.content))
            return dict(reply.structured_content)

        state = await call("alc_run", code_file=file, ctx=ctx, title=file)
        sid = state["session_id"]
        while state["status"] in ("needs_response", "accepted", "running"):
            if state["status"] == "needs_response":
                queries = state.get("queries") or [state]
                answers = [
                    {"query_id": query["query_id"], "response": think(query["prompt"], query.get("system"))}
                    for query in queries
                ]
                state = await call("alc_continue", session_id=sid, responses=answers)
            else:
                state = await call("alc_status", session_id=sid, wait_s=45)
        return state


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("give a strategy, and what it needs: drive.py examples/panel.lua task=…")
    ctx = dict(pair.split("=", 1) for pair in sys.argv[2:])
    print(json.dumps(asyncio.run(drive(os.path.abspath(sys.argv[1]), ctx)), indent=2))
