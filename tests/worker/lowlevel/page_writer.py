"""Program of test_memory_pages.py: prints which pages of a piece of memory a forked process has copies of, as JSON.

A process of its own, because `record_written` keeps so many ranges: a process of pytest that has run thousands of tests
writes more of them than fit, merely by being forked.
"""

import ctypes
import json
import mmap
import os

from algocline_mcp.worker.lowlevel import memory_pages

PAGE = mmap.PAGESIZE
COUNT = 64


def recorded_ranges(memory: mmap.mmap, *, writes: bool, ahead: memory_pages.Ranges) -> memory_pages.Ranges:
    """What is recorded of a forked process that copied `ahead` and, if it `writes`, wrote to three pages."""
    ranges = memory_pages.shared_ranges()
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        if writes:
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
    return ranges


def numbers(memory: mmap.mmap, ranges: memory_pages.Ranges) -> list[int]:
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    found: set[int] = set()
    for address, size in zip(ranges[::2], ranges[1::2], strict=True):
        found |= set(range((address - start) // PAGE, (address + size - start) // PAGE))
    return sorted(found & set(range(COUNT)))


def main() -> None:
    memory = mmap.mmap(-1, COUNT * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = bytes(COUNT * PAGE)
    idle = recorded_ranges(memory, writes=False, ahead=memory_pages.NO_RANGES)
    written = recorded_ranges(memory, writes=True, ahead=memory_pages.NO_RANGES)
    ahead = recorded_ranges(memory, writes=False, ahead=written)
    print(json.dumps([numbers(memory, ranges) for ranges in (idle, written, ahead)]))


if __name__ == "__main__":
    main()
