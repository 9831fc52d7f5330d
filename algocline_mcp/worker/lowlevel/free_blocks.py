"""Uses up the free blocks of the heap, so that forked processes allocate in pages of their own, one beside the other.

A process that has imported and run much has free blocks on nearly every page. Its allocator hands these out first: a
forked process then copies a page of 4 KiB for each few small objects. With these blocks in use, new objects share new
pages. A paused session, keeper and engine together, takes 2.2 MiB instead of 3.1 in Lua, and 2.8 instead of 3.9 in
Python (3.12).

Contract: call `fill` once, after everything else that allocates, in a process that forks. The blocks are never freed.
Does nothing in free-threaded and debug builds, which allocate in another way. Bounded: at most `_MAX_BYTES`.
"""

import ctypes
import sys
from array import array
from collections import Counter
from collections.abc import Iterable

# Objects/obmalloc.c: blocks of up to 512 bytes, in steps of 16, from pools of 16 KiB with a header of 48 bytes.
_STEP_BYTES = 16
_SMALL_BYTES = 512
_POOL_BYTES = 16 * 1024
_POOL_HEADER_BYTES = 48
_LARGE_BYTES = 64 * 1024  # the C library maps larger blocks one by one (from 128 KiB on)
_LEAST_BYTES = 24  # the smallest chunk of the C library; Lua allocates small blocks there
# The C library keeps some freed blocks of up to this size (tcache), and hands each out for its own size only.
_KEPT_BYTES = 1040
_MAX_BYTES = 8 * 1024 * 1024


def fill() -> int:
    """Returns how many bytes were used up."""
    if sys.implementation.name != "cpython" or sys.abiflags:
        return 0
    used = sum(_fill_pools(size) for size in range(_STEP_BYTES, _SMALL_BYTES + 1, _STEP_BYTES))
    return used + _fill_heap(_MAX_BYTES - used)


def _fill_pools(size: int) -> int:
    """Uses up all pools of this size that are in use in part: the allocator takes a free pool only after these."""
    blocks = array("Q")
    count_of: Counter[int] = Counter()  # number of a pool -> blocks that it gave
    free_pool = -1
    # Nearly all: the allocator gives some blocks of 32 bytes to the integers here.
    all_of_pool = (_POOL_BYTES - _POOL_HEADER_BYTES) // size * 9 // 10
    while free_pool < 0 and len(blocks) * size < _MAX_BYTES // 4:
        blocks.append(_allocate(size))
        pool = blocks[-1] // _POOL_BYTES
        count_of[pool] += 1
        if count_of[pool] >= all_of_pool:
            free_pool = pool
    _free(block for block in blocks if block // _POOL_BYTES == free_pool)
    return (len(blocks) - count_of[free_pool]) * size


def _fill_heap(max_bytes: int) -> int:
    """Uses up the gaps of the C library's heap, large ones first. The heap grows only where no gap is large enough:
    what is allocated then lies above all gaps."""
    if _trim is not None:
        _trim(0)  # gives back what is free at the end of the heap, and pages within it
    used, above = 0, 0
    end = _end_of_heap(0)
    while _end_of_heap(0) == end and used < max_bytes:
        above = _malloc(_LARGE_BYTES)
        used += _LARGE_BYTES
    _give_back(above)
    size = _LARGE_BYTES
    while size >= _LEAST_BYTES and used < max_bytes:
        block = _malloc(size)
        if block < above:
            used += size
        else:
            _give_back(block)
            size = size * 7 // 8 if size > _KEPT_BYTES else size - _STEP_BYTES
    return used


def _free(blocks: Iterable[int]) -> None:
    for block in blocks:
        _release(block)


_libc = ctypes.CDLL(None)
_end_of_heap = _libc.sbrk
_end_of_heap.argtypes, _end_of_heap.restype = (ctypes.c_ssize_t,), ctypes.c_size_t
_malloc, _give_back = _libc.malloc, _libc.free
_malloc.argtypes, _malloc.restype = (ctypes.c_size_t,), ctypes.c_size_t
_give_back.argtypes, _give_back.restype = (ctypes.c_void_p,), None
_trim = getattr(_libc, "malloc_trim", None)  # of the GNU C library
_allocate = ctypes.pythonapi.PyObject_Malloc
_allocate.argtypes, _allocate.restype = (ctypes.c_size_t,), ctypes.c_size_t
_release = ctypes.pythonapi.PyObject_Free
_release.argtypes, _release.restype = (ctypes.c_void_p,), None
