"""Log of a session that this terminal plays: what the strategy prints and logs, as it comes into the journal.

Contract: `lines` returns the new lines and never waits. A long step is looked at with each progress notification, so at
the latest after five seconds. The journal is read from where the last look ended, so a look costs the same however long
the session is, and nothing is lost when the journal moves to the finished ones: the file stays open. A session whose
journal cannot be read has no lines.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from algocline_mcp.config.home import Home
from algocline_mcp.session.records import Record
from algocline_mcp.storage.journal import READ
from algocline_mcp.storage.journal_lines import decode


class LiveLog:
    def __init__(self, home: Home, sid: str, *, is_new: bool) -> None:
        """`is_new`: the lines of the whole session; else those that come from now on."""
        self.schemas: dict[str, Any] = {}  # of the prompts that were asked: by the id of the query
        self._file = _opened(home.journal(sid)) or _opened(home.finished_journal(sid))
        self._end = 0  # of the last complete line that was read
        if self._file is not None and not is_new:
            self._end = os.fstat(self._file.fileno()).st_size

    def lines(self, *, with_phases: bool = True) -> Iterator[str]:
        if self._file is None:
            return
        with suppress(OSError):
            self._file.seek(self._end)
            for line in self._file:
                if not line.endswith(b"\n"):  # it is just being written
                    return
                self._end += len(line)
                record = decode(line[:-1])
                if record is not None and record.get("kind") == "prompt":
                    self.schemas |= schemas_of(record["queries"])
                if record is not None and record.get("kind") == "note" and (with_phases or "phase" not in record):
                    yield from _shown(record)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def schemas_of(queries: Iterable[Record]) -> dict[str, Any]:
    """By the id of the query."""
    return {query["id"]: query["schema"] for query in queries if "schema" in query}


def _opened(path: Path) -> BinaryIO | None:
    try:
        return open(os.open(path, READ), "rb")
    except OSError:
        return None


def _shown(record: Record) -> Iterator[str]:
    """A warning of the program comes with the result of the call, and progress as a notification."""
    if "message" in record and "warning" not in record:
        level = "" if record["level"] == "info" else f"{record['level']}: "
        child = f"[{record['stream']}] " if record.get("stream") else ""
        yield f"{child}{level}{record['message']}"
