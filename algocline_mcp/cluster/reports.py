"""Progress of forwarded calls: what a session reports at its holder, as a payload of NOTIFY to the node that asked.

Contract. The id of a request whose caller wants progress ends in WANTED, so a holder of a version that knows nothing of
it carries the request out all the same. A payload is `ID [step, total, message, elapsed_s]`, with the beginning of a
message that is too long. The newest report of each request goes out, those of all requests in one statement, at most
every GAP_S. No row has a report, and nobody waits for one: after a lost one the host reads the next, or its heartbeat.
"""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from algocline_mcp.errors import StorageFailed
from algocline_mcp.pool.replies import OnProgress, Progress

WANTED = "-progress"
GAP_S = 0.25
_MESSAGE_CHARS = 600  # 7,200 bytes of JSON at most
_PAYLOAD_BYTES = 7999  # PostgreSQL takes no more

# No commit waits for the disk because of it.
SEND = """
SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, payload)
FROM unnest(%s::text[], %s::text[]) AS ring (channel, payload)
"""


class Reports:
    """Of a holder. `send` sends pairs of a request's id and a payload."""

    def __init__(self, send: Callable[[list[tuple[str, str]]], Awaitable[None]]) -> None:
        self._send = send
        self._latest: dict[str, Progress] = {}
        self._news = anyio.Event()

    def on_progress(self, request_id: str) -> OnProgress | None:
        """None: its caller does not want progress."""
        if not request_id.endswith(WANTED):
            return None

        async def note(progress: Progress) -> None:
            self._latest[request_id] = progress
            self._news.set()

        return note

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            payloads = [(request_id, payload_of(request_id, latest)) for request_id, latest in self._latest.items()]
            self._latest.clear()
            with suppress(StorageFailed):
                await self._send([(request_id, payload) for request_id, payload in payloads if payload])
            await anyio.sleep(GAP_S)


def payload_of(request_id: str, progress: Progress) -> str:
    """Empty where its numbers are too long for a payload."""
    message = progress.message
    if message is not None and len(message) > _MESSAGE_CHARS:
        message = message[: _MESSAGE_CHARS - 1] + "…"
    payload = f"{request_id} {json.dumps([progress.step, progress.total, message, progress.elapsed_s])}"
    return payload if len(payload) <= _PAYLOAD_BYTES else ""


def progress_of(report: str) -> Progress | None:
    """Of a payload behind its id; None for what another version may have sent."""
    with suppress(ValueError, TypeError):
        step, total, message, elapsed_s = json.loads(report)
        return Progress(step, total, message, elapsed_s)
    return None
