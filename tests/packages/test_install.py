"""Installing from directories: what is copied, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.packages import install as installation
from algocline_mcp.packages import installed
from tests.packages.steps import RUNS, change, install, refusal, sources, stores


def test_a_collection_is_installed_as_plain_private_files(home: Home, source: Path) -> None:
    result = install(home, source)

    assert result == {"status": "installed", "installed": ["one", "two"], "source": str(source)}
    assert sources(home) == {name: RUNS % (1, name) for name in ("one", "two")}
    assert (home.packages / "one" / "sub" / "part.lua").stat().st_mode & 0o777 == 0o600
    assert installed.provenance(home, "one")["source"] == str(source)
    assert len(stores(home)) == 1


def test_an_installed_package_is_replaced_only_with_force(home: Home, source: Path) -> None:
    install(home, source / "one")
    (source / "one" / "init.lua").write_text("return 2")

    assert "Package 'one' is installed already: force replaces it" in refusal(install, home, source / "one")
    assert install(home, source)["skipped"] == ["one"]
    assert sources(home)["one"] == RUNS % (1, "one")
    assert install(home, source, force=True)["installed"] == ["one", "two"]
    assert sources(home)["one"] == "return 2"
    assert len(stores(home)) == 1, "what nothing leads to any more is removed"


def test_a_directory_made_by_hand_is_never_changed(home: Home, source: Path) -> None:
    (home.packages / "one").mkdir(parents=True)
    (home.packages / "one" / "init.lua").write_text("mine")

    assert install(home, source, force=True)["skipped"] == ["one"]
    assert "is a directory made by hand: move" in refusal(install, home, source / "one", force=True)
    assert "was put there by hand" in refusal(change, installation.remove_package, home, "one")
    assert "was put there by hand" in refusal(change, installation.unlink_package, home, "one")
    assert "exists already: move" in refusal(change, installation.link_package, home, str(source / "one"), force=True)
    assert sources(home)["one"] == "mine"


def test_only_a_single_package_may_be_renamed(home: Home, source: Path) -> None:
    assert install(home, source / "one", name="uno")["installed"] == ["uno"]
    assert "name is only for a single package, and the source has 2" in refusal(install, home, source, name="x")


def test_links_inside_the_source_become_files(home: Home, source: Path) -> None:
    (source / "outside.lua").write_text("shared")
    (source / "one" / "outside.lua").symlink_to("../outside.lua")
    (source / "one" / "all").symlink_to("../two")
    install(home, source)

    assert not (home.packages / "one" / "outside.lua").is_symlink()
    assert (home.packages / "one" / "outside.lua").read_text() == "shared"
    assert (home.packages / "one" / "all" / "init.lua").read_text() == RUNS % (1, "two")


def _escape(source: Path) -> None:
    (source / "two" / "x.lua").symlink_to("/etc/passwd")


def _escape_by_directory(source: Path) -> None:
    (source / "two" / "x").symlink_to("../..")


def _nowhere(source: Path) -> None:
    (source / "two" / "x.lua").symlink_to("gone.lua")


def _round(source: Path) -> None:
    (source / "two" / "x").symlink_to(".")


def _many_directories(source: Path) -> None:
    """Eight links to a directory of eight links and so on: 8^30 directories, and no file."""
    below = source / "two" / "d0"
    below.mkdir()
    for level in range(1, 30):
        directory = source / "two" / f"d{level}"
        directory.mkdir()
        for link in range(8):
            (directory / str(link)).symlink_to(f"../{below.name}")
        below = directory


def _into_git(source: Path) -> None:
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("url = https://user:password@x.invalid")
    (source / "two" / "x").symlink_to("../.git")


def _file_of_git(source: Path) -> None:
    _into_git(source)
    (source / "two" / "x").unlink()
    (source / "two" / "x").symlink_to("../.git/config")


def _package_in_git(source: Path) -> None:
    (source / ".git" / "p").mkdir(parents=True)
    (source / ".git" / "p" / "init.lua").write_text("return {}")
    (source / "three").symlink_to(".git/p")


def _pipe(source: Path) -> None:
    os.mkfifo(source / "two" / "x.lua")


def _package_elsewhere(source: Path) -> None:
    (source.parent / "three").mkdir()
    (source.parent / "three" / "init.lua").write_text("3")
    (source / "three").symlink_to("../three")


@pytest.mark.parametrize(
    ("spoil", "limits", "sentence"),
    [
        (_escape, Limits(), "two/x.lua is a link that leaves the source"),
        (_escape_by_directory, Limits(), "two/x is a link that leaves the source"),
        (_package_elsewhere, Limits(), "three is a link that leaves the source"),
        (_nowhere, Limits(), "two/x.lua is a link to nothing"),
        (_round, Limits(), "lies more than 32 directories deep"),
        (_many_directories, Limits(package_files=500), "more than 500 files or directories"),
        (_into_git, Limits(), "two/x is a link into .git"),
        (_file_of_git, Limits(), "two/x is a link into .git"),
        (_package_in_git, Limits(), "three is a link into .git"),
        (_pipe, Limits(), "two/x.lua is not a regular file"),
        (None, Limits(package_files=2), "more than 2 files or directories: install a part, or raise ALC_PACKAGE_FILES"),
        (None, Limits(package_bytes=200), "more than 200 bytes: install a part, or raise ALC_PACKAGE_BYTES"),
    ],
)
def test_a_source_that_cannot_be_copied_changes_nothing(
    home: Home, source: Path, spoil: Any, limits: Limits, sentence: str
) -> None:
    if spoil is not None:
        spoil(source)

    assert sentence in refusal(install, home, source, limits=limits)
    assert sources(home) == {}
    assert stores(home) == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "is neither a git URL nor a path"),
        ("cot", "is neither a git URL nor a path"),
        ("--upload-pack=x", "is neither a git URL nor a path"),
        ("ext::sh -c true", "is neither a git URL nor a path"),
        ("https://user:secret@nowhere.invalid/x y", "'https://nowhere.invalid/x y' is neither"),
        ("/nowhere/at/all", "cannot read /nowhere/at/all: No such file or directory"),
        ("/dev/null", "cannot read /dev/null: Not a directory"),
        ("/dev", "has no package: neither init.lua nor __init__.py nor a directory with one"),
    ],
)
def test_an_invalid_source_is_refused_with_one_sentence(home: Home, given: str, sentence: str) -> None:
    assert sentence in refusal(install, home, given)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", ".store", "x" * 65, "é"])
def test_a_name_that_require_does_not_accept_is_refused(home: Home, source: Path, name: str) -> None:
    for call in (
        lambda: install(home, source / "one", name=name),
        lambda: change(installation.remove_package, home, name),
        lambda: change(installation.unlink_package, home, name),
        lambda: change(installation.link_package, home, str(source / "one"), name=name),
    ):
        assert "is not a package name" in refusal(call)


def test_packages_in_both_languages_are_installed_from_one_source(home: Home, tmp_path: Path) -> None:
    for file in ("one/init.lua", "two/__init__.py", "two/part.py", "three/readme.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("")

    assert install(home, tmp_path)["installed"] == ["one", "two"]
    assert sorted(os.listdir(home.packages / "two")) == ["__init__.py", "part.py"]


def test_a_directory_with_a_package_in_python_is_that_package(home: Home, tmp_path: Path) -> None:
    (tmp_path / "vote").mkdir()
    (tmp_path / "vote" / "__init__.py").write_text("")

    assert install(home, tmp_path / "vote")["installed"] == ["vote"]
