"""Puts a new file in the place of an old one, at once, for files that need not survive a power cut.

os.replace does that too, but where it overwrites a name, ext4 writes the new file out before it returns: 0.4 to 3 ms
while nothing else happens, 90 ms while a hundred journals are flushed (`auto_da_alloc`, see ext4(5)). To exchange two
names is as atomic for everybody who looks, and took 0.1 ms.
"""

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from algocline_mcp.errors import StorageBroken

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def put(draft: Path, path: Path) -> None:
    """`path` becomes what `draft` was, and the draft is gone. Raises OSError; then both are as before."""
    if not _exchanged(draft, path):  # there is no old one, or this system or file system cannot do it
        os.replace(draft, path)
        return
    try:
        os.unlink(draft)
    except OSError:  # the old one is a directory
        _exchanged(draft, path)
        raise


def _exchanged(one: Path, other: Path) -> bool:
    rename = _renameat2()
    names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    return rename is not None and rename(*names, _RENAME_EXCHANGE) == 0


@cache
def _renameat2() -> Callable[..., int] | None:
    """renameat2(2), which the standard library lacks. None where the C library does too."""
    if sys.platform != "linux":
        return None
    import ctypes  # 10 ms, which no start waits for

    return getattr(ctypes.CDLL(None), "renameat2", None)


def sync_directory(path: Path) -> None:
    """Makes the names in it durable. Raises StorageBroken."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise StorageBroken(f"cannot flush directory {path}: {exc.strerror}; mend that disk, then ask again") from exc


def make_directories(*paths: Path) -> None:
    """Makes what is missing, durably: a power cut must not take the directory of journals that were flushed."""
    for path in paths:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(path.parent)
