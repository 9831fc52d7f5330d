"""What one call of the state database gets to work with, and how it says that it cannot be."""

import _sqlite3 as sqlite3  # not `sqlite3`: its Python half and datetime are 1 MiB in each worker that uses it
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algocline_mcp.limits import Limits


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


class Declined(Exception):
    """The call cannot be: the sentence goes to the strategy, and nothing is changed."""


class Unfinished(Exception):
    """A part is done and kept; the same call goes on from there."""


def json_text(value: Any) -> str:
    """One text per value: texts are compared."""
    return plain(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def plain(text: str) -> str:
    """Without halves of surrogate pairs, which SQLite does not take."""
    return text.encode("utf-8", "replace").decode()
