"""Registration of a tool: its published schema, its text and its annotations.

Contract. `make_tool` publishes a function as the host sees it: the docstring is the description, one line per
paragraph; the input schema holds neither titles nor the defaults that mean *absent*; an argument that the function does
not have is refused. Lists depend on the program, ALC_TOOLS and the SDK alone, never on the home or on the time.
"""

import inspect
from collections.abc import Callable
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import BaseModel, ConfigDict

from algocline_mcp.server.tool_call.lifespan import ServerState

ToolContext = Context[ServerState, Any]


class Outcome(BaseModel):
    """Published output schema of a session. Open: further fields depend on `status`; a list of sessions has neither."""

    model_config = ConfigDict(extra="allow")
    status: str = ""
    session_id: str = ""


class Listing(BaseModel):
    """Published output schema of a list. Open: the fields depend on the arguments."""

    model_config = ConfigDict(extra="allow")


def hints(
    *, read_only: bool = False, destructive: bool = False, idempotent: bool = False, is_open: bool = False
) -> ToolAnnotations:
    """`is_open`: the tool reaches beyond the home and the file that it is given."""
    return ToolAnnotations(
        read_only_hint=read_only, destructive_hint=destructive, idempotent_hint=idempotent, open_world_hint=is_open
    )


def make_tool(
    function: Callable[..., Any],
    title: str,
    annotations: ToolAnnotations,
    meta: dict[str, Any] | None,
    *,
    text: str | None = None,
) -> Tool:
    """`text`: the description, instead of the docstring."""
    description = text or joined_lines(function.__doc__ or "")
    tool = Tool.from_function(function, title=title, description=description, annotations=annotations, meta=meta)
    # By default the SDK ignores unknown arguments: an answer under a misspelt name would be lost without a word.
    model = tool.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    tool.parameters = _lean(model.model_json_schema(by_alias=True))
    tool.fn_metadata.output_schema = _lean(tool.fn_metadata.output_schema or {})
    return tool


def joined_lines(text: str) -> str:
    """Each paragraph on one line: the line breaks of the source cost tokens and mean nothing."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _lean(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` without titles, and without the defaults that mean *absent*: both cost tokens and say nothing."""
    lean: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            lean[key] = {name: _lean(inner) for name, inner in value.items()}
        elif key == "description" and "properties" in schema:
            continue  # the docstring of a model is for readers of the code
        elif key != "title" and not (key == "default" and value in ("", None, {}, False)):
            lean[key] = _lean(value) if isinstance(value, dict) else value
    return lean
