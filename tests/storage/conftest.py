"""Fixtures of the journal's tests: a journal in a file of its own, and counted flushes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from algocline_mcp.storage import journal
from algocline_mcp.storage.journal import Journal
from tests.storage.disk import header


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p-1.journal"


@pytest.fixture
def opened(path: Path) -> Iterator[Journal]:
    created = Journal.create(path, header())
    yield created
    with contextlib.suppress(OSError):
        created.close()


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of the file at each flush of a file."""
    lengths: list[int] = []
    monkeypatch.setattr(journal, "_flush_file", lambda fd: lengths.append(os.fstat(fd).st_size))
    return lengths
