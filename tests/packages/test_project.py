"""Packages that the files of a project declare, and files that cannot be used."""

import os
from pathlib import Path

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.packages.project import find_root, project_of, read_project


def project(root: Path, **files: str) -> Path:
    for name, content in files.items():
        (root / name.replace("_", ".")).write_text(content)
    for name in ("one", "two", "three"):
        (root / "p" / name).mkdir(parents=True, exist_ok=True)
    return root


LOCK = 'version = 1\n[[package]]\nname = "{}"\nversion = "{}"\n[package.source]\ntype = "path"\npath = "{}"\n'


def test_the_local_file_wins_over_the_lock_and_that_over_the_project(tmp_path: Path) -> None:
    root = project(
        tmp_path,
        alc_toml='[packages]\na = {path = "p/one"}\nb = {path = "p/one"}\nc = {path = "p/one"}\nd = "1.2"\ne = "*"',
        alc_lock=LOCK.format("b", "0.2", "p/two") + LOCK.format("c", "0.3", "p/two").partition("\n")[2],
        alc_local_toml='[packages.c]\npath = "p/three"\nversion = "0.9"',
    )

    declared = read_project(root)
    assert declared.variants == {
        name: str(root / "p" / directory) for name, directory in (("a", "one"), ("b", "two"), ("c", "three"))
    }
    assert declared.versions == {"b": "0.2", "c": "0.9", "d": "1.2"}
    assert declared.warnings == ()


def test_a_missing_directory_is_a_warning_and_the_next_file_counts(tmp_path: Path) -> None:
    root = project(
        tmp_path, alc_local_toml='[packages]\na = {path = "gone"}', alc_toml='[packages]\na = {path = "p/one"}'
    )

    declared = read_project(root)
    assert declared.variants == {"a": str(root / "p" / "one")}
    assert declared.warnings == (f"alc.local.toml: package 'a' is skipped: there is no directory {root / 'gone'}",)


def test_a_git_source_is_recorded_and_not_fetched(tmp_path: Path) -> None:
    root = project(tmp_path, alc_toml='[packages]\na = {git = "https://x.org/a", rev = "v1"}\nb = {git = "x"}')

    assert read_project(root).remotes == {"a": "https://x.org/a#v1", "b": "x"}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("alc.toml", "packages = ", "alc.toml load error: Invalid value"),
        ("alc.toml", b"\xff", "alc.toml load error: 'utf-8'"),
        ("alc.toml", "packages = 3", "packages is not a table"),
        ("alc.toml", "[packages]\na = 3", "package 'a' is neither a version nor a table"),
        ("alc.toml", "[packages]\na = {path = 3}", "package 'a' has a path, git, rev or version that is not a string"),
        ("alc.toml", '[packages]\n"../a" = "*"', "'../a' is not a package name"),
        ("alc.lock", "version = 2", "alc.lock load error: unsupported version 2, expected 1"),
        ("alc.lock", "version = 1\npackage = 3", "package is not an array of tables"),
        ("alc.lock", "version = 1\n[[package]]\nversion = '1'", "None is not a package name"),
        ("alc.lock", "version = 1\n[[package]]\nname = 'a'\nsource = 3", "the source of package 'a' is not a table"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_name(
    tmp_path: Path, name: str, content: str | bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(Refused, match=r"load error") as caught:
        read_project(tmp_path)
    assert why in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_a_pipe_in_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alc.toml")

    assert read_project(tmp_path).variants == {}


def test_other_tables_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "alc.toml").write_text('[hub]\nname = "x"\n[env]\nallow = ["A"]')

    assert read_project(tmp_path).variants == {}
    assert read_project(None).root is None


def test_the_root_is_configured_or_found_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)

    assert find_root({"ALC_PROJECT_ROOT": str(tmp_path)}) == tmp_path
    assert find_root({}) is None
    (tmp_path / "a" / "alc.lock").touch()
    assert find_root({}) == tmp_path / "a"
    assert find_root({"CLAUDE_PROJECT_DIR": str(tmp_path)}) is None


def test_a_session_belongs_to_the_configured_project_or_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").mkdir()

    for where, expected in ((tmp_path / "a", str(tmp_path / "a")), (tmp_path, None), (Path("/"), None)):
        monkeypatch.chdir(where)
        assert project_of({}) == expected
    assert project_of({"CLAUDE_PROJECT_DIR": "~"}) == str(tmp_path)
    assert project_of({"CLAUDE_PROJECT_DIR": "/x", "ALC_PROJECT_ROOT": "/y"}) == "/y"
