"""Judges what the arguments of a call would cost, before the SDK and their validators walk them; and texts that name.

Contract. The event loop serves every session of a host, so nothing may hold it for long. The transport bounds the
values and the texts of a whole message. Here: an argument that the tool does not have is refused before pydantic
describes each of thousands (0.3 s for 25,000); a text that names something is short; and a text that will be decoded
as JSON has as few values as a message. A long one is decoded on a thread: 12 MB held the event loop for 0.8 s. A text
that names something has no NUL and no half of a surrogate pair: the functions of the operating system raise at them.
Raises Refused.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import anyio
import anyio.to_thread
from mcp.server.mcpserver.tools import Tool

from algocline_mcp.errors import Refused, whole
from algocline_mcp.server.tool_call.arguments import quoted
from algocline_mcp.transport.jsonrpc import WHOLE_BYTES, costly

# Ids, names, paths and numbers. The other arguments are texts with limits of their own, or are cut (title).
NAMES = frozenset((
    "session_id", "query_id", "code_file", "project_root", "strategy", "by", "at", "cursor", "view", "mode",
    "kind", "limit", "n", "offset", "wait_s", "name", "path", "pkg", "namespace", "key", "card_id", "source",
    "version", "sort", "spec_dir", "target_dir", "query", "filter", "max_chars", "url", "scope", "sid", "sink",
    "search_paths", "fields", "steps", "relation_filter", "order_by", "direction", "category",
    "eval_id", "eval_id_a", "eval_id_b", "scenario_file", "scenario_name",
))  # fmt: skip
NAME_MAX_CHARS = 4096  # as long as a path may be
_COMPARED_CHARS = 64


async def within_cost(tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
    """`arguments`, with a long text of JSON replaced by its value."""
    _check_names(tool, arguments)
    fields = tool.fn_metadata.arg_model.model_fields
    texts = {
        name: value
        for name, value in arguments.items()
        if isinstance(value, str) and (field := fields.get(name)) is not None and field.annotation is not str
    }
    if sum(map(len, texts.values())) <= WHOLE_BYTES:
        for name, value in texts.items():
            _check_json(name, value)
        return arguments
    return arguments | await anyio.to_thread.run_sync(_decoded, texts, limiter=anyio.CapacityLimiter(1))


def _decoded(texts: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name, value in texts.items():
        _check_json(name, value)
        try:
            values[name] = json.loads(value)
        except ValueError:
            raise Refused(f"{name} is a string that is not JSON: send its value itself", code="bad_argument") from None
    return values


def _check_json(name: str, value: str) -> None:
    if (reason := costly(value)) is not None:
        raise Refused(f"{name} is a text of JSON: {reason}", code="too_large")


def _check_names(tool: Tool, arguments: Mapping[str, Any]) -> None:
    fields = tool.fn_metadata.arg_model.model_fields
    names = [field.alias or name for name, field in fields.items()]
    for name, value in arguments.items():
        field = fields.get(name)
        if field is None and name not in names:
            raise Refused(unknown_argument(tool.name, name, names), code="bad_argument")
        for text in value if isinstance(value, list) else (value,):
            if name in NAMES and isinstance(text, str):
                _check_name(name, text)


def _check_name(name: str, text: str) -> None:
    if len(text) > NAME_MAX_CHARS:
        sentence = f"{name} has {len(text)} characters, at most {NAME_MAX_CHARS}: shorten it"
        raise Refused(sentence, code="too_large")
    if "\0" in text or whole(text) != text:
        what = "a NUL character" if "\0" in text else "half of a surrogate pair"
        sentence = f"{name} is {quoted(whole(text))} with {what}, which no name and no path has: remove it"
        raise Refused(sentence, code="bad_argument")


def unknown_argument(tool: str, name: str, names: list[str]) -> str:
    close = get_close_matches(name[:_COMPARED_CHARS], names, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"{tool} has no argument {quoted(name)}{meant}: its arguments are {', '.join(names)}"
