"""Clocks, dates and sleep: a strategy reads the recorded clock. What takes a time as its argument needs no patch."""

import datetime
import math
import sched
import time
import timeit
from collections.abc import Callable
from typing import Any

from algocline_mcp.worker.engine.python.determinism import world
from algocline_mcp.worker.engine.python.determinism.patches import Patches, replace_class_method

_NS = 1_000_000_000
_US = 1_000_000


def _ns(seconds: float) -> int:
    """Nanoseconds, to the microsecond: a float of unix seconds has no more."""
    return round(seconds * _US) * (_NS // _US)


class _Reading:
    """Returns a reading of the clock. Not a function: as an attribute of a class it must not be bound."""

    def __init__(self, name: str, read: Callable[[world.World], float | int]) -> None:
        self._original = getattr(time, name)
        self._read = read
        self.__name__ = self.__qualname__ = name

    def __call__(self) -> float | int:
        current = world.current
        return self._original() if current is None else self._read(current)

    def __repr__(self) -> str:
        return repr(self._original)


class _Clocks:
    """Functions of the module time that take an argument."""

    def __init__(self) -> None:
        self._original = {name: getattr(time, name) for name in _WITH_ARGUMENT if hasattr(time, name)}

    def names(self) -> list[str]:
        return list(self._original)

    def clock_gettime(self, clock_id: int, /) -> float:
        if (current := world.current) is None:
            return float(self._original["clock_gettime"](clock_id))
        return current.now() if clock_id == time.CLOCK_REALTIME else current.monotonic()

    def clock_gettime_ns(self, clock_id: int, /) -> int:
        if world.current is None:
            return int(self._original["clock_gettime_ns"](clock_id))
        return _ns(self.clock_gettime(clock_id))

    def localtime(self, seconds: float | None = None, /) -> time.struct_time:
        broken_down: time.struct_time = self._broken_down("localtime", seconds)
        return broken_down

    def gmtime(self, seconds: float | None = None, /) -> time.struct_time:
        broken_down: time.struct_time = self._broken_down("gmtime", seconds)
        return broken_down

    def ctime(self, seconds: float | None = None, /) -> str:
        return str(self._broken_down("ctime", seconds))

    def asctime(self, *broken_down: Any) -> str:
        return str(self._original["asctime"](*(broken_down or self._now())))

    def strftime(self, text: str, /, *broken_down: Any) -> str:
        return str(self._original["strftime"](text, *(broken_down or self._now())))

    def sleep(self, seconds: float, /) -> None:
        if (current := world.current) is None:
            self._original["sleep"](seconds)
            return
        if not math.isfinite(seconds) or seconds <= 0:
            self._original["sleep"](seconds)  # returns at once, or raises what plain Python raises
        else:
            current.sleep(float(seconds))

    def _broken_down(self, name: str, seconds: float | None) -> Any:
        if seconds is None and world.current is not None:
            seconds = world.current.now()
        return self._original[name](seconds)

    def _now(self) -> tuple[Any, ...]:
        return () if world.current is None else (self.localtime(),)


_WITH_ARGUMENT = (
    "clock_gettime",
    "clock_gettime_ns",
    "localtime",
    "gmtime",
    "ctime",
    "asctime",
    "strftime",
    "sleep",
)
_MONOTONIC = ("monotonic", "perf_counter", "process_time", "thread_time")  # processor time is not recorded


def install(patches: Patches) -> None:
    readings: dict[str, Callable[[world.World], float | int]] = {
        "time": lambda current: current.now(),
        "time_ns": lambda current: _ns(current.now()),
    }
    for name in _MONOTONIC:
        readings[name] = world.World.monotonic
        readings[f"{name}_ns"] = lambda current: _ns(current.monotonic())
    for name, read in readings.items():
        if hasattr(time, name):  # not every system has thread_time
            patches.replace(time, name, _Reading(name, read))
    clocks = _Clocks()
    for name in clocks.names():
        patches.replace(time, name, getattr(clocks, name))
    sched.scheduler.__init__.__defaults__ = (time.monotonic, time.sleep)
    for function in (timeit.Timer.__init__, timeit.timeit, timeit.repeat):
        defaults = function.__defaults__ or ()
        function.__defaults__ = tuple(time.perf_counter if it is timeit.default_timer else it for it in defaults)
    _replace_dates()


def _replace_dates() -> None:
    from_timestamp = datetime.datetime.__dict__["fromtimestamp"]
    date_from_timestamp = datetime.date.__dict__["fromtimestamp"]

    def now(cls: Any, tz: datetime.tzinfo | None = None) -> Any:
        current = world.current
        return real_now(cls, tz) if current is None else from_timestamp.__get__(None, cls)(current.now(), tz)

    def utcnow(cls: Any) -> Any:
        current = world.current
        if current is None:
            return real_utcnow(cls)
        return from_timestamp.__get__(None, cls)(current.now(), datetime.UTC).replace(tzinfo=None)

    def today(cls: Any) -> Any:
        current = world.current
        if current is None:
            return real_today(cls)
        reader = from_timestamp if issubclass(cls, datetime.datetime) else date_from_timestamp
        return reader.__get__(None, cls)(current.now())

    real_now = replace_class_method(datetime.datetime, "now", now)
    real_utcnow = replace_class_method(datetime.datetime, "utcnow", utcnow)
    real_today = replace_class_method(datetime.date, "today", today)
