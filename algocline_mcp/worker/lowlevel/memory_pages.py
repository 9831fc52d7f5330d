"""Pages of memory that a forked process is going to write, copied before anybody waits for them.

After a fork, the first write to each page costs a fault and a copy. A worker writes some 600 pages in its keeper and
400 in its engine before its first prompt, which is more than a millisecond; and all workers of one fork server write
the same ones (625 of 630). So one is looked at when it pauses, and those that stand by copy these pages at once.

Contract: addresses hold for the process that was looked at and for its siblings, forked from the same parent. A
courtesy: where the system does not tell which pages were written (/proc/PID/pagemap), or cannot copy them ahead
(madvise of Linux 5.14), nothing happens.
"""

import ctypes
import mmap
import os
import resource
import struct
from collections.abc import Iterable, Iterator
from typing import TypeAlias

_MADV_POPULATE_WRITE = 23
# Bits of an entry, see Documentation/admin-guide/mm/pagemap.rst.
_PRESENT, _OF_A_FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
_PAGE_BYTES = resource.getpagesize()

# Address and size in bytes of one range after the other, then zeros. In memory that forked processes share for good: a
# list of tuples would be copied by walking it, and in the heap it takes the room that buffers have had.
Ranges: TypeAlias = "memoryview[int]"
NO_RANGES: Ranges = memoryview(bytes(16)).cast("Q")
_RANGES_MAX = 2048


def room() -> Ranges:
    """For the pages of one process; filled in by whatever process looks at it."""
    return memoryview(mmap.mmap(-1, _RANGES_MAX * 16)).cast("Q")


def copy(ranges: Ranges) -> None:
    numbers = iter(ranges)
    for address in numbers:
        if not (size := next(numbers)):
            return
        _libc.madvise(address, size, _MADV_POPULATE_WRITE)


def note_written(pid: int, ranges: Ranges) -> None:
    """What that process has to itself of the memory that it shared at first."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap, open(f"/proc/{pid}/maps") as maps:
        pages = (page for start, end in _private(maps) for page in _copied(pagemap.fileno(), start, end))
        at, past = -2, 0
        for page in pages:
            if page != past:
                at += 2
                if at >= len(ranges):
                    return
                ranges[at] = page
            ranges[at + 1] += _PAGE_BYTES
            past = page + _PAGE_BYTES


def _private(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Start and end of what can be written and is nobody else's."""
    for line in maps:
        addresses, rights = line.split()[:2]
        if rights.startswith("rw") and rights.endswith("p"):
            start, _, end = addresses.partition("-")
            yield int(start, 16), int(end, 16)


def _copied(pagemap_fd: int, start: int, end: int) -> Iterator[int]:
    """Addresses of pages."""
    entries = os.pread(pagemap_fd, (end - start) // _PAGE_BYTES * 8, start // _PAGE_BYTES * 8)
    for number, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
        if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _OF_A_FILE:
            yield start + number * _PAGE_BYTES


_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
