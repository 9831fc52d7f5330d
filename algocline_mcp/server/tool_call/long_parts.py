"""Long parts of one reply, which the SDK does not see: over HTTP it would encode them on the event loop.

Contract. The transport enters `holding()` for a request; tasks and threads that are started within inherit it. Then
`of_request()` is a LongParts: its `text` and `result` return what the SDK gets instead, marks of 128 random bits that
nobody can guess. `fill` puts the parts into the body that the SDK has encoded; it belongs on a thread. Over stdio
nothing is entered, and server/outgoing.py does the same for lines.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mcp_types import CallToolResult, TextContent

from algocline_mcp.history.chunking import is_long, minified

_parts: ContextVar["LongParts | None"] = ContextVar("long_parts", default=None)


class LongParts:
    def __init__(self) -> None:
        self._values: dict[bytes, Any] = {}  # by the JSON that stands for them in the body

    def __bool__(self) -> bool:
        return bool(self._values)

    def text(self, text: str) -> str:
        mark = _new_mark()
        self._values[json.dumps(mark).encode()] = text
        return mark

    def result(self, reply: CallToolResult) -> CallToolResult:
        """`reply` with marks for its long texts, and for its structured content."""
        content = [
            block.model_copy(update={"text": self.text(block.text)})
            if isinstance(block, TextContent) and is_long(block.text)
            else block
            for block in reply.content
        ]
        mark = _new_mark()
        self._values[f'{{"{mark}":""}}'.encode()] = reply.structured_content
        return reply.model_copy(update={"content": content, "structured_content": {mark: ""}})

    def fill(self, body: bytes) -> bytes:
        """`body` with each part in the place of its mark. Keeps the parts that have no mark in it."""
        for mark in [*self._values]:
            before, found, after = body.partition(mark)
            if found:
                body = b"".join((before, minified(self._values.pop(mark)).encode(), after))
        return body


def _new_mark() -> str:
    return f"alc-part-{secrets.token_hex(16)}"


def of_request() -> LongParts | None:
    """None where the transport does not hold parts back."""
    return _parts.get()


@contextmanager
def holding() -> Iterator[LongParts]:
    parts = LongParts()
    token = _parts.set(parts)
    try:
        yield parts
    finally:
        _parts.reset(token)
