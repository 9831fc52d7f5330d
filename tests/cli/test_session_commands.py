"""What `alc run` makes of its command line: a value arrives as it was written, or a line on stderr names it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from algocline_mcp.cli import run as run_module
from algocline_mcp.cli.pairs import context_of
from algocline_mcp.cli.start import Start

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal


@pytest.mark.parametrize(
    ("pair", "value", "note"),
    [
        ("n=7", 7, ""),
        ("n=0.5", 0.5, ""),
        ("n=-9223372036854775808", -(2**63), ""),
        ("t=true", True, ""),
        ("z=null", None, ""),
        ("l=[1.50]", [1.5], ""),
        ("e=", "", ""),
        ("a=b=c", "b=c", ""),
        ("version=1.10", 1.1, "version=1.10 is the number 1.1; if it is a text, write version='\"1.10\"'"),
        ("commit=12e5", 1200000.0, "commit=12e5 is the number 1200000.0; if it is a text, write commit='\"12e5\"'"),
        ('version="1.10"', "1.10", ""),
        ("id=9223372036854775808", "9223372036854775808", ""),
        ("x=1e999", "1e999", ""),
        ("x=NaN", "NaN", ""),
        ("x=[-Infinity]", "[-Infinity]", ""),
    ],
)
def test_value_arrives_as_written_or_is_named(
    capsys: pytest.CaptureFixture[str], pair: str, value: Any, note: str
) -> None:
    (got,) = context_of((pair,)).values()

    assert got == value
    assert type(got) is type(value)
    assert capsys.readouterr().err == (f"alc: {note}\n" if note else "")


@pytest.mark.parametrize(("options", "title"), [((), ""), (("--title", "mine"), "mine")])
def test_a_title_that_is_not_given_is_left_to_the_server(
    terminal: "Terminal", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], title: str
) -> None:
    """The command gave the name of the file, and alc_run its first comment."""
    (tmp_path / "idea.lua").write_text("return 1")
    titles: list[str] = []

    def play(start: Start, *_: object, **__: object) -> int:
        titles.append(start.arguments["title"])
        return 0

    monkeypatch.setattr(run_module, "play", play)

    terminal.alc("run", str(tmp_path / "idea.lua"), *options)

    assert titles == [title]
