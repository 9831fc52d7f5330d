"""Journals that are written without a worker: any number, of any shape."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from algocline_mcp.session.digests import query_digest
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal_lines

LIMITS = {"prompt_bytes": 1000, "answer_bytes": 1000, "result_bytes": 1000, "notes_bytes": 1000, "queries": 9}
LIMITS |= {"strikes": 3, "ctx_bytes": 1000, "state_key_bytes": 1000, "state_value_bytes": 1000}


def sid_of(number: int, *, created_s: float | None = None) -> str:
    """An id; a greater number is a later creation time."""
    created_ns = int((time.time() if created_s is None else created_s) * 1e9) + number
    return f"p-{created_ns:x}-{number:016x}"


def header(sid: str, **changes: Any) -> Record:
    return {
        "kind": "header", "format": journal_lines.FORMAT, "sid": sid, "t": 1000.0, "title": "made", "version": "0",
        "abi": {}, "language": "lua", "code": "one\ntwo\nthree", "chunk": "strategy", "ctx": "{}", "lib_paths": [],
        "seed": 1, "utc_offset_s": 0, "parent": None, "limits": LIMITS, **changes,
    }  # fmt: skip


def prompt(*ids: str, t: float = 1001.0, **options: Any) -> Record:
    queries = []
    for query_id in ids:
        query = {"prompt": f"prompt of {query_id}", "system": None, "max_tokens": 9, **options}
        queries.append({"id": query_id, "digest": query_digest(query), **query})
    return {"kind": "prompt", "queries": queries, "t": t}


def answer(query_id: str, text: str = "said", t: float = 1002.0, **more: Any) -> Record:
    return {"kind": "answer", "answers": [{"id": query_id, "response": text, **more}], "t": t}


def answered(sid: str, count: int, text: str = "") -> list[Record]:
    """A header and `count` prompts, each with its answer."""
    records = [header(sid)]
    for n in range(count):
        records += [prompt(f"q-{n}", t=1001.0 + n), answer(f"q-{n}", text or f"a{n}", 1001.5 + n)]
    return records


def final(t: float = 1003.0, **outcome: Any) -> Record:
    status = "error" if "error" in outcome else "completed"
    return {"kind": "final", "status": status, **(outcome or {"result": 1}), "t": t}


def write(path: Path, records: Sequence[Record], *, age_s: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(journal_lines.encode(record, 0) for record in records))
    then_s = time.time() - age_s
    os.utime(path, (then_s, then_s))
    return path
