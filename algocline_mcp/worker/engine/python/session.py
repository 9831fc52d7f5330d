"""The session that this process runs: what alc.* and the patches of the interpreter read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.config.limits import Limits
from algocline_mcp.worker.engine.process import Start
from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.exchange import Exchange

_DEPTH = Limits().json_depth
_WARNINGS = 20  # of one session; an author mends the first ones first


@dataclass(slots=True)
class Session:
    start: Start
    exchange: Exchange
    ctx: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)  # of alc.stats

    def warn(self, sentence: str) -> None:
        """Adds a warning: in the log where it arose, in the pause that follows, and once in the result."""
        if self.add_warning(sentence):
            self.exchange.log("warn", sentence, is_warning=True)

    def add_warning(self, sentence: str) -> bool:
        """Adds a warning to the result alone. Returns whether it is new."""
        if sentence in self.warnings or len(self.warnings) >= _WARNINGS:
            return False
        self.warnings.append(sentence)
        return True


_current: list[Session] = []  # a list, because a fork server plays a session and then holds none again


def current() -> Session:
    """Raises Error outside a session."""
    if not _current:
        raise Error(
            'alc.* works while a strategy runs: end the file with alc.main(run) under `if __name__ == "__main__":`, '
            "or in a test use `with alc.use(alc.Model({…})):`"
        )
    return _current[-1]


def is_running() -> bool:
    return bool(_current)


def json_depth() -> int:
    """How deep values nest, also outside a session."""
    return _current[-1].start.json_depth if _current else _DEPTH


@contextmanager
def running(session: Session) -> Iterator[None]:
    _current.append(session)
    try:
        yield
    finally:
        _current.pop()
