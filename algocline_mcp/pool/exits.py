"""Exits of workers: what waits for one of them, and what waits for any."""

from dataclasses import dataclass, field

import anyio


@dataclass(slots=True)
class Watch:
    """A worker whose exit is noticed."""

    key: str  # of the worker, as Home.worker_key
    exited: anyio.Event = field(default_factory=anyio.Event)


class Signal:
    """An event that comes again and again. Who waits gets the next one."""

    def __init__(self) -> None:
        self._next: anyio.Event | None = None

    def announce(self) -> None:
        if self._next is not None:
            self._next.set()
            self._next = None

    async def wait(self) -> None:
        self._next = self._next or anyio.Event()
        await self._next.wait()
