"""Measuring: timed rounds side by side, medians, rows with their comparisons.

Contract: times are milliseconds of the monotonic clock. A `Row` is one line of the table and one object of
results.json; a row that could not be measured says why and has no figure. A ratio is this row's median through the
other's: below 1 is faster, or smaller. Nothing here knows what is measured.
"""

import math
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import anyio

Timed = Callable[[], Awaitable[float]]

# Between two timed calls: what one leaves behind (a process that ends, a registry to write) shall not burden the next.
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ratio` to the row `against`; `aim` in words, and whether it is met (None: there is no aim)."""

    against: str
    ratio: float | None
    aim: str | None = None
    is_met: bool | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """`median` and `p99` in `unit`, over `n` values; a single figure has no p99. `reason`: why it was not run.

    `is_ours`: not a floor, a port or an alternative that ours is compared with.
    """

    part: str
    name: str
    unit: str
    n: int = 0
    median: float | None = None
    p99: float | None = None
    comparisons: tuple[Comparison, ...] = ()
    note: str = ""
    reason: str = ""
    is_ours: bool = True

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def not_run(part: str, name: str, reason: str) -> Row:
    return Row(part, name, "", reason=reason)


def row(
    part: str, name: str, values: Sequence[float], *comparisons: Comparison, unit: str = "ms", note: str = ""
) -> Row:
    return Row(part, name, unit, len(values), statistics.median(values), p99(values), comparisons, note)


def other(part: str, name: str, values: Sequence[float], *, note: str = "") -> Row:
    """A row that ours are compared with."""
    return replace(row(part, name, values, note=note), is_ours=False)


def figure(part: str, name: str, value: float, *comparisons: Comparison, unit: str, n: int, note: str = "") -> Row:
    """A row that is one figure over `n` things, such as a rate."""
    return Row(part, name, unit, n, value, None, comparisons, note)


def p99(values: Sequence[float]) -> float:
    """By nearest rank: of fewer than 100 values it is the largest."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


# ── comparisons ───────────────────────────────────────────────────────────────────────────────────────────


def ratio(name: str, values: Sequence[float], other: Sequence[float], *, at_most: float | None = None) -> Comparison:
    quotient = statistics.median(values) / statistics.median(other)
    if at_most is None:
        return Comparison(name, quotient)
    return Comparison(name, quotient, f"≤ {at_most:g} ×", quotient <= at_most)


def beyond(
    name: str, values: Sequence[float], other: Sequence[float], *, at_most_ms: float, why: str = ""
) -> Comparison:
    """How far the median lies beyond the other's. `why`: where the bound comes from."""
    difference = statistics.median(values) - statistics.median(other)
    aim = f"{difference:+.2f} ms, ≤ {at_most_ms:+.2f}{f' ({why})' if why else ''}"
    quotient = statistics.median(values) / statistics.median(other)
    return Comparison(name, quotient, aim, difference <= at_most_ms)


def at_most(value: float, bound: float, unit: str, name: str = "") -> Comparison:
    return Comparison(name, None, f"≤ {bound:.4g} {unit}", value <= bound)


def none(counts: Mapping[str, int]) -> Comparison:
    """The aim that nothing of all this happened."""
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return Comparison("", None, f"{shown}; none", not any(counts.values()))


# ── rounds ────────────────────────────────────────────────────────────────────────────────────────────────


async def interleaved(rounds: int, calls: Mapping[str, Timed], *, pause_s: float = _PAUSE_S) -> dict[str, list[float]]:
    """Calls all of them in each round, in order: A B A B. What disturbs the machine meanwhile disturbs them all.

    Each returns its own milliseconds, so that clearing up after it is not counted. One round beforehand is dropped.
    """
    values: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            elapsed_ms = await call()
            if number > 0:
                values[name].append(elapsed_ms)
            await anyio.sleep(pause_s)
    return values


class Stopwatch:
    """`with Stopwatch() as watch: …` then `watch.ms`."""

    ms = 0.0

    def __enter__(self) -> "Stopwatch":
        self._began = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.ms = (time.perf_counter() - self._began) * 1000
