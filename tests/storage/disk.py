"""Records for the tests of the journal, and what a failing disk does."""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from typing import Any

from algocline_mcp.session.records import Record
from algocline_mcp.storage.journal_lines import encode

NOTE: Record = {"kind": "note", "message": "m"}
GOOD = encode(NOTE, 0)


def header() -> Record:
    return {"kind": "header", "code": "return 1"}


def kinds(records: list[Record]) -> list[str]:
    return [record["kind"] for record in records]


def failing(number: int) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What a full disk does: a write that begins below the limit is cut short, later ones fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
