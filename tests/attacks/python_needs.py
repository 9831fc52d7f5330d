"""What Python itself does while it runs plain code: none of it needs a system call that an engine is denied."""

import _thread
import ctypes
import datetime
import decimal
import gc
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable


def _grow() -> None:
    grown = bytearray()
    for _ in range(200):
        grown += bytes(1 << 17)
    del grown[1 << 10 :]


def _recursion_ends(depth: int = 0) -> None:
    try:
        _recursion_ends(depth + 1)
    except RecursionError:
        if depth == 0:
            return
        raise


def _wait_for_a_lock() -> None:
    lock = _thread.allocate_lock()
    with lock:
        assert not lock.acquire(timeout=0.01)


def _format_an_error() -> None:
    try:
        json.loads("[")
    except ValueError as exc:
        traceback.format_exception(exc)


NEEDS: dict[str, Callable[[], object]] = {
    "much memory": lambda: [bytearray(1 << 16) for _ in range(500)] + [b"x" * (24 << 20)],
    "memory that grows and shrinks": lambda: _grow(),
    "many objects, collected": lambda: ([[[]] for _ in range(200_000)], gc.collect()),
    "deep recursion": lambda: _recursion_ends(),
    "big integers": lambda: 3**50_000 % 7**900,
    "clocks": lambda: [clock() for clock in (time.time, time.monotonic, time.process_time, time.localtime)],
    "sleep": lambda: time.sleep(0.001),
    "random bytes": lambda: os.urandom(64),
    "a lock": lambda: _thread.allocate_lock().acquire(timeout=0.001),
    "a lock that is waited for": lambda: _wait_for_a_lock(),
    "patterns, decimals and dates": lambda: (
        re.findall(r"(\w+)-", "a-b-c" * 9_000),
        decimal.Decimal(2).sqrt(),
        datetime.datetime.now(datetime.UTC).strftime("%A %x"),
    ),
    "an error with its traceback": lambda: _format_an_error(),
    "print": lambda: print("to the log", file=sys.stderr, flush=True),
    "standard error of C": lambda: ctypes.CDLL(None).dprintf(2, b"from C\n"),
    "own number": lambda: (os.getpid(), _thread.get_native_id()),
}
