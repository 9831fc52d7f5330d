"""Lines of a journal: what is written, and what a damaged line means."""

import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algocline_mcp.protocol import messages
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.storage.journal_lines import encode, scan
from algocline_mcp.storage.stored_records import StoredRecords
from tests.storage.disk import GOOD, NOTE, kinds

texts = st.text(st.characters(codec=None, max_codepoint=0xE000), max_size=4)  # lone surrogates too
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
lists = st.lists(scalars, max_size=3)
values = scalars | lists | st.dictionaries(texts, scalars | lists, max_size=3)
records_of_any_shape = st.dictionaries(texts.filter(lambda key: key != "s"), values, max_size=4)


def test_line_is_checksum_space_json_line_feed() -> None:
    line = encode({"kind": "note", "message": "é\n\ud800"}, 17)

    assert line == b'%08x {"kind":"note","message":"\\u00e9\\n\\ud800","s":17}\n' % zlib.crc32(line[9:-1])


@given(st.lists(records_of_any_shape, max_size=4))
def test_records_come_back_as_they_were(records: list[Record]) -> None:
    content = b"".join(encode(record, 3) for record in records)

    scanned = scan(content)

    assert scanned.records == [{**record, "s": 3} for record in records]
    assert (scanned.end, scanned.damaged_line) == (len(content), None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_number_that_json_has_not_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"kind": "effect", "result": value}, 0)


LINES = {
    "no space": GOOD.replace(b" ", b"_", 1),
    "no number": b"zzzzzzzz" + GOOD[8:],
    "short": b"12\n",
    "no json": b"%08x {\n" % zlib.crc32(b"{"),
    "no object": b"%08x [1]\n" % zlib.crc32(b"[1]"),
    "no s": b"%08x {}\n" % zlib.crc32(b"{}"),
    "s is text": b'%08x {"s":"1"}\n' % zlib.crc32(b'{"s":"1"}'),
    "zeros": b"\0" * 40 + b"\n",
    "nested too deeply": b"%08x " % zlib.crc32(b"[" * 100_000) + b"[" * 100_000 + b"\n",
    "without its line feed": GOOD[:-1],
    "half": GOOD[:20],
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_unreadable_last_line_is_left_out(line: bytes) -> None:
    scanned = scan(GOOD + line)

    assert kinds(scanned.records) == ["note"]
    assert (scanned.end, scanned.damaged_line, scanned.is_corrupt) == (len(GOOD), 2, False)


@pytest.mark.parametrize("line", [line for line in LINES.values() if line.endswith(b"\n")])
def test_unreadable_line_below_a_mark_is_corrupt_and_named(line: bytes) -> None:
    scanned = scan(GOOD + line + encode({"kind": "flushed"}, len(GOOD) + len(line)))

    assert (scanned.damaged_line, scanned.is_corrupt) == (2, True)


def test_unreadable_line_at_the_mark_is_a_cut_and_what_follows_goes_too() -> None:
    scanned = scan(GOOD + b"torn\n" + encode(NOTE, len(GOOD)))

    assert (scanned.records, scanned.end) == ([{**NOTE, "s": 0}], len(GOOD))
    assert (scanned.flushed, scanned.is_corrupt) == (len(GOOD), False)


def test_empty_lines_mean_nothing() -> None:
    content = b"\n\n" + GOOD + b"\n\n" + GOOD + b"\n"

    assert scan(content).end == len(content)
    assert kinds(scan(content).records) == ["note", "note"]


def test_empty_file_holds_nothing() -> None:
    assert scan(b"") == journal_lines.Scan([], 0, 0, None)


@pytest.mark.parametrize(("chars", "yields"), [(1000, False), (1 << 19, True)])
def test_a_reader_of_the_server_lets_other_threads_run_while_it_decodes_a_long_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chars: int, yields: bool
) -> None:
    """An event loop waits for the interpreter as long as a decoder holds it, also on a thread."""
    path = tmp_path / "p-1.journal"
    path.write_bytes(journal_lines.encode_flushed([{"kind": "final", "result": "x" * chars}]))
    decoded: list[bool] = []
    decode = messages.decode

    def noting(line: bytes, *, yields: bool = False) -> dict[str, Any]:
        if b"final" in line:
            decoded.append(yields)
        return decode(line, yields=yields)

    monkeypatch.setattr(messages, "decode", noting)

    streamed, stored = list(journal.stream(path)), list(StoredRecords(path))

    assert streamed == stored
    assert streamed[0]["result"] == "x" * chars
    assert decoded == [yields] * 3  # StoredRecords reads twice
