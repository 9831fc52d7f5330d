"""Records of a journal as a sequence, as far as they may be shown."""

from pathlib import Path

from algocline_mcp.storage.stored_records import StoredRecords, before_last_mark
from tests.rig.journals import answer, header, prompt, sid_of, write


def test_what_stands_behind_the_last_mark_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    records = [header(sid_of(1)), {"kind": "flushed"}, prompt("q-0"), {"kind": "flushed"}, answer("q-0")]
    write(path, records)

    begun = before_last_mark(StoredRecords(path))

    kinds = ["header", "flushed", "prompt", "flushed"]
    assert [record["kind"] for record in begun] == [record["kind"] for record in begun[:]] == kinds
    assert (len(begun), begun[-1]["kind"], begun[2]["kind"]) == (4, "flushed", "prompt")
    assert len(before_last_mark(StoredRecords(write(path, records[:1])))) == 0
