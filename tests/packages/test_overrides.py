"""Entries added to and removed from alc.local.toml: every other line stays as it was."""

import os
from pathlib import Path

import pytest

from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.packages.overrides import FILE, add_overrides, remove_override
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


def write(root: Path, text: str) -> Path:
    (root / FILE).write_bytes(text.encode())
    return root


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, '[packages]\nd = { path = "{p}" }\n'),
        ("", '[packages]\nd = { path = "{p}" }\n'),
        ("x = 1", 'x = 1\n\n[packages]\nd = { path = "{p}" }\n'),
        (WHOLE, WHOLE.replace("machine\n", 'machine\nd = { path = "{p}" }\n')),
        ("[packages.c]\npath='x'\n", "[packages.c]\npath='x'\n\n[packages]\nd = { path = \"{p}\" }\n"),
        (
            "[packages]\n[z]\n[packages.c]\npath='x'\n",
            "[packages]\nd = { path = \"{p}\" }\n[z]\n[packages.c]\npath='x'\n",
        ),
        (
            "[packages]\r\na='1'\r\n# on z\r\n[z]\r\n",
            "[packages]\r\nd = { path = \"{p}\" }\na='1'\r\n# on z\r\n[z]\r\n",
        ),
    ],
)
def test_an_added_package_is_found_and_other_lines_stay(tmp_path: Path, before: str | None, after: str) -> None:
    directory = tmp_path / 'the "d" of é'
    directory.mkdir()
    if before is not None:
        write(tmp_path, before)
    file = add_overrides(tmp_path, {"d": directory})

    quoted = str(directory).replace('"', '\\"')
    assert file.read_bytes().decode() == after.replace("{p}", quoted)
    assert read_project(tmp_path).variants["d"] == str(directory)
    assert add_overrides(tmp_path, {"d": directory}).read_text() == file.read_text()  # once
    assert os.listdir(tmp_path) == [directory.name, FILE] or sorted(os.listdir(tmp_path)) == sorted(
        [directory.name, FILE]
    )


@pytest.mark.parametrize("name", GONE)
def test_a_package_is_removed_and_nothing_else(tmp_path: Path, name: str) -> None:
    file = remove_override(write(tmp_path, WHOLE), name)

    assert file.read_text() == GONE[name]


def test_an_added_package_can_be_removed_and_the_file_keeps_its_permissions(tmp_path: Path) -> None:
    (write(tmp_path, "x = 1\n") / FILE).chmod(0o600)
    add_overrides(tmp_path, {"d": tmp_path, "e": tmp_path})
    remove_override(tmp_path, "d")
    file = remove_override(tmp_path, "e")

    assert file.read_text() == "x = 1\n\n[packages]\n"
    assert file.stat().st_mode & 0o777 == 0o600


REFUSED = [
    (
        WHOLE,
        "a",
        'is in {file} already, as {{"path": "p/a"}}: remove it first with alc_pkg_remove(name="a", scope="project")',
    ),
    ('packages = { a = "1" }\n', "d", "are written in a form that cannot be edited here"),
    ("x = ", "d", "alc.local.toml load error"),
    ("packages = 3", "d", "packages is not a table"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "sentence"), REFUSED)
def test_a_file_with_another_entry_or_form_is_refused_and_stays(
    tmp_path: Path, text: str, name: str, sentence: str
) -> None:
    file = write(tmp_path, text) / FILE
    with pytest.raises(Refused) as caught:
        add_overrides(tmp_path, {name: tmp_path})

    assert sentence.format(file=file) in str(caught.value)
    assert file.read_text() == text


def test_a_package_of_another_file_is_refused_with_the_name_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "alc.toml").write_text('[packages]\nz = "1"\n')
    with pytest.raises(Refused, match=r"package 'z' is not in .*; it is in alc\.toml: edit that file yourself"):
        remove_override(write(tmp_path, WHOLE), "z")
    inline = write(tmp_path, 'packages = { a = "1", b = "2" }\n') / FILE
    with pytest.raises(Refused, match="are written in a form that cannot be edited here"):
        remove_override(tmp_path, "a")

    assert inline.read_text() == 'packages = { a = "1", b = "2" }\n'


def test_a_missing_directory_is_refused_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"cannot change .*: No such file or directory; make it"):
        add_overrides(tmp_path / "gone", {"d": tmp_path})
