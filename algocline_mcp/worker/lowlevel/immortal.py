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
_PROBE_REFERENCES = 8
# abiflags: debug and free-threaded builds have another object layout.
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
    fresh: list[Any] = gc.get_objects()
    reached: dict[int, Any] = {}  # holds each object: none may be freed before its count is set
    while fresh:
        reached.update((id(item), item) for item in fresh)
        fresh = [part for item in fresh for part in _parts(item) if id(part) not in reached]
    for address in reached:
        _set_count(address)
    return True


def _set_count(address: int) -> None:
    ctypes.c_uint32.from_address(address).value = _IMMORTAL


def _works() -> bool:
    """Tries one object: its count must not change when it gets more references."""
    probe = object()
    _set_count(id(probe))
    before = sys.getrefcount(probe)
    references = [probe] * _PROBE_REFERENCES
    return sys.getrefcount(references[0]) == before


def _parts(value: Any) -> Iterable[Any]:
    """Objects that `value` refers to, also those of code and of built-in types, which the collector does not report."""
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
