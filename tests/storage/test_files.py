"""Replacing a file: the same table of facts for every way to do it, on a good disk, a full one, and with a kill."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from algocline_mcp.errors import StorageBroken
from algocline_mcp.storage import files
from algocline_mcp.storage.files import create_atomically, mode_of, replace_atomically, replace_under_lock
from tests.storage.disk import failing, file_size_limit

Writer = Callable[[Path, bytes], None]


def plain(path: Path, content: bytes) -> None:
    replace_atomically(path, content, is_durable=False)


def durable(path: Path, content: bytes) -> None:
    replace_atomically(path, content, is_durable=True)


def created(path: Path, content: bytes) -> None:
    create_atomically(path, content, draft=path.with_name(".draft"))


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


def test_a_link_in_the_place_of_the_fixed_draft_is_removed_and_not_followed(tmp_path: Path) -> None:
    path, draft, precious = tmp_path / "it", tmp_path / ".it", tmp_path / "precious"
    precious.write_bytes(b"precious")
    draft.symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        replace_under_lock(path, b"new")
    replace_under_lock(path, b"newer")

    assert (path.read_bytes(), precious.read_bytes()) == (b"newer", b"precious")
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

    found = (tmp_path / "it").stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_000, 2_000_000_000)


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
def test_a_directory_that_cannot_be_flushed_is_told_apart_from_a_file_that_was_not_written(
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


KILLED = """
import os, signal, sys
from pathlib import Path
from algocline_mcp.storage import files

def killed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

path, name, call = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
files._renameat2 = lambda: killed if call == "renameat2" else None
if call == "sync_directory":
    files.sync_directory = killed
elif call != "renameat2":
    setattr(os, call, killed)
if name == "created":
    files.create_atomically(path, b"new" * 1000, draft=path.with_name(".draft"))
elif name == "replace_under_lock":
    files.replace_under_lock(path, b"new" * 1000)
else:
    files.replace_atomically(path, b"new" * 1000, is_durable=name == "durable", mode=0o640)
"""


@pytest.mark.parametrize(
    ("name", "call", "is_new"),
    [
        ("plain", "fchmod", False),
        ("plain", "replace", False),
        ("durable", "fsync", False),
        ("durable", "replace", False),
        ("durable", "sync_directory", True),
        ("replace_under_lock", "renameat2", False),
        ("replace_under_lock", "replace", False),
        ("created", "fsync", False),
        ("created", "link", False),
        ("created", "unlink", True),
        ("created", "sync_directory", True),
    ],
)
def test_a_process_that_is_killed_between_two_calls_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, name: str, call: str, is_new: bool
) -> None:
    path = tmp_path / "it"
    if name != "created":
        path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, os.fspath(path), name, call], check=False)

    old = None if name == "created" else b"old"
    assert done.returncode == -signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == (b"new" * 1000 if is_new else old)
    assert [each for each in os.listdir(tmp_path) if not each.startswith(".")] == (["it"] if is_new or old else [])


def test_a_draft_that_a_killed_process_left_is_removed_by_the_next_write_under_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "it"
    command = [sys.executable, "-c", KILLED, os.fspath(path), "replace_under_lock", "replace"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".it"]

    replace_under_lock(path, b"newer")

    assert (os.listdir(tmp_path), path.read_bytes()) == (["it"], b"newer")
