"""What a project says of its packages, written into alc.local.toml: every other line stays as it was."""

import os
from pathlib import Path

import pytest

from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.packages.overrides import FILE, declare, withdraw
from algocline_mcp.packages.project import read_project

WHOLE = """\
# mine
[env]
allow = ["A"]

[packages]  # of this machine
a = { path = "p/a" }
"b" = {path = "p/b"}  # quoted

[packages.c]
path = "p/c"

[hub]
x = 1
"""
GONE = {
    "a": WHOLE.replace('a = { path = "p/a" }\n', ""),
    "b": WHOLE.replace('"b" = {path = "p/b"}  # quoted\n', ""),
    "c": WHOLE.replace('[packages.c]\npath = "p/c"\n\n', ""),
}


def written(root: Path, text: str) -> Path:
    (root / FILE).write_text(text)
    return root


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, '[packages]\nd = { path = "{p}" }\n'),
        ("", '[packages]\nd = { path = "{p}" }\n'),
        ("x = 1", 'x = 1\n\n[packages]\nd = { path = "{p}" }\n'),
        (WHOLE, WHOLE.replace("machine\n", 'machine\nd = { path = "{p}" }\n')),
        ("[packages.c]\npath='x'\n", "[packages.c]\npath='x'\n\n[packages]\nd = { path = \"{p}\" }\n"),
    ],
)
def test_a_package_is_added_and_found(tmp_path: Path, before: str | None, after: str) -> None:
    place = tmp_path / 'the "d" of é'
    place.mkdir()
    if before is not None:
        written(tmp_path, before)
    file = declare(tmp_path, {"d": place})

    quoted = str(place).replace('"', '\\"')
    assert file.read_text() == after.replace("{p}", quoted)
    assert read_project(tmp_path).variants["d"] == str(place)
    assert declare(tmp_path, {"d": place}).read_text() == file.read_text()  # once
    assert os.listdir(tmp_path) == [place.name, FILE] or sorted(os.listdir(tmp_path)) == sorted([place.name, FILE])


@pytest.mark.parametrize("name", GONE)
def test_a_package_is_taken_out_and_nothing_else(tmp_path: Path, name: str) -> None:
    file = withdraw(written(tmp_path, WHOLE), name)

    assert file.read_text() == GONE[name]


def test_what_was_added_can_be_taken_out_and_the_file_keeps_its_rights(tmp_path: Path) -> None:
    (written(tmp_path, "x = 1\n") / FILE).chmod(0o600)
    declare(tmp_path, {"d": tmp_path, "e": tmp_path})
    withdraw(tmp_path, "d")
    file = withdraw(tmp_path, "e")

    assert file.read_text() == "x = 1\n\n[packages]\n"
    assert file.stat().st_mode & 0o777 == 0o600


REFUSED = [
    (WHOLE, "a", "stands in {file} already, as {{\"path\": \"p/a\"}}: alc_pkg_remove(name=\"a\", scope=\"project\")"),
    ('packages = { a = "1" }\n', "d", "is written in a way that is not changed here"),
    ("x = ", "d", "alc.local.toml load error"),
    ("packages = 3", "d", "packages is no table"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "sentence"), REFUSED)
def test_a_file_that_says_otherwise_stays_as_it_is(tmp_path: Path, text: str, name: str, sentence: str) -> None:
    file = written(tmp_path, text) / FILE
    with pytest.raises(Refused) as caught:
        declare(tmp_path, {name: tmp_path})

    assert sentence.format(file=file) in str(caught.value)
    assert file.read_text() == text


def test_what_cannot_be_taken_out_is_told_with_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "alc.toml").write_text('[packages]\nz = "1"\n')
    with pytest.raises(Refused, match=r"package 'z' is not in .*; it stands in alc\.toml, which you change yourself"):
        withdraw(written(tmp_path, WHOLE), "z")
    inline = written(tmp_path, 'packages = { a = "1", b = "2" }\n') / FILE
    with pytest.raises(Refused, match="is written in a way that is not changed here"):
        withdraw(tmp_path, "a")

    assert inline.read_text() == 'packages = { a = "1", b = "2" }\n'


def test_a_directory_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"cannot change .*: No such file or directory; make it"):
        declare(tmp_path / "gone", {"d": tmp_path})
