"""Statistics of past runs, counted from the journals of finished sessions.

Contract: `runs` takes a bounded time, however many sessions there are. It considers the `NEWEST` journals, reads those
that it does not know yet until `_READ_S` have passed, and leaves out journals over `_MAX_BYTES`. A journal that was
read is remembered, because a finished journal does not change. It blocks on the disk, so it runs in threads.
"""

import heapq
import os
import time
from collections import OrderedDict
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
_READ_S = 1.0
_MAX_BYTES = 8 * MIB
_SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run. `auto`: as `stats.auto` of its result. `end_s`: unix seconds."""

    sid: str
    strategy: str | None
    title: str
    status: str
    end_s: float
    auto: dict[str, Any]

    @property
    def tokens(self) -> int:
        return int(self.auto["total_tokens"]["tokens"])


_HOMES = 20  # directories whose runs are remembered: a server has one for each owner

_known: OrderedDict[Path, dict[Path, Run | None]] = OrderedDict()  # by directory, the one used last at the end


def runs(home: Home) -> list[Run]:
    """The finished sessions, newest first."""
    try:
        names = [name for name in os.listdir(home.finished) if name.startswith("p-") and name.endswith(_SUFFIX)]
    except OSError:
        return []
    newest = [home.finished / name for name in heapq.nlargest(NEWEST, names)]
    known = _known_of(home.finished)
    for path in known.keys() - set(newest):
        known.pop(path, None)
    until = time.monotonic() + _READ_S
    for path in newest:
        if path not in known and time.monotonic() < until:
            known[path] = _read(path)
    return [run for path in newest if (run := known.get(path)) is not None]


def _known_of(directory: Path) -> dict[Path, Run | None]:
    known = _known.pop(directory, {})
    _known[directory] = known
    while len(_known) > _HOMES:
        _known.popitem(last=False)
    return known


def _read(path: Path) -> Run | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        session = fold(journal.stream(path, is_for_host=False))
    except (AlcError, OSError):
        return None
    if session.final is None:
        return None
    end_s = session.final["t"]
    header = session.header
    auto = metrics(session, end_s)["auto"]
    return Run(session.sid, header.get("strategy"), header["title"], status_of(session), end_s, auto)


def medians(finished: Iterable[Run]) -> dict[str, dict[str, int]]:
    """Strategy -> `{runs, prompts, tokens}`: the number of completed runs, and the medians of prompts and tokens."""
    by_name: dict[str, list[Run]] = {}
    for run in finished:
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
    """Written here because the import of `statistics` costs 10 ms at each start of a server."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else round((ordered[middle - 1] + ordered[middle]) / 2)
