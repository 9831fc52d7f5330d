"""Long results are written under the id of their request; what is held of a cancelled one reaches nobody."""

import json
from typing import Any, cast

import anyio
import pytest
from mcp.shared.message import SessionMessage
from mcp_types import CallToolResult, JSONRPCResponse

from algocline_mcp.server.outgoing import Outgoing
from algocline_mcp.transport.channel import Channel

pytestmark = pytest.mark.anyio


class Lines:
    """In the place of the channel: the lines that are written."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    async def write(self, line: str) -> None:
        self.written.append(json.loads(line))


def reply(text: str) -> CallToolResult:
    return CallToolResult(content=[], structured_content={"text": text})


def response(number: int, result: CallToolResult) -> SessionMessage:
    fields = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return SessionMessage(message=JSONRPCResponse(jsonrpc="2.0", id=number, result=fields))


async def test_long_results_are_written_under_their_ids_in_any_order() -> None:
    lines = Lines()
    sender, receiver = anyio.create_memory_object_stream[SessionMessage](4)
    with receiver:
        async with Outgoing(sender, cast(Channel, lines)) as outgoing:
            placeholders = {number: outgoing.hold(number, reply(f"long {number}")) for number in (1, 2)}
            for number in (2, 1):
                await outgoing.send(response(number, placeholders[number]))

    assert [(line["id"], line["result"]["structuredContent"]["text"]) for line in lines.written] == [
        (2, "long 2"),
        (1, "long 1"),
    ]


async def test_what_is_held_of_a_cancelled_request_is_no_reply_to_a_later_one_with_its_id() -> None:
    lines = Lines()
    sender, receiver = anyio.create_memory_object_stream[SessionMessage](4)
    with receiver:
        async with Outgoing(sender, cast(Channel, lines)) as outgoing:
            outgoing.hold(1, reply("of a cancelled request"))
            await outgoing.send(response(1, reply("short")))
            sent = receiver.receive_nowait()
            for number in range(2, 20):
                outgoing.hold(number, reply("of a cancelled request"))

            assert isinstance(sent.message, JSONRPCResponse)
            assert sent.message.result["structuredContent"] == {"text": "short"}
            assert lines.written == []
            assert len(outgoing._held) < 10
