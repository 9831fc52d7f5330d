"""KEY=VALUE of `alc run`: JSON, a text, or what a file holds."""

import os
from pathlib import Path
from typing import Any

import click
import pytest

from algocline_mcp.cli.pairs import context_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", 3),
        ('["x", "y"]', ["x", "y"]),
        ("plain text", "plain text"),
        ("@list.json", ["x", "y"]),
        ("@text.md", "two\nlines"),
        ("@name.txt", "@@name"),
        ("@@name", "@name"),
        ("mail@example.org", "mail@example.org"),
    ],
)
def test_a_value_is_json_a_text_or_the_content_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text('["x",\n "y"]\n')
    (tmp_path / "name.txt").write_text("@@name")
    (tmp_path / "text.md").write_text("two\nlines\n")

    assert context_of((f"items={value}",)) == {"items": expected}


@pytest.mark.parametrize("name", ["missing", "directory", "latin1", "", "/dev/zero"])
def test_a_file_that_cannot_be_read_is_refused_with_a_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("directory")
    (tmp_path / "latin1").write_bytes(b"caf\xe9")

    with pytest.raises(click.UsageError, match=r"^items=@.* cannot be read: .*; give the path of a file in UTF-8"):
        context_of((f"items=@{name}",))


def test_a_number_in_a_file_that_is_shown_otherwise_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "version").write_text("1.10\n")

    assert context_of(("version=@version",)) == {"version": 1.1}
    assert capsys.readouterr().err == (
        "alc: version=@version is the number 1.1; if it is a text, write version='\"1.10\"'\n"
    )
