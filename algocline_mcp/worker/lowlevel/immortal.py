"""Makes all objects that exist before the first fork immortal, so that forked processes keep sharing their memory.

Python counts references inside each object: to use an object writes to its page, and a forked process then gets a
private copy of that page. Since 3.12, Python never writes to an object whose count is at its maximum (PEP 683). No
function sets the count, so this module writes it where PEP 683 puts it, into the first four bytes of an object. A
paused session then takes 1,960 KiB instead of 3,380, keeper and engine together (Python 3.12 and 3.13).

Contract: does nothing where Python counts in another way or where this is not tested: before 3.12 and from 3.14 on, in
free-threaded and debug builds, in other implementations. One object is tried first. An immortal object is never freed:
call `immortalize` once, in a process whose children end soon or share its memory for life.
"""

import ctypes
import gc
import sys
from collections.abc import Iterable
from types import CodeType
from typing import Any

_IMMORTAL = 0xFFFF_FFFF
_COUNT_BYTES = 4
_ADDRESSES = 1 << 57  # in bytes; a process has 47 bits of them on x86-64, 48 on aarch64, up to 56 where it asks
_PROBE_REFERENCES = 8
# abiflags: debug and free-threaded builds have another object layout.
# What isinstance and vars look up goes into Python's method cache, in place of what workers look up.
_namespace = type.__dict__["__dict__"].__get__
_is_supported = (
    (3, 12) <= sys.version_info[:2] < (3, 14)
    and sys.implementation.name == "cpython"
    and not sys.abiflags
    and sys.byteorder == "little"
    and sys.maxsize > 1 << 32
)


def immortalize() -> bool:
    """Returns whether objects were made immortal."""
    if not _is_supported or not _works():
        return False
    # A view of all memory: an object of ctypes for each count took half as long again.
    counts = memoryview((ctypes.c_uint32 * (_ADDRESSES // _COUNT_BYTES)).from_address(0)).cast("B").cast("I")
    classes = set[int]()
    parts = gc.get_objects()
    # The collector is asked once for each layer of objects: for each object it took 30 % longer.
    while parts:
        fresh = []
        for part in parts:
            # The count says what has been reached: the addresses of 100,000 objects would stay behind as 3 MiB of free
            # memory, which each fork shares anew. Built-in classes are immortal from the start.
            at = id(part) // _COUNT_BYTES
            if counts[at] != _IMMORTAL:
                counts[at] = _IMMORTAL
            elif type(part) is not type or at in classes:
                continue
            if type(part) is type:
                classes.add(at)
            fresh.append(part)
        parts = gc.get_referents(*fresh)
        for part in fresh:
            if type(part) is CodeType:
                parts += _parts_of_code(part)
            elif issubclass(type(part), type):
                parts += _namespace(part).values()
    return True


def _works() -> bool:
    """Tries one object: its count must not change when it gets more references."""
    probe = object()
    ctypes.c_uint32.from_address(id(probe)).value = _IMMORTAL
    before = sys.getrefcount(probe)
    references = [probe] * _PROBE_REFERENCES
    return sys.getrefcount(references[0]) == before


def _parts_of_code(code: CodeType) -> Iterable[Any]:
    """Objects that the collector does not report; nor does it report those of built-in types."""
    return (*code.co_consts, *code.co_names, code.co_consts, code.co_names, code.co_filename, code.co_qualname)
