"""Installing from git: revisions, failures, and the end of git."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.packages import install as installation
from algocline_mcp.packages import installed
from tests.packages.steps import RUNS, install, needs_git, refusal, sources, stores
from tests.rig.rig import LIMIT_S, wait_until_ended


@needs_git
def test_git_fetches_the_head_or_the_named_revision(home: Home, repository: Path) -> None:
    url = repository.as_uri()
    result = install(home, url)

    assert result["installed"] == ["one", "two"]
    assert len(result["commit"]) == 40
    assert sources(home)["one"] == RUNS % (2, "one")
    assert install(home, f"{url}#v1", force=True)["commit"] != result["commit"]
    assert sources(home)["one"] == RUNS % (1, "one")
    assert installed.provenance(home, "one")["source"] == f"{url}#v1"
    assert install(home, f"{url}#{result['commit']}", force=True)["commit"] == result["commit"]
    assert not list(home.packages.glob("**/.git")), "the history stays where it was"


@needs_git
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda url: f"{url}-gone", "git clone failed: file://"),
        (lambda url: f"{url}#nowhere", "couldn't find remote ref nowhere"),
        (lambda url: f"{url}#--upload-pack=touch", "git clone failed"),
    ],
)
def test_a_failed_fetch_is_one_sentence(home: Home, repository: Path, make: Any, sentence: str) -> None:
    sentence_shown = refusal(install, home, make(repository.as_uri()))

    assert sentence in sentence_shown
    assert "\n" not in sentence_shown
    assert sources(home) == {}
    assert stores(home) == []


@pytest.fixture
def stuck_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git that hangs with a child of its own. The file is a pipe with the pids of both."""
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nsleep 600 & echo $$ $! > "{pids}"; wait\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return pids


@pytest.mark.slow
def test_a_git_that_hangs_is_ended_with_its_children(home: Home, stuck_git: Path) -> None:
    pids: list[int] = []

    async def install_stuck() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_pids)
            await installation.install_package(home, Limits(), "https://x.invalid/x", fetch_s=2.0)

    async def read_pids() -> None:
        text = await anyio.to_thread.run_sync(stuck_git.read_text)
        pids.extend(map(int, text.split()))

    with pytest.raises(BaseExceptionGroup) as caught:
        anyio.run(install_stuck)
    assert caught.group_contains(Refused, match=r"git clone timed out after 2s: https://x.invalid/x")
    assert len(pids) == 2
    assert all(wait_until_ended(pid, LIMIT_S) for pid in pids)
    assert stores(home) == []


@needs_git
def test_git_ends_with_the_process_that_started_it(home: Home, stuck_git: Path) -> None:
    command = [sys.executable, "-m", "algocline_mcp", "pkg", "install", "https://x.invalid/x"]
    environ = {**os.environ, "ALC_HOME": str(home.root)}
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as asking:
        pids = [int(pid) for pid in stuck_git.read_text().split()]
        asking.kill()

    assert len(pids) == 2
    assert all(wait_until_ended(pid, LIMIT_S) for pid in pids)
    assert len(stores(home)) == 1
    with pytest.raises(Refused, match="timed out"):
        install(home, "https://x.invalid/x", fetch_s=0.05)
    assert stores(home) == []
