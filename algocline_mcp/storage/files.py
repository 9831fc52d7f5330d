"""Atomic replacement of files, and durable names.

A new content is written to a draft in the same directory, and the draft then takes the file's name: a reader sees the
old content or the new one, never a part. Contract of every writer here:

- The draft is `.NAME.RANDOM`, or what the caller names, and is created with O_EXCL: neither a link nor the draft of
  another writer is ever written to. On any error the draft is removed and the file is as before. Only a process that
  is killed leaves a draft behind.
- A symbolic link in the place of the file is replaced, not followed. A caller that wants the file behind the link
  resolves the path first.
- Without `is_durable`, the file survives the end of every process but not a power cut. With `is_durable`, the content
  is flushed before the name changes, and the directory after it.
- OSError: nothing was changed. StorageBroken: the new content is in place, but the directory could not be flushed.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from algocline_mcp.errors import StorageBroken

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NAME_CHARS = 56  # of the file's name in that of its draft: at 4 bytes a character the draft keeps below 255 bytes


def replace_atomically(
    path: Path,
    content: bytes,
    *,
    is_durable: bool,
    mode: int = 0o600,
    times_ns: tuple[int, int] | None = None,
) -> None:
    """Replaces or creates a file. `times_ns`: its new times of access and of change."""
    draft = path.with_name(f".{path.name[:_NAME_CHARS]}.{os.urandom(8).hex()}")
    with _written(draft, (content,), is_durable=is_durable, mode=mode):
        if times_ns is not None:
            os.utime(draft, ns=times_ns)
        os.replace(draft, path)
    if is_durable:
        sync_directory(path.parent)


def create_atomically(path: Path, parts: Iterable[bytes], *, draft: Path) -> None:
    """Creates a durable file, 0600; `draft` is a name on the same file system.

    Raises FileExistsError where `path` is taken: a link never replaces a file, a rename would. Raises what `parts`
    raises, and leaves nothing then."""
    with _written(draft, parts, is_durable=True):
        os.link(draft, path)
    with suppress(OSError):
        os.unlink(draft)
    sync_directory(path.parent)


def replace_by_parts(path: Path, parts: Iterable[bytes], *, draft: Path) -> None:
    """Replaces or creates a file, 0600 and not durable; `draft` is a name on the same file system. Raises what `parts`
    raises, and leaves nothing then."""
    with _written(draft, parts, is_durable=False):
        os.replace(draft, path)


def replace_under_lock(path: Path, content: bytes) -> None:
    """Replaces a file, 0600 and not durable, that is written often and only by the holder of a lock.

    Its draft is always `.NAME`, so the next write removes what a killed process has left. Names are exchanged instead
    of replaced: where os.replace overwrites a name, ext4 writes the new file out before it returns (`auto_da_alloc`,
    see ext4(5)): 0.4 to 3 ms on an idle disk, 90 ms while a hundred journals are flushed. An exchange took 0.1 ms.
    """
    draft = path.with_name(f".{path.name}")
    try:
        with _written(draft, (content,), is_durable=False):
            _exchange(draft, path)
    except FileExistsError:  # of a killed process, or a link that was planted: O_TRUNC would empty the file behind it
        os.unlink(draft)
        with _written(draft, (content,), is_durable=False):
            _exchange(draft, path)


def open_in_place(path: Path, flags: int) -> int:
    """Opens or creates a file, 0600, that is written in place and not replaced. Raises OSError, with ELOOP for a
    symbolic link and EMLINK for a file that has a second name: it may be any file of this user, planted as a hard link.
    """
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.fstat(fd).st_nlink > 1:
        os.close(fd)
        raise OSError(errno.EMLINK, "the file has a second name, a hard link", os.fspath(path))
    return fd


def mode_of(path: Path, default: int) -> int:
    """The permissions of a file, or `default` where there is none."""
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return default


@contextmanager
def _written(draft: Path, parts: Iterable[bytes], *, is_durable: bool, mode: int = 0o600) -> Iterator[None]:
    """Writes the draft for the body, which renames it. Removes it where either fails."""
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_EXCL, 0o600)
    try:
        with open(fd, "wb") as file:
            file.writelines(parts)
            file.flush()
            if mode != 0o600:
                os.fchmod(fd, mode)
            if is_durable:
                os.fsync(fd)
        yield
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise


def _exchange(draft: Path, path: Path) -> None:
    """Gives `path` the file of `draft` and removes the old file. Raises OSError; then both names are as before."""
    if not _exchange_names(draft, path):  # no old file, or neither this system nor this file system can do it
        os.replace(draft, path)
        return
    try:
        os.unlink(draft)
    except OSError:  # the old file is a directory
        _exchange_names(draft, path)
        raise


def _exchange_names(one: Path, other: Path) -> bool:
    rename = _renameat2()
    names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    return rename is not None and rename(*names, _RENAME_EXCHANGE) == 0


@cache
def _renameat2() -> Callable[..., int] | None:
    """renameat2(2), which the standard library lacks. None where the C library lacks it too."""
    if sys.platform != "linux":
        return None
    import ctypes  # 10 ms, which only the first exchange of a process spends

    return getattr(ctypes.CDLL(None), "renameat2", None)


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable. Raises StorageBroken."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise StorageBroken(f"cannot flush directory {path}: {exc.strerror}; repair that disk, then retry") from exc


def make_directories(*paths: Path) -> None:
    """Creates the directories that are missing, 0700 and durable: a power cut must not take away the directory of
    journals that were flushed."""
    for path in paths:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(path.parent)
