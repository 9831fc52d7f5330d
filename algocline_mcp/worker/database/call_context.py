"""The context of one call of the state database, and the reasons why such a call does not complete.

Pure, except for `transaction`.
"""

import _sqlite3 as sqlite3  # not `sqlite3`: its Python half and datetime are 1 MiB in each worker that uses it
import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from algocline_mcp.config.limits import Limits


@dataclass(frozen=True, slots=True)
class EffectMark:
    """Idempotency key of one mutating effect: the n-th mutating effect of a stream of a session."""

    sid: str
    stream: str
    n: int


@dataclass(frozen=True, slots=True)
class CardDirectories:
    """Directories that hold cards as files.

    `own` is in the home: cards are imported from it and copied to it. `sinks` (ALC_CARD_SINKS) only receive copies.
    `imports` are only read.
    """

    own: Path
    sinks: tuple[Path, ...] = ()
    imports: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a call works with. A mutating call has a `mark` and runs inside a transaction; a reading call has none.

    `write_lock` is the descriptor of the database's directory, which `transaction` locks.
    """

    connection: sqlite3.Connection
    limits: Limits
    namespace: str
    directories: CardDirectories
    mark: EffectMark | None
    write_lock: int


class DatabaseLocked(Exception):
    """Another process holds the database. Trying again helps."""


class ImportUnfinished(Exception):
    """One batch of card files is imported and committed. The same call, made again, continues with the next batch."""


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, write_lock: int) -> Iterator[None]:
    """One exclusive transaction including its checkpoint (why: see connection.py). Rolls back unless committed.

    Raises DatabaseLocked.
    """
    try:
        fcntl.flock(write_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise DatabaseLocked from exc
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        fcntl.flock(write_lock, fcntl.LOCK_UN)
