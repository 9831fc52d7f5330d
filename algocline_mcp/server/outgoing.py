"""Messages of the server to the host. A long one is encoded beside the event loop, which serves all sessions of a host.

Contract. `Outgoing` is the stream into which the SDK writes. The SDK copies each result three times and encodes it, all
on the event loop: 11 MB held it for 0.1 to 0.5 s. So `hold` keeps a long result of a tool back and gives the SDK an
empty one in its place, and `send` writes the long one under the id of its request. Nothing waits between the two. The
SDK sends no result of a request that was cancelled at that moment: what is held of it is dropped when others follow.
Any other long response, such as a resource, is encoded here too.
"""

from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
from mcp.shared._stream_protocols import WriteStream
from mcp.shared.message import SessionMessage
from mcp_types import CallToolResult, JSONRPCResponse, RequestId

from algocline_mcp.history.chunking import is_long, minified
from algocline_mcp.transport.channel import Channel

_HELD = 4  # long results; all but the newest are of cancelled requests


class Outgoing:
    def __init__(self, stream: WriteStream[SessionMessage], channel: Channel) -> None:
        self._stream = stream
        self._channel = channel
        self._held: dict[RequestId, CallToolResult] = {}  # the oldest first

    def hold(self, request_id: RequestId, reply: CallToolResult) -> CallToolResult:
        """An empty result in the place of `reply`, which is long."""
        self._held[request_id] = reply
        if len(self._held) > _HELD:
            del self._held[next(iter(self._held))]
        return CallToolResult(content=[], structured_content={})

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        if isinstance(message, JSONRPCResponse):
            held = [self._held.pop(message.id)] if message.id in self._held and _is_empty(message) else []
            is_tool_result = "content" in message.result  # whose length is known
            if held or (not is_tool_result and is_long(message.result)):
                line = await anyio.to_thread.run_sync(_line, message, held, limiter=anyio.CapacityLimiter(1))
                await self._channel.write(line)
                return
        await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _is_empty(message: JSONRPCResponse) -> bool:
    """As `hold` has returned it: an id may be used again."""
    return message.result.get("content") == [] and message.result.get("structuredContent") == {}


def _line(message: JSONRPCResponse, held: list[CallToolResult]) -> str:
    """The line of `message` with the result that was held back. Takes it out of `held`, so that it is freed here, on a
    thread: a million objects take 0.1 s."""
    result = message.result
    if held:
        reply = held.pop()
        content = [block.model_dump(by_alias=True, mode="json", exclude_none=True) for block in reply.content]
        result = {**result, "content": content, "structuredContent": reply.structured_content}
    return minified({"jsonrpc": message.jsonrpc, "id": message.id, "result": result}) + "\n"
