"""Copies the memory pages that a forked process will write, before a request waits for them.

After a fork, the first write to each page costs a page fault and a copy. A worker writes some 600 pages in its keeper
and 400 in its engine before its first prompt, which takes more than a millisecond; and all workers of one fork server
write the same pages (625 of 630). So the fork server examines one worker at its first pause, and standby workers copy
these pages at once after their fork.

Contract: addresses are valid for the examined process and its siblings, forked from the same parent. All of it is an
optimization: where the system does not report the written pages (/proc/PID/pagemap) or cannot copy pages ahead (madvise
of Linux 5.14), nothing happens.
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

# Address and size in bytes of one range after the other, then zeros. In memory that forked processes keep sharing: to
# iterate over a list of tuples would copy it, and a list in the heap would take freed space that buffers use again.
Ranges: TypeAlias = "memoryview[int]"
NO_RANGES: Ranges = memoryview(bytes(16)).cast("Q")
_RANGES_MAX = 2048


def shared_ranges() -> Ranges:
    """Empty ranges in shared memory: another process can record into them."""
    return memoryview(mmap.mmap(-1, _RANGES_MAX * 16)).cast("Q")


def copy(ranges: Ranges) -> None:
    """Copies these pages of this process now, as the first write to each would."""
    numbers = iter(ranges)
    for address in numbers:
        if not (size := next(numbers)):
            return
        _libc.madvise(address, size, _MADV_POPULATE_WRITE)


def record_written(pid: int, ranges: Ranges) -> None:
    """Writes into `ranges` the pages that process `pid` has written since its fork. Raises OSError."""
    at, end = -2, 0
    for page in written_pages(pid):
        if page != end:
            at += 2
            if at >= len(ranges):
                return
            ranges[at] = page
        ranges[at + 1] += _PAGE_BYTES
        end = page + _PAGE_BYTES


def written_pages(pid: int) -> Iterator[int]:
    """Addresses of the pages that process `pid` has written since its fork. Raises OSError."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap, open(f"/proc/{pid}/maps") as maps:
        for area in _private_areas(maps):
            yield from _exclusive_pages(pagemap.fileno(), *area)


def _private_areas(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Start and end of each area of memory that is writable and private."""
    for line in maps:
        addresses, permissions = line.split()[:2]
        if permissions.startswith("rw") and permissions.endswith("p"):
            start, _, end = addresses.partition("-")
            yield int(start, 16), int(end, 16)


def _exclusive_pages(pagemap_fd: int, start: int, end: int) -> Iterator[int]:
    """Addresses of the pages that no other process shares."""
    entries = os.pread(pagemap_fd, (end - start) // _PAGE_BYTES * 8, start // _PAGE_BYTES * 8)
    for number, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
        if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _OF_A_FILE:
            yield start + number * _PAGE_BYTES


_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
