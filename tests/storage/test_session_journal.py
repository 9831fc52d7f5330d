"""The contract of a session's journal, for both that there are: a file, and rows of a database."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.errors import JournalCorrupt, StorageFailed
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal import Journal
from algocline_mcp.storage.session_journal import SessionJournal, Take
from tests.rig.journals import answer, header, prompt, sid_of

SID = sid_of(1)
RECORDS = [header(SID), prompt("q-0"), answer("q-0"), prompt("q-1")]


class Store(Protocol):
    def create(self, header: Record, limit: int = 1 << 62) -> SessionJournal: ...
    def lock(self, sid: str, take: Take = ..., limit: int = 1 << 62) -> SessionJournal | None: ...
    def records(self, sid: str) -> Iterator[Record]: ...
    def sids(self) -> list[str]: ...
    def damage(self, sid: str, number: int) -> None:
        """Makes record `number` unreadable."""
        ...


class Files:
    def __init__(self, home: Home) -> None:
        self._home = home
        home.sessions.mkdir(parents=True)

    def create(self, header: Record, limit: int = 1 << 62) -> Journal:
        return self._limited(Journal.create(self._home.journal(str(header["sid"])), header), limit)

    def lock(self, sid: str, take: Take = lambda record, place: None, limit: int = 1 << 62) -> Journal | None:
        fd = journal.lock(self._home.journal(sid))
        if fd is None:
            return None
        try:
            return Journal.adopt(fd, self._home.journal(sid), take, limit=limit)
        except BaseException:
            os.close(fd)
            raise

    def records(self, sid: str) -> Iterator[Record]:
        return journal.stream(self._home.journal(sid))

    def sids(self) -> list[str]:
        from algocline_mcp.history.listing import fitting_ids

        return fitting_ids(self._home, "p-")

    def damage(self, sid: str, number: int) -> None:
        path = self._home.journal(sid)
        lines = path.read_bytes().split(b"\n")
        lines[number] = lines[number].replace(b"kind", b"kinD")
        path.write_bytes(b"\n".join(lines))

    @staticmethod
    def _limited(opened: Journal, limit: int) -> Journal:
        opened.limit = limit
        return opened


@pytest.fixture(params=["file", "rows"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "file":
        yield Files(Home(tmp_path / "h"))
        return
    from tests.cluster.row_store import RowStore

    rows = RowStore(request.getfixturevalue("database"))
    yield rows
    rows.close()


def _shown(records: Iterator[Record] | list[Record]) -> list[Record]:
    """Without what only a file needs."""
    kept = [record for record in records if record["kind"] != "flushed"]
    return [{key: value for key, value in record.items() if key != "s"} for record in kept]


def _filled(store: Store, records: list[Record] = RECORDS) -> SessionJournal:
    opened = store.create(records[0])
    for record in records[1:]:
        opened.append(record)
    opened.flush()
    return opened


def test_what_is_flushed_is_read_as_it_was_appended(store: Store) -> None:
    odd = header(SID, title="\x00 \ud800 \u2028 é 🎈", ctx='{"b": 1, "a": 1e300}')

    _filled(store, [odd, *RECORDS[1:]]).close()

    assert _shown(store.records(SID)) == [odd, *RECORDS[1:]]


def test_an_owner_reads_what_it_has_not_flushed(store: Store) -> None:
    places: dict[int, Record] = {}
    opened = store.create(RECORDS[0])
    opened.flush()
    opened.append(RECORDS[1])
    size = opened.size

    opened.read(lambda record, place: places.update({place: record}))
    again = {place: opened.record_at(place) for place in places}
    opened.close()

    assert _shown(list(places.values())) == RECORDS[:2]
    assert again == places
    assert size > len(str(RECORDS[1]))


def test_a_journal_goes_on_where_its_last_owner_ended(store: Store) -> None:
    taken: list[Record] = []
    _filled(store, RECORDS[:2]).close()

    opened = store.lock(SID, lambda record, place: taken.append(record))
    assert opened is not None
    for record in RECORDS[2:]:
        opened.append(record)
    opened.flush()
    opened.close()

    assert _shown(taken) == RECORDS[:2]
    assert _shown(store.records(SID)) == RECORDS


def test_a_flush_without_records_changes_nothing(store: Store) -> None:
    opened = _filled(store)
    before = list(store.records(SID))

    opened.flush()
    opened.close()

    assert list(store.records(SID)) == before


def test_a_journal_has_one_owner_at_a_time(store: Store) -> None:
    first = _filled(store)
    while_held = store.lock(SID)
    first.close()
    second = store.lock(SID)
    while_held_again = store.lock(SID)

    assert second is not None
    second.close()
    assert (while_held, while_held_again) == (None, None)


def test_a_journal_that_is_nowhere_cannot_be_locked(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.lock(SID)


def test_a_journal_over_its_limit_is_full_and_stays_as_it_was(store: Store) -> None:
    opened = store.create(RECORDS[0], limit=2000)
    opened.append(RECORDS[1])
    with pytest.raises(StorageFailed, match="would grow over 2000 bytes") as caught:
        opened.append(answer("q-0", "x" * 2000))
    opened.append(answer("q-0"))
    opened.flush()
    opened.close()

    assert caught.value.code == "journal_full"
    assert _shown(store.records(SID)) == [*RECORDS[:2], answer("q-0")]


def _by_reading(store: Store) -> object:
    return list(store.records(SID))


def _by_locking(store: Store) -> object:
    return store.lock(SID)


@pytest.mark.parametrize("use", [_by_reading, _by_locking])
def test_damage_in_what_was_flushed_is_named_and_never_repaired(store: Store, use: Callable[[Store], object]) -> None:
    _filled(store).close()
    store.damage(SID, 2)

    for _ in range(2):
        with pytest.raises(JournalCorrupt, match="damaged in line 3"):
            use(store)


def test_sessions_are_listed_newest_first(store: Store) -> None:
    for number in (2, 3, 1):
        _filled(store, [header(sid_of(number, created_s=1e9))]).close()

    assert store.sids() == [sid_of(number, created_s=1e9) for number in (3, 2, 1)]
