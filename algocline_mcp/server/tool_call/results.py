"""Results of tool calls for the SDK: a flat JSON object, or one sentence for a refused call.

Contract. The text of a result is its structured content as minified JSON, because hosts show one or the other; a
truncated result has a link to the whole too. A host that shows both gets one line as the text. A refusal is text
alone, `sentence [code]`: some hosts would show structured content instead of the sentence. A refusal that names no tool
ends with `next: `, what to call then. Neither contains half of a surrogate pair or a NaN: the first would end the SDK's
writer, the second would make the two forms differ.
"""

import math
import re
from typing import Any, TypeGuard

import anyio
import anyio.to_thread
from mcp_types import CallToolResult, ContentBlock, InputRequiredResult, ResourceLink, TextContent

from algocline_mcp.errors import AlcError, whole
from algocline_mcp.history.chunking import is_long, minified
from algocline_mcp.server.tool_call import principals
from algocline_mcp.server.tool_call.truncation import link_of

SHOWS_BOTH = ("codex-mcp-client",)
_SENTENCE_CHARS = 1500  # of a refusal: below what every host shows, above every sentence that repeats no long name
Reply = CallToolResult | InputRequiredResult

# Where a sentence names no tool, the way on by code; {tool} is the refused one.
_TOOL = re.compile(r"\balc_[a-z]")
_CORRECT = "correct this, then call {tool} again"
_REPAIR = "tell the user, and once it is repaired call {tool} again: no answer is lost"
_AGAIN = "call {tool} again: no answer is lost"
_PENDING = "alc_status with session_id shows the pending prompts"
_NEXT = {
    **dict.fromkeys(("home_unusable", "home_full", "lost", "sandbox_incomplete"), _REPAIR),
    **dict.fromkeys(("storage_failed", "storage_full", "storage_broken", "journal_full"), _REPAIR),
    **dict.fromkeys(
        ("unreachable", "timeout", "wire_broken", "protocol", "wrong_session", "busy", "no_process"), _AGAIN
    ),
    **dict.fromkeys(("no_answer", "not_waiting", "already_answered", "unknown_query"), _PENDING),
    **dict.fromkeys(("query_id_missing", "query_id_needed"), _PENDING),
}


def result(value: dict[str, Any]) -> CallToolResult:
    """The result of a tool. A long one has no text yet: `written` adds it."""
    return CallToolResult(content=[], structured_content=value) if is_long(value) else short_result(value)


def is_unwritten(reply: Reply) -> TypeGuard[CallToolResult]:
    """Whether `reply` is a long result that has no text yet."""
    return isinstance(reply, CallToolResult) and not reply.content and reply.structured_content is not None


async def written(reply: CallToolResult) -> CallToolResult:
    """An unwritten result with its text, which is written beside the event loop."""
    return await anyio.to_thread.run_sync(
        short_result, reply.structured_content or {}, limiter=anyio.CapacityLimiter(1)
    )


def short_result(value: dict[str, Any]) -> CallToolResult:
    """As `result`, for a value that is known to be short, or on a thread."""
    value, text = _writable(value)
    content: list[ContentBlock] = [TextContent(type="text", text=text)]
    if (link := link_of(value)) is not None:
        name, advice = link.rpartition("/")[2], "The whole, for the user; alc_status with cursor returns the next part"
        content.append(ResourceLink(type="resource_link", name=name, uri=link, description=advice))
    return CallToolResult(content=content, structured_content=value)


def for_host(reply: Reply, client: str) -> Reply:
    """`reply` with one line as its text where the host `client` shows the structured content beside the text."""
    if client not in SHOWS_BOTH or not isinstance(reply, CallToolResult) or reply.structured_content is None:
        return reply
    head = (reply.structured_content.get(name) for name in ("status", "session_id"))
    line = f"{' '.join(str(value) for value in head if value) or 'done'}: see structuredContent"
    rest = [block for block in reply.content if not isinstance(block, TextContent)]
    return reply.model_copy(update={"content": [TextContent(type="text", text=line), *rest]})


def text_of(value: dict[str, Any]) -> str:
    """`value` as in the text of a result."""
    return _writable(value)[1]


def _writable(value: dict[str, Any]) -> tuple[dict[str, Any], str]:
    try:
        text = minified(value, allow_nan=False)
        text.encode()
    except (UnicodeEncodeError, ValueError):
        value = _clean(value)
        text = minified(value, allow_nan=False)
    return value, text


def sentence(error: AlcError, tool: str) -> CallToolResult:
    return refusal(str(error), error.code, tool)


def refusal(text: str, code: str, tool: str) -> CallToolResult:
    """The refusal of a call of `tool`: one line, whatever the names and paths that it repeats hold; of a long one the
    beginning and the end."""
    line = " ".join(principals.sentence_for_caller(text, code).splitlines())
    if len(line) > _SENTENCE_CHARS:
        line = f"{line[: _SENTENCE_CHARS // 2]} … {line[-_SENTENCE_CHARS // 2 :]}"
    if _TOOL.search(line) is None:
        line += f"; next: {_NEXT.get(code, _CORRECT).format(tool=tool)}"
    return CallToolResult(content=[TextContent(type="text", text=whole(f"{line} [{code}]"))], is_error=True)


def _clean(value: Any) -> Any:
    """A copy that can be written. Recurses: a result of a strategy nests at most `limits.json_depth` deep."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {whole(str(key)): _clean(item) for key, item in value.items()}
    return value
