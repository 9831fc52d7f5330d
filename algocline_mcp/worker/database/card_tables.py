"""The SQL tables of cards, samples and aliases: their schema, and how rows are written and read.

Contract: functions run inside the transaction of their caller, if there is one. They raise ValueError with the sentence
for the strategy, and sqlite3.Error.
"""

import json
from collections.abc import Iterator
from typing import Any

from algocline_mcp.cards.card import Card, prior, summary
from algocline_mcp.storage.key_values import json_text, well_formed
from algocline_mcp.worker.database.call_context import CallContext

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


# Writing -----------------------------------------------------------------------------------------------------


def put_card(context: CallContext, card: Card, pkg: str) -> None:
    """Stores a new card, or replaces what is stored of this card_id."""
    text = json_text(card)
    if len(text.encode()) > context.limits.card_bytes:
        raise ValueError(
            f"a card of {len(text.encode())} bytes as JSON, at most {context.limits.card_bytes}: "
            "put what belongs to single cases into its samples"
        )
    created_at = card["created_at"] if isinstance(card.get("created_at"), str) else ""
    prior_id = prior(card)[0]
    row = (card["card_id"], pkg, created_at, prior_id, json_text(summary(card, pkg)), text)
    context.connection.execute(
        "INSERT INTO cards (card_id, pkg, created_at, prior, summary, card) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT "
        "DO UPDATE SET created_at = excluded.created_at, prior = excluded.prior, summary = excluded.summary, "
        "card = excluded.card",
        [None if value is None else well_formed(value) for value in row],
    )


def put_samples(context: CallContext, card_id: str, samples: list[Any]) -> None:
    texts = [json_text(sample) for sample in samples]
    size = sum(len(text.encode()) for text in texts)
    if size > context.limits.samples_bytes:
        raise ValueError(f"samples of {size} bytes as JSON, at most {context.limits.samples_bytes}: keep fewer")
    rows = ((well_formed(card_id), n, text) for n, text in enumerate(texts))
    context.connection.executemany("INSERT INTO samples VALUES (?, ?, ?)", rows)
    context.connection.execute("UPDATE cards SET samples = ? WHERE card_id = ?", (len(texts), well_formed(card_id)))


def put_alias(context: CallContext, alias: Card) -> None:
    row = [alias.get(name) for name in _ALIAS_FIELDS]
    values = [well_formed(value) if isinstance(value, str) else None for value in row]
    context.connection.execute("REPLACE INTO aliases VALUES (?, ?, ?, ?, ?)", values)


# Reading -----------------------------------------------------------------------------------------------------


def stored_card(context: CallContext, card_id: str) -> tuple[str, str, int | None] | None:
    """(pkg, JSON text, number of samples or None), or None where there is no such card."""
    query = "SELECT pkg, card, samples FROM cards WHERE card_id = ?"
    row: tuple[str, str, int | None] | None = context.connection.execute(query, (well_formed(card_id),)).fetchone()
    return row


def existing_card(context: CallContext, card_id: Any) -> tuple[str, str, int | None]:
    """As `stored_card`. Raises ValueError where there is no such card."""
    row = stored_card(context, as_text(card_id, "the card_id"))
    if row is None:
        raise ValueError(f"card '{card_id}' not found: alc.card.list() tells which there are")
    return row


def rows(context: CallContext, columns: str, *, pkg: str | None, page: tuple[int, int] = (0, -1)) -> Iterator[Any]:
    """Rows of cards, newest first. `pkg`: None for all. `page`: offset and limit, where -1 is no limit."""
    query = f"SELECT {columns} FROM cards WHERE ? IS NULL OR pkg = ? {_NEWEST_FIRST} LIMIT ? OFFSET ?"
    name = None if pkg is None else well_formed(pkg)
    return iter(context.connection.execute(query, (name, name, page[1], page[0])))


def count(context: CallContext, pkg: str) -> int:
    row = context.connection.execute("SELECT count(*) FROM cards WHERE pkg = ?", (well_formed(pkg),)).fetchone()
    return int(row[0])


def children(context: CallContext, card_id: str) -> list[Card]:
    """Cards whose `metadata.prior_card_id` is this card, newest first."""
    query = f"SELECT card FROM cards WHERE prior = ? {_NEWEST_FIRST}"
    return [as_card(text) for (text,) in context.connection.execute(query, (card_id,))]


def sample_texts(context: CallContext, card_id: str) -> list[str]:
    """The JSON text of each sample, in the order in which they were written."""
    query = "SELECT sample FROM samples WHERE card_id = ? ORDER BY n"
    return [text for (text,) in context.connection.execute(query, (well_formed(card_id),))]


def aliased_card_id(context: CallContext, name: str) -> str | None:
    row = context.connection.execute("SELECT card_id FROM aliases WHERE name = ?", (well_formed(name),)).fetchone()
    return None if row is None else str(row[0])


def aliases(context: CallContext) -> list[Card]:
    """All aliases, in the order in which they were set; fields without a value are absent."""
    stored = context.connection.execute("SELECT name, card_id, pkg, set_at, note FROM aliases ORDER BY rowid")
    return [without_none(dict(zip(_ALIAS_FIELDS, row, strict=True))) for row in stored]


def as_card(text: str) -> Card:
    card: Card = json.loads(text)
    return card


def as_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string")
    return value


def without_none(fields: Card) -> Card:
    return {name: value for name, value in fields.items() if value is not None}
