"""Reader of the state database: values of alc.state and cards of alc.card. The worker owns the schema.

Contract: each function opens the database read-only, for a moment, on a thread. It neither waits for a writer nor keeps
a writer out. Values are JSON. Raises StorageFailed where the database cannot be read.
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
    """Name of each namespace -> its number of keys."""
    with _opened(path) as rows:
        return dict(rows("SELECT namespace, count(*) FROM state GROUP BY namespace ORDER BY namespace"))


def keys(path: Path, namespace: str, *, query: str, after: str, limit: int) -> tuple[list[tuple[str, str]], int]:
    """At most `limit` pairs (key, value as JSON) after the key `after`, and the number of all matching keys.

    A key matches if it contains `query`, in upper or lower case.
    """
    with _opened(path) as rows:
        where = "FROM state WHERE namespace = ? AND instr(lower(key), lower(?)) > 0"
        page = rows(f"SELECT key, value {where} AND key > ? ORDER BY key LIMIT ?", namespace, query, after, limit)
        ((total,),) = rows(f"SELECT count(*) {where}", namespace, query) or ((0,),)
        return page, total


def value(path: Path, namespace: str, key: str) -> list[Any]:
    """A list with the value, or an empty list where there is no such key: null is a value."""
    with _opened(path) as rows:
        return [
            json.loads(text) for (text,) in rows("SELECT value FROM state WHERE namespace=? AND key=?", namespace, key)
        ]


def cards(path: Path) -> list[dict[str, Any]]:
    """The summaries of all cards, newest first."""
    with _opened(path, "cards") as rows:
        return [json.loads(text) for (text,) in rows("SELECT summary FROM cards ORDER BY created_at DESC, rowid DESC")]


def card(path: Path, card_id: str) -> list[dict[str, Any]]:
    """A list with the card, or an empty list."""
    with _opened(path, "cards") as rows:
        return [json.loads(text) for (text,) in rows("SELECT card FROM cards WHERE card_id = ?", card_id)]


@contextmanager
def _opened(path: Path, table: str = "state") -> "Iterator[Any]":
    if not os.path.exists(path):
        yield lambda *query: []
        return
    import sqlite3  # 5 ms, which only a call that reads the database spends

    def rows(query: str, *parameters: Any) -> list[Any]:
        fetched: list[Any] = connection.execute(query, parameters).fetchall()
        return fetched

    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
        with closing(connection):
            if rows("SELECT 1 FROM sqlite_master WHERE name = ?", table):
                yield rows
            else:  # an older version made the database, or another process is just making it
                yield lambda *query: []
    except sqlite3.Error as exc:
        raise StorageFailed(f"cannot read {path}: {exc}; restore it from a copy, or move it away") from exc
