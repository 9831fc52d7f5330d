"""What every tool shares: registration, checks of arguments, and asking the pool."""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, ConfigDict

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import (
    Text,
    quoted,
)
from algocline_mcp.server.tool_call.deadline import allowed_s, watched, within
from algocline_mcp.server.tool_call.lifespan import ServerState
from algocline_mcp.server.tool_call.truncation import fit, shown_bytes

if TYPE_CHECKING:
    from algocline_mcp.pool import dispatch


class Outcome(BaseModel):
    """The published schema is open: what else comes depends on `status`. A list of sessions has neither field."""

    model_config = ConfigDict(extra="allow")
    status: str = ""
    session_id: str = ""


class Listing(BaseModel):
    """Of the catalog: which fields come depends on `kind`."""

    model_config = ConfigDict(extra="allow")


Host = Context[ServerState, Any]


Found = TypeVar("Found")


SessionId = Text


_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}")


def opened(host: Host) -> ServerState:
    """Raises HomeUnusable first of all: while the home does not work, no other advice helps."""
    held: ServerState = host.request_context.lifespan_context
    held.usable()
    return held


def checked_sid(session_id: str) -> str:
    if not session_id:
        raise Refused("session_id is empty: take it from alc_run, or from the list of alc_status()")
    if not _ID.fullmatch(session_id):
        raise Refused(f"Session {quoted(session_id)} not found: no id looks like this; alc_status() lists them")
    return session_id


def checked_ctx(ctx: dict[str, Any], limits: Limits) -> dict[str, Any]:
    from algocline_mcp.protocol.messages import is_deeper

    if is_deeper(ctx, limits.json_depth):
        raise Refused(f"ctx nests more than {limits.json_depth} levels deep: flatten it")
    size = len(json.dumps(ctx, ensure_ascii=False).encode("utf-8", "replace"))
    if size > limits.ctx_bytes:
        cure = "shorten it, or put the bulk into a file that the host reads"
        raise Refused(f"ctx has {size} bytes, at most {limits.ctx_bytes}: {cure}", code="too_large")
    return ctx


Call = Callable[["dispatch.Pool", float, "dispatch.OnProgress"], Awaitable["dispatch.PoolReply"]]


async def ask(
    host: Host,
    wait_s: float | None,
    call: Call,
    *,
    unanswered: str,
    refused: list[dict[str, Any]] | None = None,
    warnings: Sequence[str] = (),
    cursor: str = "",
    spare: int = 0,
) -> CallToolResult:
    """The pool's reply to `call`, as the result of a tool. `refused`: items that the pool never saw. `cursor`: where
    an earlier reply was cut. `spare`: bytes to leave of what the host shows."""
    held = opened(host)
    pool, limits = held.usable(), held.limits
    wait = allowed_s(limits.wait_s if wait_s is None else wait_s, client_name(host), limits.wait_max_s)
    reply = await watched(
        lambda told: call(pool, wait, told),
        host.report_progress,
        within_s=wait + limits.grace_s,
        unanswered=unanswered,
    )
    result = dict(reply.result)
    if refused:
        result["refused"] = [*result.get("refused", []), *refused]
    if warnings:
        result["warnings"] = [*result.get("warnings", []), *warnings]
    if reply.pool_save_error is not None:
        result["pool_save_error"] = reply.pool_save_error
    return results.result(fit(result, room_of(host) - spare, cursor))


def room_of(host: Host) -> int:
    """How many bytes of one result the host shows."""
    return shown_bytes(client_name(host), opened(host).limits.output_bytes)


async def look(host: Host, work: Callable[[], Found]) -> Found:
    """What `work` finds on the disk. Not in one of the SDK's threads, and not beyond the deadline of a call."""
    found = anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    return await within(opened(host).limits.grace_s, found, unanswered="ask again, perhaps with a lower limit")


def client_name(host: Host) -> str:
    told = host.session.client_params
    return told.client_info.name if told is not None else ""


def hints(
    *, read_only: bool = False, destructive: bool = False, idempotent: bool = False, is_open: bool = False
) -> ToolAnnotations:
    """`is_open`: it reaches beyond the home and the file it is given."""
    return ToolAnnotations(
        read_only_hint=read_only, destructive_hint=destructive, idempotent_hint=idempotent, open_world_hint=is_open
    )


def tool(function: Callable[..., Any], title: str, annotations: ToolAnnotations, meta: dict[str, Any] | None) -> Tool:
    tool = Tool.from_function(
        function, title=title, description=_flowing(function.__doc__ or ""), annotations=annotations, meta=meta
    )
    # By default the SDK ignores arguments it does not know: a misspelt one would be an answer that never came.
    model = tool.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    tool.parameters = _lean(model.model_json_schema(by_alias=True))
    tool.fn_metadata.output_schema = _lean(tool.fn_metadata.output_schema or {})
    return tool


def _flowing(text: str) -> str:
    """Paragraphs without the line breaks that only the source needs."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _lean(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` without titles, and without the defaults that stand for *absent*: tokens that say nothing."""
    lean: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            lean[key] = {name: _lean(inner) for name, inner in value.items()}
        elif key == "description" and "properties" in schema:
            continue  # a model's docstring is for readers of the code
        elif key != "title" and not (key == "default" and value in ("", None, {}, False)):
            lean[key] = _lean(value) if isinstance(value, dict) else value
    return lean
