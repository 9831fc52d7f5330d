"""The poll loop of a keeper: a signal between any two instructions is not lost."""

import select
import signal
from types import SimpleNamespace
from typing import Any, cast

from algocline_mcp.worker.keeper.poll_loop import Keeper


class InterruptedClient:
    """A client with one line to read. A SIGTERM arrives while the keeper asks whether the line asks it to leave."""

    request = None
    is_open = True

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def receive(self) -> list[bytes]:
        return [b"a line"]

    @property
    def is_asking_to_leave(self) -> bool:
        self._keeper._on_sigterm(signal.SIGTERM, None)
        return False


def test_signal_that_arrives_while_a_line_is_read_is_not_lost() -> None:
    keeper = cast(Any, Keeper.__new__(Keeper))
    keeper.is_asked_to_leave = False
    keeper.requests = SimpleNamespace(accept=lambda client, line, is_busy: None)
    keeper._watch_output = lambda client: None

    keeper._serve(InterruptedClient(keeper), select.POLLIN)

    assert keeper.is_asked_to_leave
