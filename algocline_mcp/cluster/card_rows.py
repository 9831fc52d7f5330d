"""alc.card in PostgreSQL: a row for each card and each alias of each owner.

Contract. CardRows is a CardStore as storage/card_functions.py wants it, for one call; whoever changes something holds
the lock of that owner's cards. A card has no copy as a file here. What people name in a card lies in its JSON, where
NUL is escaped; in the columns, by which cards are found, it is replaced by a backslash, which no name of a card has.

The server itself reads, for strategies of many sessions: so a call reads at most READ_BYTES, a batch at a time, and a
longer one is refused (ValueError), with which it does not fill the memory of the server nor hold up others for long.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from algocline_mcp.cards.card import NO_FILES, Card
from algocline_mcp.config.limits import MIB
from algocline_mcp.storage.card_functions import CardRow, without_none
from algocline_mcp.storage.key_values import json_text, well_formed

Query = Callable[[str, Sequence[object]], list[tuple[object, ...]]]  # the rows of one statement

READ_BYTES = 64 * MIB  # of text: 30,000 cards of 2 KiB
_BATCH = 100  # cards of one statement
_NEWEST_FIRST = "ORDER BY created_at DESC, number DESC"
_NAME_CHARS = 200  # a longer text is not the name of a card


class CardRows:
    def __init__(self, query: Query, owner: str) -> None:
        self._query = query
        self._owner = owner
        self._left = READ_BYTES
        self.growth = 0  # bytes, by what was put

    def card(self, card_id: str) -> tuple[str, str, bool] | None:
        sql = "SELECT pkg, card, samples IS NOT NULL FROM alc.cards WHERE owner = %s AND card_id = %s"
        for pkg, card, has_samples in self._query(sql, (self._owner, _column(card_id))):
            return str(pkg), str(card), bool(has_samples)
        return None

    def count(self, pkg: str) -> int:
        sql = "SELECT count(*) FROM alc.cards WHERE owner = %s AND pkg = %s"
        ((count,),) = self._query(sql, (self._owner, _column(pkg)))
        return int(str(count))

    def summaries(self, pkg: str | None, *, offset: int, limit: int | None) -> list[str]:
        """`limit`: None for all."""
        return [summary for (summary,) in self._newest("summary", *_of_package(pkg), page=(limit, offset))]

    def cards(self, pkg: str | None) -> Iterator[tuple[str, str]]:
        return ((summary, card) for summary, card in self._newest("summary, card", *_of_package(pkg)))

    def children(self, card_id: str) -> list[str]:
        return [card for (card,) in self._newest("card", "AND prior = %s", _column(card_id))]

    def _newest(
        self, columns: str, condition: str, *values: str, page: tuple[int | None, int] = (None, 0)
    ) -> Iterator[tuple[str, ...]]:
        """`page`: limit and offset."""
        sql = f"SELECT number FROM alc.cards WHERE owner = %s {condition} {_NEWEST_FIRST} LIMIT %s OFFSET %s"
        numbers = [number for (number,) in self._query(sql, (self._owner, *values, *page))]
        batch = f"SELECT {columns} FROM alc.cards WHERE number = ANY(%s) {_NEWEST_FIRST}"
        for begin in range(0, len(numbers), _BATCH):
            for row in self._query(batch, (numbers[begin : begin + _BATCH],)):
                texts = tuple(map(str, row))
                self._count(sum(map(len, texts)))
                yield texts

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError(
                f"the cards have over {READ_BYTES // MIB} MiB, which a server with a database does not read in one "
                "call: name their pkg, or a limit"
            )

    def put(self, row: CardRow) -> None:
        is_name = row.prior is not None and len(row.prior) <= _NAME_CHARS  # an index refuses long texts
        prior = _column(row.prior) if row.prior is not None and is_name else None
        values = (row.card_id, row.pkg, row.created_at, row.summary, row.card)
        self._grow(row.summary, row.card)
        sql = "SELECT octet_length(summary) + octet_length(card) FROM alc.cards WHERE owner = %s AND card_id = %s"
        self._shrink(sql, row.card_id)
        self._query(
            "INSERT INTO alc.cards (owner, prior, card_id, pkg, created_at, summary, card) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (owner, card_id) DO UPDATE SET "
            "(created_at, prior, summary, card) = "
            "(EXCLUDED.created_at, EXCLUDED.prior, EXCLUDED.summary, EXCLUDED.card)",
            (self._owner, prior, *map(_column, values)),
        )

    def samples(self, card_id: str) -> list[str]:
        sql = "SELECT samples FROM alc.cards WHERE owner = %s AND card_id = %s AND samples <> ''"
        rows = self._query(sql, (self._owner, _column(card_id)))
        return [sample for (samples,) in rows for sample in str(samples).split("\n")]

    def put_samples(self, card_id: str, samples: Sequence[str]) -> None:
        sql = "UPDATE alc.cards SET samples = %s WHERE owner = %s AND card_id = %s"
        self._query(sql, (text := "\n".join(samples), self._owner, _column(card_id)))
        self._grow(text)

    def aliased(self, name: str) -> str | None:
        sql = "SELECT card_id FROM alc.card_aliases WHERE owner = %s AND name = %s"
        for (card_id,) in self._query(sql, (self._owner, _column(name))):
            return str(card_id)
        return None

    def aliases(self) -> list[Card]:
        sql = "SELECT coalesce(sum(octet_length(alias)), 0) FROM alc.card_aliases WHERE owner = %s"
        self._count(sum(int(str(size)) for (size,) in self._query(sql, (self._owner,))))
        sql = "SELECT alias FROM alc.card_aliases WHERE owner = %s ORDER BY number"
        return [json.loads(str(alias)) for (alias,) in self._query(sql, (self._owner,))]

    def put_alias(self, alias: Card) -> None:
        self._grow(text := json_text(without_none(alias)))
        self._shrink("SELECT octet_length(alias) FROM alc.card_aliases WHERE owner = %s AND name = %s", alias["name"])
        self._query(
            "INSERT INTO alc.card_aliases (owner, name, card_id, alias) VALUES (%s, %s, %s, %s) ON CONFLICT "
            "(owner, name) DO UPDATE SET card_id = EXCLUDED.card_id, alias = EXCLUDED.alias, number = DEFAULT",
            (self._owner, _column(alias["name"]), _column(alias["card_id"]), text),
        )

    def _grow(self, *texts: str) -> None:
        self.growth += sum(len(text.encode()) for text in texts)

    def _shrink(self, sql: str, name: str) -> None:
        """By what is replaced."""
        self.growth -= sum(int(str(size)) for (size,) in self._query(sql, (self._owner, _column(name))))

    def path(self, pkg: str, card_id: str, *, is_of_samples: bool = False) -> None:
        return None

    def backfill(self, sink: str, *, is_dry: bool) -> Any:
        raise ValueError(NO_FILES)


def _of_package(pkg: str | None) -> tuple[str, ...]:
    """The condition and its values."""
    return ("",) if pkg is None else ("AND pkg = %s", _column(pkg))


def _column(text: str) -> str:
    return well_formed(text).replace("\0", "\\")
