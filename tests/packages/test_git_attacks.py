"""Repositories that attack the machine which installs them: refused before a file of theirs is on the disk."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.packages.git import Listing
from tests.packages.steps import install, needs_git, refusal, sources, stores

pytestmark = needs_git
WHO = ("-c", "user.name=x", "-c", "user.email=x@x")


class Repository:
    """A repository of trees that no work tree ever had."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.git("init", "-q", "--bare", os.fspath(path))
        self.init_lua = self.blob(b"return {run = function() end}")

    @property
    def url(self) -> str:
        return self._path.as_uri()

    def git(self, *arguments: str, given: bytes = b"") -> str:
        directory = self._path if self._path.exists() else None
        done = subprocess.run(
            ["git", *WHO, *arguments], cwd=directory, input=given, check=True, capture_output=True
        )  # fmt: skip
        return done.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", given=content)

    def tree(self, *entries: str) -> str:
        """`entries`: MODE TYPE ID<TAB>NAME."""
        return self.git("mktree", "--missing", given="".join(f"{entry}\n" for entry in entries).encode())

    def commit(self, *entries: str) -> None:
        tree = self.tree(f"100644 blob {self.init_lua}\tinit.lua", *entries)
        self.git("update-ref", "refs/heads/main", self.git("commit-tree", "-m", "x", tree))
        self.git("symbolic-ref", "HEAD", "refs/heads/main")


@pytest.fixture
def hostile(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "pk.git")


def _same_file(hostile: Repository) -> None:
    """111,193 files of 21 kB, which are one object: 2.4 GB from a pack of some kB."""
    blob = hostile.blob(b"x" * 21_000)
    hundred = hostile.tree(*[f"100644 blob {blob}\tf{n}" for n in range(1112)])
    hostile.commit(*[f"040000 tree {hundred}\td{n}" for n in range(100)])


def _many_files(hostile: Repository) -> None:
    blob = hostile.blob(b"")
    hostile.commit("040000 tree " + hostile.tree(*[f"100644 blob {blob}\tf{n}" for n in range(10_001)]) + "\td")


def _trees_in_trees(hostile: Repository) -> None:
    """100^10 files."""
    tree = hostile.tree(f"100644 blob {hostile.blob(b'')}\tf")
    for _ in range(10):
        tree = hostile.tree(*[f"040000 tree {tree}\td{n}" for n in range(100)])
    hostile.commit(f"040000 tree {tree}\td")


def _deep_trees(hostile: Repository) -> None:
    """A path of 6,000 bytes."""
    tree = hostile.tree(f"100644 blob {hostile.blob(b'')}\tf")
    for _ in range(30):
        tree = hostile.tree(f"040000 tree {tree}\t{'d' * 200}")
    hostile.commit(f"040000 tree {tree}\td")


def _many_directories(hostile: Repository) -> None:
    """8,000 files, each in three directories of its own."""
    tree = hostile.tree(f"100644 blob {hostile.blob(b'')}\tf")
    for _ in range(2):
        tree = hostile.tree(f"040000 tree {tree}\td")
    hostile.commit("040000 tree " + hostile.tree(*[f"040000 tree {tree}\td{n}" for n in range(8000)]) + "\td")


def _large_file(hostile: Repository) -> None:
    """640 MiB of zeros, which are 640 kB in a pack."""
    blob = hostile.blob(bytes(64 * 2**20))
    hostile.commit(*[f"100644 blob {blob}\tf{n}" for n in range(10)])


def _large_pack(hostile: Repository) -> None:
    hostile.commit(f"100644 blob {hostile.blob(os.urandom(65 * 2**20))}\tf")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_same_file, "has more than 67108864 bytes (ALC_PACKAGE_BYTES)"),
        (_many_files, "has more than 10000 files or directories (ALC_PACKAGE_FILES)"),
        (_trees_in_trees, "has more than 10000 files or directories (ALC_PACKAGE_FILES)"),
        (_deep_trees, "has a path of more than 4096 bytes"),
        (_many_directories, "has more than 10000 files or directories (ALC_PACKAGE_FILES)"),
        (_large_file, "has more than 67108864 bytes (ALC_PACKAGE_BYTES)"),
        (_large_pack, "has a pack that is too large (ALC_PACKAGE_BYTES)"),
    ],
)
def test_repository_beyond_the_limits_leaves_nothing(
    home: Home, hostile: Repository, make: Callable[[Repository], None], sentence: str
) -> None:
    make(hostile)

    shown = refusal(install, home, hostile.url)
    assert sentence in shown
    assert "nothing was installed" in shown
    assert sources(home) == {}
    assert stores(home) == []


def test_attributes_change_no_content(home: Home, hostile: Repository) -> None:
    """`ident` makes 4 bytes 47, UTF-32 makes one 4: more than the listing says."""
    attributes = hostile.blob(b"*.a ident\n*.b working-tree-encoding=UTF-32\n*.c text eol=crlf\n")
    files = {"x.a": b"$Id$" * 100, "x.b": b"b" * 100, "x.c": b"\n" * 100}
    entries = [f"100644 blob {hostile.blob(content)}\t{name}" for name, content in files.items()]
    hostile.commit(f"100644 blob {attributes}\t.gitattributes", *entries)
    install(home, hostile.url)

    assert {name: (home.packages / "pk" / name).read_bytes() for name in files} == files


def test_no_filter_and_no_hook_of_the_user_runs(
    home: Home, hostile: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile.commit(f"100644 blob {hostile.blob(b'* filter=f')}\t.gitattributes")
    ran = tmp_path / "ran"
    hook = tmp_path / "hooks" / "post-checkout"
    hook.parent.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        hook.with_name(name).write_text(f"#!/bin/sh\necho {name} >> {ran}\n")
        hook.with_name(name).chmod(0o755)
    (tmp_path / ".gitconfig").write_text(
        f'[core]\n hooksPath = {hook.parent}\n[filter "f"]\n smudge = "echo smudge >> {ran}; cat"\n required = true\n'
    )
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    install(home, hostile.url)

    assert not ran.exists()


def test_submodule_stays_empty_and_lfs_stays_a_pointer(home: Home, hostile: Repository) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 999999999999\n"
    modules = hostile.blob(b'[submodule "s"]\n path = s\n url = file:///x\n')
    hostile.commit(
        f"100644 blob {modules}\t.gitmodules",
        f"100644 blob {hostile.blob(b'*.bin filter=lfs diff=lfs merge=lfs')}\t.gitattributes",
        f"100644 blob {hostile.blob(pointer)}\tx.bin",
        f"160000 commit {'1' * 40}\ts",
    )
    install(home, hostile.url)

    assert (home.packages / "pk" / "x.bin").read_bytes() == pointer
    assert list((home.packages / "pk" / "s").iterdir()) == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc", ".git/config", ".git"])
def test_link_out_of_the_repository_is_refused(home: Home, hostile: Repository, target: str) -> None:
    hostile.commit(f"120000 blob {hostile.blob(target.encode())}\tx")

    assert "x is a link" in refusal(install, home, hostile.url)
    assert sources(home) == {}
    assert stores(home) == []


def test_names_that_differ_in_case_are_two_files(home: Home, hostile: Repository) -> None:
    hostile.commit(f"100644 blob {hostile.blob(b'1')}\tA.lua", f"100644 blob {hostile.blob(b'2')}\ta.lua")
    install(home, hostile.url)

    assert {path.name for path in (home.packages / "pk").iterdir()} >= {"a.lua"}


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_listing_is_judged_in_pieces_of_any_size(size: int) -> None:
    entries = b"".join(b"100644 blob %s %7d\td/%d\0" % (b"1" * 40, 10, n) for n in range(50))
    text = b"f" * 40 + b"\n" + entries
    listing, small = Listing(Limits()), Listing(Limits(package_bytes=499))
    pieces = [text[n : n + size] for n in range(0, len(text), size)]

    assert [reason for reason in map(listing.read, pieces) if reason] == []
    assert listing.commit == "f" * 40
    assert any(reason and "499 bytes" in reason for reason in map(small.read, pieces))
