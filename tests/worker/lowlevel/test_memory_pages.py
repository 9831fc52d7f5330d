"""Memory pages that are copied before they are written."""

import ctypes
import mmap
import os
import sys

import pytest

from algocline_mcp.worker.lowlevel import memory_pages

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not os.access("/proc/self/pagemap", os.R_OK),
    reason="the system reports no written pages",
)
PAGE = mmap.PAGESIZE
COUNT = 64
LINUX = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def written_pages(memory: mmap.mmap, act: str, ahead: memory_pages.Ranges = memory_pages.NO_RANGES) -> set[int]:
    """Numbers of the pages of `memory` that a forked process has a copy of after `act` and after copying `ahead`."""
    ranges = memory_pages.shared_ranges()
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
    memory_pages.record_written(pid, ranges)
    os.write(done[1], b".")
    os.waitpid(pid, 0)
    for fd in (*ready, *done):
        os.close(fd)
    recorded.append(ranges)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    numbers: set[int] = set()
    for address, size in zip(ranges[::2], ranges[1::2], strict=True):
        numbers |= set(range((address - start) // PAGE, (address + size - start) // PAGE))
    return numbers & set(range(COUNT))


recorded: list[memory_pages.Ranges] = []


def test_sibling_copies_the_recorded_pages_and_no_others() -> None:
    memory = mmap.mmap(-1, COUNT * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = bytes(COUNT * PAGE)

    idle = written_pages(memory, "rest")
    written = written_pages(memory, "write")
    ahead = written_pages(memory, "rest", ahead=recorded[-1])

    assert idle == set()
    assert written == {3, 4, 9}
    assert ahead == (written if LINUX >= (5, 14) else set())
