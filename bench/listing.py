"""Cost of a page of the list, at any number of sessions: `python bench/listing.py [--sessions N] [--answers N]`.

Makes a home below a temporary directory, of unfinished sessions with as many answers each and as many finished ones,
lists it a number of times, and prints medians in milliseconds as one JSON line: of the first page of a process, which
reads everything, and of the pages after it, while nothing changes. Exit code 1 where the second page takes more
processor time than `--aim`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.history import listing_cache
from algocline_mcp.history.listing import list_unfinished
from algocline_mcp.session.digests import query_digest
from algocline_mcp.storage import journal_lines


def records(sid: str, answers: int, began_s: float) -> list[dict[str, Any]]:
    """Records as a worker writes them: each step is an answer, a prompt and a mark."""
    limits = {"prompt_bytes": 1 << 22, "answer_bytes": 1 << 22, "result_bytes": 1 << 22, "notes_bytes": 1 << 20}
    limits |= {"ctx_bytes": 1 << 21, "state_key_bytes": 1 << 10, "state_value_bytes": 1 << 20}
    head = {
        "kind": "header", "format": 1, "sid": sid, "t": began_s, "title": "one of many", "version": "0", "abi": {},
        "language": "lua", "code": "-- as long as an ordinary strategy\n" * 40, "chunk": "strategy", "lib_paths": [],
        "ctx": json.dumps({"items": [f"item {n}" for n in range(40)]}), "seed": 1, "utc_offset_s": 0,
        "limits": limits | {"queries": 256, "strikes": 3},
    }  # fmt: skip
    lines: list[dict[str, Any]] = [head]
    for n in range(answers + 1):
        query = {"prompt": f"Step {n}: " + "what is asked, at some length. " * 12, "system": None, "max_tokens": 1024}
        t = began_s + n
        lines.append({"kind": "prompt", "queries": [{"id": f"q-{n}", "digest": query_digest(query), **query}], "t": t})
        lines.append({"kind": "flushed"})
        if n < answers:
            item = {"id": f"q-{n}", "response": "What the model said, in a few sentences. " * 10}
            lines.append({"kind": "answer", "answers": [item], "t": t})
    return lines


def fill(home: Home, sessions: int, answers: int) -> None:
    home.finished.mkdir(parents=True, exist_ok=True)
    home.pool.mkdir(parents=True, exist_ok=True)
    began_ns = time.time_ns()
    journals = []
    for n in range(sessions):
        sid = f"p-{began_ns + n * 1_000_000:x}-{n:016x}"
        content = b"".join(journal_lines.encode(record, 0) for record in records(sid, answers, began_ns / 1e9))
        journals.append(home.journal(sid))
        journals[-1].write_bytes(content)
        home.finished_journal(f"p-{began_ns - n * 1_000_000 - 1:x}-{n:016x}").touch()
    for path in (home.finished, home.sessions, *journals):  # others that have ended are moved behind their reply
        os.utime(path, (began_ns // 10**9 - 60,) * 2)  # quiet for a minute


def page_cost(home: Home) -> tuple[float, float, int]:
    """Elapsed and processor time of one page in ms, and its number of lines."""
    began, began_cpu = time.perf_counter(), time.process_time()
    page = list_unfinished(home, Limits())
    cpu_ms = (time.process_time() - began_cpu) * 1000
    return (time.perf_counter() - began) * 1000, cpu_ms, len(page["sessions"])


def summary(costs: Sequence[tuple[float, float, int]]) -> dict[str, float]:
    elapsed_ms, cpu_ms, _ = zip(*costs, strict=True)
    median = statistics.median
    return {
        "elapsed": round(median(elapsed_ms), 2),
        "cpu": round(median(cpu_ms), 2),
        "worst": round(max(elapsed_ms), 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--answers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--aim", type=float, default=3.0, metavar="MS")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name))
        fill(home, args.sessions, args.answers)
        first, second = [], []
        for _ in range(args.rounds):
            listing_cache.clear()
            first.append(page_cost(home))
            second.append(page_cost(home))
    pages = {"first_page_ms": summary(first), "second_page_ms": summary(second)}
    print(json.dumps({"sessions": args.sessions, "lines": second[0][2], **pages}))
    return int(pages["second_page_ms"]["cpu"] > args.aim)


if __name__ == "__main__":
    sys.exit(main())
