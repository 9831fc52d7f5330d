"""What strategies have kept with alc.state and alc.card, as a reader sees it: the schema is the worker's.

Contract: the database is opened to read, for a moment, on a thread; a writer is neither waited for nor kept out. Values
are JSON. Raises StorageFailed where the database cannot be read.
"""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from algocline_mcp.errors import StorageFailed

_BUSY_S = 1.0


def namespaces(path: Path) -> dict[str, int]:
    """Name -> how many keys it has."""
    with _opened(path) as rows:
        return dict(rows("SELECT namespace, count(*) FROM state GROUP BY namespace ORDER BY namespace"))


def keys(path: Path, namespace: str, *, query: str, after: str, limit: int) -> tuple[list[tuple[str, str]], int]:
    """Keys that hold `query`, from behind `after` on, each with its value as JSON; and how many there are in all."""
    with _opened(path) as rows:
        where = "FROM state WHERE namespace = ? AND instr(lower(key), lower(?)) > 0"
        page = rows(f"SELECT key, value {where} AND key > ? ORDER BY key LIMIT ?", namespace, query, after, limit)
        ((total,),) = rows(f"SELECT count(*) {where}", namespace, query) or ((0,),)
        return page, total


def value(path: Path, namespace: str, key: str) -> list[Any]:
    """The value in a list, or an empty one: null is a value."""
    with _opened(path) as rows:
        return [
            json.loads(text) for (text,) in rows("SELECT value FROM state WHERE namespace=? AND key=?", namespace, key)
        ]


def cards(path: Path) -> list[dict[str, Any]]:
    """The summary of each, the newest first."""
    with _opened(path, "cards") as rows:
        return [json.loads(text) for (text,) in rows("SELECT summary FROM cards ORDER BY created_at DESC, rowid DESC")]


def card(path: Path, card_id: str) -> list[dict[str, Any]]:
    """The card in a list, or an empty one."""
    with _opened(path, "cards") as rows:
        return [json.loads(text) for (text,) in rows("SELECT card FROM cards WHERE card_id = ?", card_id)]


@contextmanager
def _opened(path: Path, table: str = "state") -> "Iterator[Any]":
    if not os.path.exists(path):
        yield lambda *query: []
        return
    import sqlite3  # 5 ms, which only those pay who ask for it

    def rows(query: str, *given: Any) -> list[Any]:
        found: list[Any] = connection.execute(query, given).fetchall()
        return found

    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
        with closing(connection):
            if rows("SELECT 1 FROM sqlite_master WHERE name = ?", table):
                yield rows
            else:  # an older program made it, or another process is just making it
                yield lambda *query: []
    except sqlite3.Error as exc:
        raise StorageFailed(f"cannot read {path}: {exc}; restore it from a copy, or move it away") from exc
