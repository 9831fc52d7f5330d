"""Replacing a file: the same facts for every writer, on a good disk and on a failing one."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from algocline_mcp.errors import StorageBroken
from algocline_mcp.storage import files
from algocline_mcp.storage.files import (
    create_atomically,
    mode_of,
    replace_atomically,
    replace_under_lock,
    sync_directory,
)
from tests.storage.disk import failing, file_size_limit

Writer = Callable[[Path, bytes], None]


def plain(path: Path, content: bytes) -> None:
    replace_atomically(path, content, is_durable=False)


def durable(path: Path, content: bytes) -> None:
    replace_atomically(path, content, is_durable=True)


def created(path: Path, content: bytes) -> None:
    create_atomically(path, (content,), draft=path.with_name(".draft"))


REPLACERS = [plain, durable, replace_under_lock]
WRITERS = [*REPLACERS, created]


@pytest.fixture(params=["exchange", "refused", "none"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As the system has it; a file system that cannot exchange names; a C library without that call."""
    ways: dict[str, Callable[..., int] | None] = {"refused": lambda *_: -1, "none": None}
    if request.param in ways:
        monkeypatch.setattr(files, "_renameat2", lambda: ways[request.param])
    return str(request.param)


@pytest.mark.parametrize("write", WRITERS)
def test_a_new_file_is_private_whole_and_alone_in_its_directory(tmp_path: Path, write: Writer) -> None:
    path = tmp_path / "it"
    write(path, b"content" * 100_000)

    assert path.read_bytes() == b"content" * 100_000
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.parametrize("write", REPLACERS)
def test_an_old_file_is_replaced_and_leaves_no_draft(tmp_path: Path, write: Writer, exchange: str) -> None:
    path = tmp_path / "it"
    for text in (b"first", b"second", b""):
        write(path, text)

        assert path.read_bytes() == text
        assert os.listdir(tmp_path) == ["it"]


@pytest.mark.parametrize("write", REPLACERS)
def test_a_directory_in_its_place_is_an_error_that_changes_nothing(
    tmp_path: Path, write: Writer, exchange: str
) -> None:
    path = tmp_path / "it"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write(path, b"new")

    assert path.is_dir()
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.parametrize("write", REPLACERS)
def test_an_open_file_keeps_its_content_while_another_takes_its_place(
    tmp_path: Path, write: Writer, exchange: str
) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write(path, b"new")

        assert reader.read() == b"old"


@pytest.mark.parametrize("write", REPLACERS)
def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path, write: Writer) -> None:
    path, precious = tmp_path / "it", tmp_path / "precious"
    precious.write_bytes(b"precious")
    path.symlink_to(precious)
    write(path, b"new")

    assert (path.is_symlink(), path.read_bytes(), precious.read_bytes()) == (False, b"new", b"precious")


@pytest.mark.parametrize("name", ["it", "", None])
def test_a_taken_name_is_never_created_again(tmp_path: Path, name: str | None) -> None:
    """`name`: what a link in the place of the file leads to; None: a file is there."""
    path, precious = tmp_path / "taken", tmp_path / "it"
    precious.write_bytes(b"precious")
    path.symlink_to(tmp_path / (name or "absent")) if name is not None else path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        created(path, b"new")

    assert precious.read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == ["it", "taken"]
    assert name is not None or path.read_bytes() == b"old"


@pytest.mark.parametrize("way", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_link_in_the_place_of_the_fixed_draft_is_removed_and_not_followed(
    tmp_path: Path, way: Callable[[Path, Path], None]
) -> None:
    path, draft, precious = tmp_path / "it", tmp_path / ".it", tmp_path / "precious"
    precious.write_bytes(b"precious")
    way(precious, draft)
    replace_under_lock(path, b"new")

    assert (path.read_bytes(), precious.read_bytes()) == (b"new", b"precious")
    assert sorted(os.listdir(tmp_path)) == ["it", "precious"]


def test_the_mode_is_the_chosen_one_whatever_the_umask_says(tmp_path: Path) -> None:
    old_umask = os.umask(0o077)
    try:
        replace_atomically(tmp_path / "it", b"", is_durable=False, mode=0o644)
    finally:
        os.umask(old_umask)

    assert mode_of(tmp_path / "it", 0o600) == 0o644
    assert mode_of(tmp_path / "absent", 0o640) == 0o640


def test_the_times_are_the_chosen_ones(tmp_path: Path) -> None:
    replace_atomically(tmp_path / "it", b"", is_durable=True, times_ns=(1_000_000_000, 2_000_000_000))

    status = (tmp_path / "it").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (1_000_000_000, 2_000_000_000)


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "\U0001f600" * 63])
def test_a_name_as_long_as_the_file_system_takes_has_a_draft_too(tmp_path: Path, name: str) -> None:
    plain(tmp_path / name, b"new")

    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("write", WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_no_draft_is_left(tmp_path: Path, write: Writer) -> None:
    path = tmp_path / "it"
    if write is not created:
        path.write_bytes(b"old")
    before = os.listdir(tmp_path)
    with file_size_limit(1000), pytest.raises(OSError, match="File too large"):
        write(path, b"n" * 5000)

    assert os.listdir(tmp_path) == before
    assert not before or path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("write", "call"),
    [
        (plain, "open"),
        (plain, "replace"),
        (durable, "fsync"),
        (durable, "replace"),
        (replace_under_lock, "open"),
        (replace_under_lock, "replace"),
        (created, "fsync"),
        (created, "link"),
    ],
)
def test_a_call_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Writer, call: str
) -> None:
    path = tmp_path / "it"
    if write is not created:
        path.write_bytes(b"old")
    before = os.listdir(tmp_path)
    monkeypatch.setattr(files, "_renameat2", lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            write(path, b"new")

    assert os.listdir(tmp_path) == before
    assert not before or path.read_bytes() == b"old"


@pytest.mark.parametrize("write", [durable, created])
def test_a_directory_that_cannot_be_flushed_is_another_error_than_a_file_that_was_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Writer
) -> None:
    real = os.fsync
    path = tmp_path / "it"

    def fsync(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageBroken, match=rf"cannot flush directory {tmp_path}: {os.strerror(errno.EIO)}; repair"):
        write(path, b"new")

    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["it"]


@pytest.mark.parametrize(
    ("write", "flushed"),
    [(plain, []), (durable, ["draft", "directory"]), (created, ["draft", "directory"]), (replace_under_lock, [])],
)
def test_only_a_durable_write_flushes_the_content_before_the_name_and_the_directory_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Writer, flushed: list[str]
) -> None:
    real, seen = os.fsync, list[str]()

    def fsync(fd: int) -> None:
        seen.append("directory" if (tmp_path / "it").exists() else "draft")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "it", b"new")

    assert seen == flushed


def test_directory_that_cannot_be_flushed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))

    with pytest.raises(StorageBroken, match=f"cannot flush directory {tmp_path}: Input/output error"):
        sync_directory(tmp_path)


def test_flushing_a_directory_leaves_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/dev/fd")

    sync_directory(tmp_path)

    assert os.listdir("/dev/fd") == before
