"""Cache of what a list reads from the disk: the names in a directory, and the line of a journal.

Contract: a value is kept as long as inode, size and time of modification of its file stay. Two changes within one tick
of the file system's clock have the same time, so nothing is kept of a file that was modified less than _SAME_STAMP_NS
before it was looked at: whatever changes after the look then has a later time. The cache is used by several threads,
hence only operations that are atomic on a dict.
"""

import json
import os
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

_SUFFIX = ".journal"
_SAME_STAMP_NS = 1_000_000_000  # the coarsest time stamps of file systems in use
_LINES = 1000
_LINE_BYTES = 1 << 13  # a longer line is read each time: 8 MiB in all
_NAMES_KEPT = 50_000  # 90 bytes each; those of a larger directory are listed each time

_State = tuple[int, int, int]
_Value = TypeVar("_Value")
_names: dict[Path, tuple[_State, Sequence[str]]] = {}  # by directory: a process uses one home
_counts: dict[Path, tuple[_State, int]] = {}
_lines: OrderedDict[Path, tuple[_State, dict[str, Any]]] = OrderedDict()  # the one used last at the end


def _state_of(status: os.stat_result) -> _State:
    return status.st_ino, status.st_size, status.st_mtime_ns


def journal_count(directory: Path) -> int:
    """Number of journals. A missing directory has none."""
    return _kept(_counts, directory, lambda: len(file_names(directory, _SUFFIX)))


def journal_names(directory: Path) -> Sequence[str]:
    """Names of journals, oldest first. A missing directory has none."""
    names = _kept(_names, directory, lambda: _sorted_names(directory))
    if len(names) > _NAMES_KEPT:
        _names.pop(directory, None)
    return names


def _kept(cache: dict[Path, tuple[_State, _Value]], directory: Path, read: Callable[[], _Value]) -> _Value:
    now_ns = time.time_ns()  # before the look: a change after it has a time stamp of its own
    try:
        status = os.stat(directory)
    except OSError:
        return read()
    known = cache.get(directory)
    if known is not None and known[0] == _state_of(status):
        return known[1]
    value = read()
    if now_ns - status.st_mtime_ns > _SAME_STAMP_NS:
        cache[directory] = (_state_of(status), value)
    return value


def _sorted_names(directory: Path) -> Sequence[str]:
    """Sorted first: a part of a sorted list costs less than a look at the beginning of each name."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return ()
    ids = names[bisect_left(names, "p-") : bisect_left(names, "p.")]  # "." follows "-"
    return tuple([name for name in ids if name.endswith(_SUFFIX)])


def file_names(directory: Path, suffix: str) -> list[str]:
    """Names of files, unordered and never from the cache. A missing directory has none."""
    try:
        return [name for name in os.listdir(directory) if name[:2] == "p-" and name.endswith(suffix)]
    except OSError:
        return []


def kept_line(path: Path, status: os.stat_result) -> dict[str, Any] | None:
    """The line of a journal if it is kept and the journal is as it was."""
    known = _lines.get(path)
    if known is None or known[0] != _state_of(status):
        return None
    with suppress(KeyError):  # another thread has just dropped it
        _lines.move_to_end(path)
    return known[1]


def keep_line(path: Path, status: os.stat_result, now_ns: int, line: dict[str, Any]) -> None:
    """Keeps a line that was read after `status`, which was read after `now_ns`."""
    if now_ns - status.st_mtime_ns <= _SAME_STAMP_NS or len(json.dumps(line)) > _LINE_BYTES:
        return
    while len(_lines) >= _LINES:
        _lines.popitem(last=False)
    _lines[path] = (_state_of(status), line)


def clear() -> None:
    """Forgets everything, as a new process does."""
    _names.clear()
    _counts.clear()
    _lines.clear()
