"""What past runs took: counted from the journals of finished sessions.

Contract: a look costs a bounded time, however many sessions there are: at most the `NEWEST` youngest are seen, those of
them that are new are read until `_LOOK_S` is over, and one that is longer than `_MOST_BYTES` is left out. What was read
is remembered, because a finished journal does not change. It blocks on the disk: it runs in threads.
"""

import heapq
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import MIB
from algocline_mcp.errors import AlcError
from algocline_mcp.session.results import metrics, status_of
from algocline_mcp.session.state import fold
from algocline_mcp.storage import journal

NEWEST = 500
_LOOK_S = 1.0
_MOST_BYTES = 8 * MIB
_SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class Run:
    """`auto`: as `stats.auto` of its result. `end_s`: unix seconds."""

    sid: str
    strategy: str | None
    title: str
    status: str
    end_s: float
    auto: dict[str, Any]

    @property
    def tokens(self) -> int:
        return int(self.auto["total_tokens"]["tokens"])


_known: dict[Path, Run | None] = {}


def runs(home: Home) -> list[Run]:
    """The finished sessions, newest first."""
    try:
        names = [name for name in os.listdir(home.finished) if name.startswith("p-") and name.endswith(_SUFFIX)]
    except OSError:
        return []
    seen = [home.finished / name for name in heapq.nlargest(NEWEST, names)]
    for path in _known.keys() - set(seen):
        del _known[path]
    until = time.monotonic() + _LOOK_S
    for path in seen:
        if path not in _known and time.monotonic() < until:
            _known[path] = _read(path)
    return [run for path in seen if (run := _known.get(path)) is not None]


def _read(path: Path) -> Run | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        session = fold(journal.read(path, is_for_host=False))
    except (AlcError, OSError):
        return None
    if session.final is None:
        return None
    end_s = session.final["t"]
    about = session.header
    auto = metrics(session, end_s)["auto"]
    return Run(session.sid, about.get("strategy"), about["title"], status_of(session), end_s, auto)


def medians(found: Iterable[Run]) -> dict[str, dict[str, int]]:
    """Of completed runs, by strategy: `{runs, prompts, tokens}`."""
    by_name: dict[str, list[Run]] = {}
    for run in found:
        if run.strategy is not None and run.status == "completed":
            by_name.setdefault(run.strategy, []).append(run)
    return {
        name: {
            "runs": len(mine),
            "prompts": _median([run.auto["llm_calls"] for run in mine]),
            "tokens": _median([run.tokens for run in mine]),
        }
        for name, mine in by_name.items()
    }


def _median(values: list[int]) -> int:
    """Not the library's, whose import would cost every start 10 ms."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else round((ordered[middle - 1] + ordered[middle]) / 2)
