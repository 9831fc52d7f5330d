"""alc.card in the state database of a home: the SQL tables of cards, samples and aliases.

Contract: `perform` performs one call in its context and returns the result, a JSON value, or raises CallRefused. What
the functions do stands in storage/card_functions.py.

Why the database and not upstream's files: a card and its mark are one commit, so no crash loses or doubles a card;
`append` and `alias_set`, which change what other sessions may change at the same time, cannot be repeated safely on
files. And the database is read faster: a search through 2,000 cards takes 14 ms here, and 226 ms as TOML, whose reader
costs a worker 1.5 MiB. The files are copies, 80 us each (card_copies.py).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from algocline_mcp.cards.card import Card
from algocline_mcp.storage import card_functions
from algocline_mcp.storage.card_functions import FUNCTIONS, CardCall, CardRow, without_none
from algocline_mcp.storage.key_values import well_formed
from algocline_mcp.worker.database import card_copies, card_files
from algocline_mcp.worker.database.call_context import CallContext
from algocline_mcp.worker.engine.messages import Call

__all__ = ["FUNCTIONS", "SCHEMA", "CardTables", "perform"]

SCHEMA = (
    # samples: their number, NULL where none were written
    "CREATE TABLE cards (card_id TEXT PRIMARY KEY, pkg TEXT NOT NULL, created_at TEXT NOT NULL, prior TEXT, "
    "summary TEXT NOT NULL, samples INTEGER, card TEXT NOT NULL)",
    "CREATE INDEX newest ON cards (created_at)",
    "CREATE INDEX children ON cards (prior)",
    "CREATE TABLE samples (card_id TEXT, n INTEGER, sample TEXT NOT NULL, PRIMARY KEY (card_id, n)) WITHOUT ROWID",
    "CREATE TABLE aliases (name TEXT PRIMARY KEY, card_id TEXT NOT NULL, pkg TEXT, set_at TEXT NOT NULL, note TEXT)",
    # files that were read and hold no card (see card_import.py)
    "CREATE TABLE brought (path TEXT PRIMARY KEY, stamp TEXT NOT NULL)",
)
_NEWEST_FIRST = "ORDER BY created_at DESC, rowid DESC"
_ALIAS_FIELDS = ("name", "card_id", "pkg", "set_at", "note")


def perform(context: CallContext, call: Call) -> Any:
    mark = context.mark
    identity = f"{mark.sid} {mark.stream} {mark.n}" if mark is not None else ""
    return card_functions.perform(CardCall(CardTables(context), context.limits, identity), call.name, call.args)


class CardTables:
    """Its methods run inside the transaction of their caller, if there is one. They raise sqlite3.Error."""

    def __init__(self, context: CallContext) -> None:
        self._context = context
        self._execute = context.connection.execute

    def card(self, card_id: str) -> tuple[str, str, bool] | None:
        query = "SELECT pkg, card, samples FROM cards WHERE card_id = ?"
        row = self._execute(query, (well_formed(card_id),)).fetchone()
        return None if row is None else (row[0], row[1], row[2] is not None)

    def count(self, pkg: str) -> int:
        row = self._execute("SELECT count(*) FROM cards WHERE pkg = ?", (well_formed(pkg),)).fetchone()
        return int(row[0])

    def summaries(self, pkg: str | None, *, offset: int, limit: int) -> list[str]:
        return [text for (text,) in self._rows("summary", pkg, f"LIMIT {limit} OFFSET {offset}")]

    def cards(self, pkg: str | None) -> Iterator[tuple[str, str]]:
        return self._rows("summary, card", pkg)

    def _rows(self, columns: str, pkg: str | None, page: str = "") -> Iterator[Any]:
        query = f"SELECT {columns} FROM cards WHERE ? IS NULL OR pkg = ? {_NEWEST_FIRST} {page}"
        name = None if pkg is None else well_formed(pkg)
        return iter(self._execute(query, (name, name)))

    def children(self, card_id: str) -> list[str]:
        query = f"SELECT card FROM cards WHERE prior = ? {_NEWEST_FIRST}"
        return [text for (text,) in self._execute(query, (well_formed(card_id),))]

    def put(self, row: CardRow) -> None:
        values = (row.card_id, row.pkg, row.created_at, row.prior, row.summary, row.card)
        self._execute(
            "INSERT INTO cards (card_id, pkg, created_at, prior, summary, card) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT "
            "DO UPDATE SET created_at = excluded.created_at, prior = excluded.prior, summary = excluded.summary, "
            "card = excluded.card",
            [None if value is None else well_formed(value) for value in values],
        )

    def samples(self, card_id: str) -> list[str]:
        query = "SELECT sample FROM samples WHERE card_id = ? ORDER BY n"
        return [text for (text,) in self._execute(query, (well_formed(card_id),))]

    def put_samples(self, card_id: str, samples: Sequence[str]) -> None:
        name = well_formed(card_id)
        rows = ((name, n, text) for n, text in enumerate(samples))
        self._context.connection.executemany("INSERT INTO samples VALUES (?, ?, ?)", rows)
        self._execute("UPDATE cards SET samples = ? WHERE card_id = ?", (len(samples), name))

    def aliased(self, name: str) -> str | None:
        row = self._execute("SELECT card_id FROM aliases WHERE name = ?", (well_formed(name),)).fetchone()
        return None if row is None else str(row[0])

    def aliases(self) -> list[Card]:
        stored = self._execute("SELECT name, card_id, pkg, set_at, note FROM aliases ORDER BY rowid")
        return [without_none(dict(zip(_ALIAS_FIELDS, row, strict=True))) for row in stored]

    def put_alias(self, alias: Card) -> None:
        row = [alias.get(name) for name in _ALIAS_FIELDS]
        values = [well_formed(value) if isinstance(value, str) else None for value in row]
        self._execute("REPLACE INTO aliases VALUES (?, ?, ?, ?, ?)", values)

    def path(self, pkg: str, card_id: str, *, is_of_samples: bool = False) -> str:
        path_of = card_files.samples_path if is_of_samples else card_files.card_path
        return str(path_of(self._context.directories.own, pkg, card_id))

    def backfill(self, sink: str, *, is_dry: bool) -> Card:
        return card_copies.backfill(self._context, self, sink, is_dry=is_dry)
