"""Makes all that exists before the first fork immortal, so that forked processes go on sharing it.

Python counts references within each object: merely to use one writes to its page, and a forked process then has a
copy of that page to itself. Since 3.12 an object whose count is at its maximum is never written to (PEP 683). There is
no function to set it, so it is set where PEP 683 puts it, in the first four bytes of an object. A paused session takes
1,960 KiB instead of 3,380 so, keeper and engine together (Python 3.12 and 3.13).

Contract: does nothing where counts are kept in another way or it was not tried: before 3.12 and from 3.14 on, in
free-threaded and debug builds, in other implementations. An object is tried first. What was made immortal is never
freed: call it once, in a process whose children end soon or share it for life.
"""

import ctypes
import gc
import sys
from collections.abc import Iterable
from types import CodeType
from typing import Any

_IMMORTAL = 0xFFFF_FFFF
_HELD = 8
# abiflags: debug and free-threaded builds lay objects out in another way.
_is_plain = (
    (3, 12) <= sys.version_info[:2] < (3, 14)
    and sys.implementation.name == "cpython"
    and not sys.abiflags
    and sys.byteorder == "little"
    and sys.maxsize > 1 << 32
)


def immortalize() -> bool:
    """Whether anything was done."""
    if not _is_plain or not _works():
        return False
    fresh: list[Any] = gc.get_objects()
    found: dict[int, Any] = {}  # holds what it names: nothing may be freed before its count is set
    while fresh:
        found.update((id(each), each) for each in fresh)
        fresh = [part for each in fresh for part in _parts(each) if id(part) not in found]
    for address in found:
        _set_count(address)
    return True


def _set_count(address: int) -> None:
    ctypes.c_uint32.from_address(address).value = _IMMORTAL


def _works() -> bool:
    probe = object()
    _set_count(id(probe))
    before = sys.getrefcount(probe)
    held = [probe] * _HELD
    return sys.getrefcount(held[0]) == before


def _parts(value: Any) -> Iterable[Any]:
    """Also those of code and of built-in types, which the collector does not look into."""
    if isinstance(value, CodeType):
        return (
            *value.co_consts,
            *value.co_names,
            value.co_consts,
            value.co_names,
            value.co_filename,
            value.co_qualname,
        )
    if isinstance(value, type):
        return (*gc.get_referents(value), *vars(value).values())
    return gc.get_referents(value)
