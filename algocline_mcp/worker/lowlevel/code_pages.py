"""Moves the code objects that forked processes write to together, onto few memory pages.

Python writes into a code object while it runs it: an instruction that is not specialised, or cannot be, counts each of
its executions in the code. A worker writes to some 200 of 8,000 code objects before its first prompt, each on a page
with code that it does not need: 200 of the 800 pages that keeper and engine copied. Moved together, they take 110.

Contract: `written` is called in a process that was forked from the same parent as the examined one, so that addresses
are valid for both. `gather` changes functions in place; they have to be warmed up again. What runs at the moment, and
functions that exist only later, keep the code that they have; a code object in a constant of another is replaced there.
"""

import ctypes
import gc
import mmap
import os
import sys
from collections.abc import Container
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, TypeAlias

from algocline_mcp.worker.lowlevel.memory_pages import written_pages

_REFERENCES_BYTES = 8  # the count of references, first in each object
_PAGE_SHIFT = mmap.PAGESIZE.bit_length() - 1
_MOVES_MAX = 4096  # code objects

Addresses: TypeAlias = "memoryview[int]"


def shared_addresses() -> Addresses:
    """Empty addresses, all 0, in shared memory: another process can record into them."""
    return memoryview(mmap.mmap(-1, _MOVES_MAX * 8)).cast("Q")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The code of all functions, and what is defined within it, by address; and in which other code it is defined."""

    codes: dict[int, CodeType]
    holders: dict[int, list[int]]


def loaded() -> Loaded:
    codes: dict[int, CodeType] = {}
    holders: dict[int, list[int]] = {}
    rest = [function.__code__ for function in _functions()]
    while rest:
        code = rest.pop()
        if id(code) not in codes:
            codes[id(code)] = code
            for part in code.co_consts:
                if type(part) is CodeType:
                    holders.setdefault(id(part), []).append(id(code))
                    rest.append(part)
    return Loaded(codes, holders)


def written(pid: int, known: Loaded) -> set[int]:
    """Addresses of the code objects that process `pid` has changed since its fork. Raises OSError."""
    pages = {address >> _PAGE_SHIFT for address in written_pages(pid)}
    changed = set()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for address, code in known.codes.items():
            size = sys.getsizeof(code)
            if pages.isdisjoint(range(address >> _PAGE_SHIFT, ((address + size) >> _PAGE_SHIFT) + 1)):
                continue
            now = os.pread(memory.fileno(), size, address)
            if now[_REFERENCES_BYTES:] != ctypes.string_at(address, size)[_REFERENCES_BYTES:]:
                changed.add(address)
    return changed


def gather(known: Loaded, addresses: Addresses) -> None:
    """Copies the code at these addresses, up to the first 0, one after the other, and uses the copies instead."""
    chosen = list(iter(iter(addresses).__next__, 0))
    affected, rest = set(chosen), list(chosen)  # with what they are defined in: it is copied, too
    while rest:
        holders = [holder for holder in known.holders.get(rest.pop(), ()) if holder not in affected]
        affected.update(holders)
        rest += holders
    copies: dict[int, CodeType] = {}
    for address in chosen:
        _copy_of(known.codes[address], affected, copies)
    for function in _functions():
        if id(function.__code__) in affected:
            function.__code__ = _copy_of(function.__code__, affected, copies)


def _copy_of(code: CodeType, affected: Container[int], copies: dict[int, CodeType]) -> CodeType:
    if id(code) not in copies:
        constants = (_copy_of(part, affected, copies) if id(part) in affected else part for part in code.co_consts)
        copies[id(code)] = code.replace(co_consts=tuple(constants))
    return copies[id(code)]


def _functions() -> list[Any]:
    return [value for value in gc.get_objects() if type(value) is FunctionType]
