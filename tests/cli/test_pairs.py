"""KEY=VALUE and its siblings of `alc run`: JSON, a text, or what a file or standard input holds."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from algocline_mcp.cli.pairs import context_of


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text('["x",\n "y"]\n')
    (tmp_path / "name.txt").write_text("@@name")
    (tmp_path / "text.md").write_bytes("\ufefftwo\r\nlines – ü\n".encode())
    (tmp_path / "number").write_text("1.10\n")
    (tmp_path / "empty").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("=3", 3),
        ('=["x", "y"]', ["x", "y"]),
        ("=plain text", "plain text"),
        ("=a:=b", "a:=b"),
        ("=mail@example.org", "mail@example.org"),
        ("=@@name", "@name"),
        ("=@name.txt", "@@name"),
        ("=@text.md", "two\r\nlines – ü\n"),
        ("=@number", "1.10\n"),
        ("=@list.json", '["x",\n "y"]\n'),
        ("=@empty", ""),
        (":=3", 3),
        (':="3"', "3"),
        (":=null", None),
        (':={"a": [1, true]}', {"a": [1, True]}),
        (":=@list.json", ["x", "y"]),
        (":=@number", 1.1),
        (":=9223372036854775807", 2**63 - 1),
    ],
)
def test_a_value_is_json_a_text_or_the_content_of_a_file(files: Path, pair: str, expected: Any) -> None:
    assert context_of((f"items{pair}",)) == {"items": expected}


@pytest.mark.parametrize("mark", ["=", ":="])
@pytest.mark.parametrize("name", ["missing", "directory", "latin1", "", "/dev/zero"])
def test_a_file_that_cannot_be_read_is_refused_with_a_way_on(files: Path, mark: str, name: str) -> None:
    os.mkdir("directory")
    Path("latin1").write_bytes(b"caf\xe9")

    with pytest.raises(
        click.UsageError, match=rf"^items{mark}@.* cannot be read: .*; give the path of a file in UTF-8"
    ):
        context_of((f"items{mark}@{name}",))


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        (":=x", "items:=x is not JSON: .*; write items=x for a text"),
        (":=", "items:= is not JSON"),
        (":=NaN", "NaN is not JSON"),
        (":=@text.md", "items:=@text.md is not JSON"),
        (":=" + "[" * 100_000, "is not JSON"),
        (":=9223372036854775808", "more than 64 bits"),
        (":=1e999", "more than 64 bits"),
    ],
)
def test_what_is_not_json_is_refused_with_the_form_of_a_text(files: Path, pair: str, sentence: str) -> None:
    with pytest.raises(click.UsageError, match=sentence):
        context_of((f"items{pair}",))


@pytest.mark.parametrize(("pair", "expected"), [("=@-", '["x",\n "y"]\n'), (":=@-", ["x", "y"])])
def test_standard_input_is_a_value(files: Path, monkeypatch: pytest.MonkeyPatch, pair: str, expected: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((files / "list.json").read_bytes())))

    assert context_of((f"items{pair}", "n=1")) == {"items": expected, "n": 1}


def test_standard_input_that_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(click.UsageError, match="text=@- cannot be read"):
        context_of(("text=@-",))


def test_standard_input_is_given_to_one_key_alone() -> None:
    with pytest.raises(click.UsageError, match="a=@- and b:=@- both take standard input"):
        context_of(("a=@-", "b:=@-"))


@pytest.mark.parametrize(
    ("pair", "note"),
    [
        ("v=1.10", "alc: v=1.10 is the number 1.1; if it is a text, write v='\"1.10\"'\n"),
        ("v=-", "alc: v is the text -; for standard input write v=@-\n"),
        ("v=@list.json", "alc: v is the text of list.json; for the JSON in it write v:=@list.json\n"),
        ("v=1.5", ""),
        ("v:=1.10", ""),
        ("v=@number", ""),
    ],
)
def test_a_value_that_may_be_meant_otherwise_is_named(
    files: Path, capsys: pytest.CaptureFixture[str], pair: str, note: str
) -> None:
    context_of((pair,))

    assert capsys.readouterr().err == note


@pytest.mark.parametrize("text", ["list.json", "./number", "number", "gone.md", "a.b\0", "1.0"])
def test_a_path_without_its_at_sign_is_named(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.chdir(files)
    (files / "1.0").touch()

    context_of((f"file={text}",))
    sentence = f"alc: file is the text {text}; for the text of that file write file=@{text}\n"
    assert capsys.readouterr().err == (sentence if text in ("list.json", "./number") else "")
