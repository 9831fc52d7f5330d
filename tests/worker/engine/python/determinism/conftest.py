from collections.abc import Iterator

import pytest

from algocline_mcp.worker.engine.python import determinism


class Tape:
    """A clock that moves by the sleeps alone."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.125

    def time(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def tape() -> Iterator[Tape]:
    """The clock of active measures."""
    tape = Tape()
    determinism.activate(7, tape.time, tape.sleep)
    yield tape
    determinism.deactivate()
