"""Cost of a page of the list, at any number of sessions: `python bench/listing.py [--sessions N] [--answers N]`.

Makes a home below a temporary directory, of unfinished sessions with as many answers each and as many finished ones,
lists it a number of times, and prints median, worst and processor time in milliseconds as one JSON line. Exit code 1
where the median is over `--aim`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
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
    for n in range(sessions):
        sid = f"p-{began_ns + n * 1_000_000:x}-{n:016x}"
        content = b"".join(journal_lines.encode(record, 0) for record in records(sid, answers, began_ns / 1e9))
        home.journal(sid).write_bytes(content)
        home.finished_journal(f"p-{began_ns - n * 1_000_000 - 1:x}-{n:016x}").touch()
    os.utime(home.finished, (0, 0))  # nothing has finished within the last second


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--answers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--aim", type=float, default=15.0, metavar="MS")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name))
        fill(home, args.sessions, args.answers)
        took_ms, cpu_ms = [], []
        page = list_unfinished(home, Limits())
        for _ in range(args.rounds):
            began, began_cpu = time.perf_counter(), time.process_time()
            page = list_unfinished(home, Limits())
            cpu_ms.append((time.process_time() - began_cpu) * 1000)
            took_ms.append((time.perf_counter() - began) * 1000)
    median = statistics.median(took_ms)
    figures = {"sessions": page["active_sessions"], "lines": len(page["sessions"]), "median_ms": round(median, 2)}
    figures |= {"worst_ms": round(max(took_ms), 2), "cpu_ms": round(statistics.median(cpu_ms), 2)}
    print(json.dumps(figures))
    return int(median > args.aim)


if __name__ == "__main__":
    sys.exit(main())
