"""Fixtures for tests with real workers: a home per test, and a check that the test leaves nothing behind."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.pool import spawn
from tests.rig.rig import Rig

FOREIGN = {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4711", "LC_ALL": "C", "PYTHONMALLOC": "malloc"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# The conversations that the promises are about: with the journals of a home, and with rows of a database.
on_both_storages = pytest.mark.parametrize("rig", ["home", "database"], indirect=True)


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Fails a test that leaves a process, a socket, a temporary file or a crash report behind."""
    if sys.platform != "linux":
        pytest.skip("reads processes, descriptors and process sessions from /proc")
    is_node = getattr(request, "param", "home") == "database"
    rig = Rig(request.getfixturevalue("database") if is_node else None)
    try:
        yield rig
    finally:
        leaks = rig.end()
    assert not leaks, "left behind: " + "; ".join(leaks)


@pytest.fixture
def use_foreign_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """A function: from its call on, workers have another environment, directory, time zone and locale than the test."""
    own = spawn.worker_environment

    def environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
        return own(home, environ) | FOREIGN

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, **options | {"cwd": tmp_path})

    def use() -> None:
        monkeypatch.setattr(spawn, "worker_environment", environment)
        monkeypatch.setattr(spawn, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))

    return use
