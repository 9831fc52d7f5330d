"""Cards as files: a written card reads back as the same, and a file that holds no card is refused."""

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algocline_mcp.worker.database import card_files

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_toml_reads_back_as_the_same(table: dict[str, Any]) -> None:
    assert tomllib.loads(card_files.toml(table)) == table


def test_toml_is_as_a_person_would_write_it() -> None:
    card = {"card_id": "c", "pkg": {"name": "cot"}, "stats": {"n": 3, "by": {"a b": 1.5}}, "list": [{"x": True}]}

    assert card_files.toml(card) == (
        'card_id = "c"\nlist = [{x = true}]\n\n[pkg]\nname = "cot"\n\n[stats]\nn = 3\n\n[stats.by]\n"a b" = 1.5\n'
    )


def test_file_is_private_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "cot" / "c.toml"

    card_files.write(path, "one")
    card_files.write(path, "two \ud800")

    assert path.read_text() == "two ?"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["c.toml"]


def test_file_that_cannot_be_written_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "c.toml").mkdir()

    with pytest.raises(OSError, match="directory"):
        card_files.write(tmp_path / "c.toml", "text")

    assert os.listdir(tmp_path) == ["c.toml"]


def test_card_has_the_content_of_the_file_and_the_id_of_its_name(tmp_path: Path) -> None:
    text = (
        'card_id = "other"\nat = 2026-04-12T06:15:00Z\nday = 2026-04-12\nbad = [nan, 1, inf]\n[stats]\nn = 3\nx = nan\n'
    )
    (tmp_path / "c.toml").write_text(text)

    card = card_files.read_card(tmp_path / "c.toml", "c", max_bytes=1000)

    at, day = "2026-04-12 06:15:00+00:00", "2026-04-12"
    assert card == {"card_id": "c", "at": at, "day": day, "bad": [1, "inf"], "stats": {"n": 3}}


BROKEN = {"no TOML": b"a = ", "too long": b"a = 1" * 100, "no UTF-8": b'a = "\xff"'}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_file_that_holds_no_card_is_a_value_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(content)

    with pytest.raises(ValueError, match=r"."):
        card_files.read_card(tmp_path / "c.toml", "c", max_bytes=100)


def test_fifo_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.toml")

    with pytest.raises(ValueError, match="not a regular file"):
        card_files.read_card(tmp_path / "c.toml", "c", max_bytes=100)


def test_samples_are_lines_of_json_and_may_be_absent(tmp_path: Path) -> None:
    (tmp_path / "s").write_text('{"a": 1}\n\n2\n')

    assert card_files.read_samples(tmp_path / "s", max_bytes=100) == [{"a": 1}, 2]
    assert card_files.read_samples(tmp_path / "absent", max_bytes=100) is None


SINKS: list[tuple[str, list[str]]] = [
    ("", []),
    ("file:///a", ["/a"]),
    (" file:///a | file:///b/c ", ["/a", "/b/c"]),
    ("/a|https://x|file://host/a||file:///b", ["/b"]),
]


@pytest.mark.parametrize(("value", "expected"), SINKS)
def test_sinks_are_directories_of_this_machine(value: str, expected: list[str]) -> None:
    directories = card_files.directories(Path("/h/cards"), {"ALC_CARD_SINKS": value, "HOME": "/u"})

    assert [str(path) for path in directories.sinks] == expected
    assert (directories.own, directories.imports) == (Path("/h/cards"), (Path("/u/.algocline/cards"),))
    assert card_files.directories(Path("/h/cards"), {}).imports == ()
