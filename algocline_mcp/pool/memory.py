"""Memory that this machine has to give, by the kernel and by the control group of this process.

Contract: reads `/proc/meminfo` and, of the control group of this process and those above it, limit and usage
(version 2: memory.max, memory.current; version 1: memory.limit_in_bytes, memory.usage_in_bytes). What a group uses as
cache of files counts as available, as it does in MemAvailable. What cannot be read limits nothing; without
`/proc/meminfo` (macOS) nothing is known.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def available_bytes(root: Path = _ROOT) -> int | None:
    """Bytes that can be used without swapping. None: unknown. `root`: where proc and sys are found."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        machine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    return min([machine, *_left_in_groups(root)])


def _left_in_groups(root: Path) -> Iterator[int]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _left(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(root / "sys/fs/cgroup/memory", path, *names)


def _left(mount: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    """Of the group and of each group above it. In a container the mount may show this group as its root."""
    inner = PurePosixPath(path.lstrip("/"))
    for name in [inner, *inner.parents]:
        group = mount / name
        with suppress(OSError, ValueError):  # not there, or the word "max"
            left = int((group / limit).read_text()) - int((group / usage).read_text())
            yield max(0, left + _cached(group, cache))


def _cached(group: Path, field: str) -> int:
    with suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == field:
                return int(value)
    return 0
