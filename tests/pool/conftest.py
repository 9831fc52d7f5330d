"""One home per test, and a check that nothing of it is left when the test is over."""

import sys
from collections.abc import Iterator

import pytest

from .rig import Rig

# What is looked at here (processes, descriptors, process sessions) stands in /proc.
collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Fails the test that leaves a process, a socket, a draft or a crash report behind."""
    rig = Rig()
    try:
        yield rig
    finally:
        leaks = rig.end()
    assert not leaks, "left behind: " + "; ".join(leaks)
