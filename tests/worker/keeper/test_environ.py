"""Variables that a strategy may read: their order, and files of variables."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.worker.keeper.environ import Environ, EnvironUnreadable, parse_dotenv


def values(ctx_env: Mapping[str, Any], project: Path | None, *names: str) -> list[str | None]:
    environ = Environ(ctx_env, None if project is None else str(project), {"A": "os", "B": "os", "C": "os"})
    return [environ.get(name) for name in names]


def test_ctx_precedes_the_file_and_the_file_precedes_the_server(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\n")
    given = {"inject": {"A": "given"}, "dotenv": ".env"}

    assert values(given, tmp_path, "A", "B", "C", "D") == ["given", "file", "os", None]
    assert values({**given, "allow_os": True}, tmp_path, "C") == ["os"]
    assert values({**given, "allow_os": False}, tmp_path, "A", "B", "C") == ["given", "file", None]
    assert values({"dotenv": str(tmp_path / ".env")}, None, "A") == ["file"]
    assert values({"inject": {"A": 1}, "dotenv": 2, "other": "x"}, None, "A") == ["os"]  # not from a checked call


def test_a_projects_list_of_names_limits_all_of_them(tmp_path: Path) -> None:
    given = {"inject": {"A": "given"}}
    for text, expected in (
        ('[env]\nallow = ["B"]\n', [None, "os"]),
        ("[env]\nallow = []\n", [None, None]),
        ("[env]\n", ["given", "os"]),
        ("[packages]\n", ["given", "os"]),
    ):
        (tmp_path / "alc.toml").write_text(text)
        assert values(given, tmp_path, "A", "B") == expected, text


LINES = """\
# a comment
A=1
export B = two words  # and a comment
C='$x # "'
D="a\\nb \\"c\\" \\\\" # end
E=
F=a#b
G==
"""


def test_lines_are_read_as_such_files_are_written() -> None:
    assert parse_dotenv(LINES, "f") == {
        "A": "1", "B": "two words", "C": '$x # "', "D": 'a\nb "c" \\', "E": "", "F": "a#b", "G": "=",
    }  # fmt: skip


@pytest.mark.parametrize("line", ["A", "1A=2", 'A="x', "A='x' y", "= 3", "A B=1"])
def test_malformed_line_is_named(line: str) -> None:
    with pytest.raises(EnvironUnreadable, match=r"ctx\.env\.dotenv: parse error in f: line 2 is not NAME=VALUE"):
        parse_dotenv(f"A=1\n{line}\n", "f")


def test_error_names_the_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"A=\xff")
    (tmp_path / "long").write_bytes(b"#" * (1024 * 1024 + 1))
    os.mkfifo(tmp_path / "pipe")
    for name, project, sentence in (
        (".env", None, "ctx.env.dotenv: relative path '.env' requires project_root to be set"),
        ("none", tmp_path, "ctx.env.dotenv: failed to open {}: there is no such file"),
        ("pipe", tmp_path, "ctx.env.dotenv: failed to open {}: it is not a regular file"),
        ("binary", tmp_path, "ctx.env.dotenv: parse error in {}: byte 2 is not UTF-8"),
        ("long", tmp_path, "ctx.env.dotenv: {} has more than 1048576 bytes"),
        ("a\0b", Path("/x"), "ctx.env.dotenv: failed to open '/x/a\\x00b': the path holds a null byte"),
    ):
        with pytest.raises(EnvironUnreadable) as caught:
            values({"dotenv": name}, project, "A")
        assert str(caught.value) == sentence.format(tmp_path / name)


def test_error_names_the_project_file_that_is_not_toml(tmp_path: Path) -> None:
    (tmp_path / "alc.toml").write_text("[env")
    with pytest.raises(EnvironUnreadable, match=r"alc\.toml load error: .*; correct "):
        values({}, tmp_path, "A")
