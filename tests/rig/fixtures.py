"""One home per test, and a check that nothing of it is left when the test is over."""

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


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Fails the test that leaves a process, a socket, a draft or a crash report behind."""
    if sys.platform != "linux":
        pytest.skip("processes, descriptors and process sessions are looked at through /proc")
    rig = Rig()
    try:
        yield rig
    finally:
        leaks = rig.end()
    assert not leaks, "left behind: " + "; ".join(leaks)


@pytest.fixture
def abroad(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """From the call on, workers are started in another world than ours."""
    own = spawn.worker_environment

    def environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
        return own(home, environ) | FOREIGN

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, **options | {"cwd": tmp_path})

    def leave() -> None:
        monkeypatch.setattr(spawn, "worker_environment", environment)
        monkeypatch.setattr(spawn, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))

    return leave
