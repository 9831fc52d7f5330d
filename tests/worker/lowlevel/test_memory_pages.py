"""Pages that are copied before they are written."""

import ctypes
import mmap
import os
import sys

import pytest

from algocline_mcp.worker.lowlevel import memory_pages

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not os.access("/proc/self/pagemap", os.R_OK), reason="the system does not tell"
)
PAGE = mmap.PAGESIZE
COUNT = 64
LINUX = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def look(memory: mmap.mmap, act: str, ahead: memory_pages.Ranges = memory_pages.NO_RANGES) -> set[int]:
    """Pages of `memory` that a forked process has to itself when it has done what it was told: their numbers."""
    found = memory_pages.room()
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        if act == "write":
            memory[3 * PAGE] = memory[4 * PAGE] = memory[9 * PAGE] = 1
        memory_pages.copy(ahead)
        os.write(ready[1], b".")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    memory_pages.note_written(pid, found)
    os.write(done[1], b".")
    os.waitpid(pid, 0)
    for fd in (*ready, *done):
        os.close(fd)
    seen.append(found)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    numbers: set[int] = set()
    for address, size in zip(found[::2], found[1::2], strict=True):
        numbers |= set(range((address - start) // PAGE, (address + size - start) // PAGE))
    return numbers & set(range(COUNT))


seen: list[memory_pages.Ranges] = []


def test_sibling_copies_what_was_seen_to_be_written_and_nothing_else() -> None:
    memory = mmap.mmap(-1, COUNT * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = bytes(COUNT * PAGE)

    idle = look(memory, "rest")
    written = look(memory, "write")
    ahead = look(memory, "rest", ahead=seen[-1])

    assert idle == set()
    assert written == {3, 4, 9}
    assert ahead == (written if LINUX >= (5, 14) else set())
