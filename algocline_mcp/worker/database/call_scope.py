"""What one call of the state database gets to work with, and how it says that it cannot be."""

import _sqlite3 as sqlite3  # not `sqlite3`: its Python half and datetime are 1 MiB in each worker that uses it
import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algocline_mcp.config.limits import Limits


@dataclass(frozen=True, slots=True)
class Mark:
    """Names one mutating effect for good: the n-th of a stream of a session."""

    sid: str
    stream: str
    n: int


@dataclass(frozen=True, slots=True)
class Places:
    """Directories of cards as files: `own` lies in the home, `others` are copied to (ALC_CARD_SINKS), `brought` are
    read like `own` and never written."""

    own: Path
    others: tuple[Path, ...] = ()
    brought: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """`mark`: of a mutating call, which runs inside a transaction."""

    connection: sqlite3.Connection
    limits: Limits
    namespace: str
    places: Places
    mark: Mark | None
    turn: int  # descriptor of the directory, which is locked by whoever changes something


class Busy(Exception):
    """Another process holds the database."""


class Declined(Exception):
    """The call cannot be: the sentence goes to the strategy, and nothing is changed."""


class Unfinished(Exception):
    """A part is done and kept; the same call goes on from there."""


@contextlib.contextmanager
def change(connection: sqlite3.Connection, turn: int) -> Iterator[None]:
    """A transaction, its checkpoint included, and nobody else's at the same time (why: see state.py). What is not
    committed in it is taken back. Raises Busy."""
    try:
        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise Busy from exc
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        fcntl.flock(turn, fcntl.LOCK_UN)


def json_text(value: Any) -> str:
    """One text per value: texts are compared."""
    return plain(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def plain(text: str) -> str:
    """Without halves of surrogate pairs, which SQLite does not take."""
    return text.encode("utf-8", "replace").decode()
