"""Readers of values of alc.state and cards of alc.card: the seam, and the reader of a home's state database.

Contract: a StateReader reads what one owner has. StateFile opens the database of a part of a home read-only, for a
moment, on a thread; the worker owns its schema. It neither waits for a writer nor keeps a writer out. The other reader
is cluster/state_rows.py. Values are JSON. Raises StorageFailed where the database cannot be read.
"""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from algocline_mcp.errors import StorageFailed
from algocline_mcp.storage.key_values import well_formed

SHOWN_CHARS = 1000  # of a value among others, as JSON; a list shows fewer
_BUSY_S = 1.0


class StateReader(Protocol):
    def namespaces(self) -> dict[str, int]:
        """Name of each namespace -> its number of keys."""
        ...

    def names(self, namespace: str) -> list[str]:
        """All keys, in the order of their bytes as UTF-8."""
        ...

    def keys(self, namespace: str, *, query: str, after: str, limit: int) -> tuple[list[tuple[str, str]], int]:
        """At most `limit` pairs (key, the first SHOWN_CHARS characters of its value as JSON) after the key `after`, and
        the number of all matching keys.

        A key matches if it contains `query`, in upper or lower case.
        """
        ...

    def value(self, namespace: str, key: str) -> list[Any]:
        """A list with the value, or an empty list where there is no such key: null is a value."""
        ...

    def cards(self) -> list[dict[str, Any]]:
        """The summaries of all cards, newest first."""
        ...

    def card(self, card_id: str) -> list[dict[str, Any]]:
        """A list with the card, or an empty list."""
        ...


class StateFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def namespaces(self) -> dict[str, int]:
        with _opened(self._path) as rows:
            return dict(rows("SELECT namespace, count(*) FROM state GROUP BY namespace ORDER BY namespace"))

    def names(self, namespace: str) -> list[str]:
        with _opened(self._path) as rows:
            return [key for (key,) in rows("SELECT key FROM state WHERE namespace = ? ORDER BY key", namespace)]

    def keys(self, namespace: str, *, query: str, after: str, limit: int) -> tuple[list[tuple[str, str]], int]:
        with _opened(self._path) as rows:
            where = "FROM state WHERE namespace = ? AND instr(lower(key), lower(?)) > 0"
            columns = f"key, substr(value, 1, {SHOWN_CHARS})"
            page = rows(f"SELECT {columns} {where} AND key > ? ORDER BY key LIMIT ?", namespace, query, after, limit)
            ((total,),) = rows(f"SELECT count(*) {where}", namespace, query) or ((0,),)
            return page, total

    def value(self, namespace: str, key: str) -> list[Any]:
        with _opened(self._path) as rows:
            values = rows("SELECT value FROM state WHERE namespace = ? AND key = ?", namespace, key)
            return [json.loads(text) for (text,) in values]

    def cards(self) -> list[dict[str, Any]]:
        with _opened(self._path, "cards") as rows:
            summaries = rows("SELECT summary FROM cards ORDER BY created_at DESC, rowid DESC")
            return [json.loads(text) for (text,) in summaries]

    def card(self, card_id: str) -> list[dict[str, Any]]:
        with _opened(self._path, "cards") as rows:
            return [json.loads(text) for (text,) in rows("SELECT card FROM cards WHERE card_id = ?", card_id)]


@contextmanager
def _opened(path: Path, table: str = "state") -> "Iterator[Any]":
    if not os.path.exists(path):
        yield lambda *query: []
        return
    import sqlite3  # 5 ms, which only a call that reads the database spends

    def rows(query: str, *parameters: Any) -> list[Any]:
        whole = [well_formed(value) if isinstance(value, str) else value for value in parameters]
        fetched: list[Any] = connection.execute(query, whole).fetchall()
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
