"""KEY=VALUE of `alc run`: a value arrives as it was written, or a line on stderr says what became of it."""

from typing import Any

import pytest

from algocline_mcp.cli.session_commands import _context


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
    (got,) = _context((pair,)).values()

    assert got == value
    assert type(got) is type(value)
    assert capsys.readouterr().err == (f"alc: {note}\n" if note else "")
