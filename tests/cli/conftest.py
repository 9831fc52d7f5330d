"""Commands in this very process, on a home of their own that has a short path and is left without a worker."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result

from algocline_mcp.cli.demo import Server, end_workers
from algocline_mcp.cli.main import alc
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool import dispatch
from algocline_mcp.session.events import Answer
from tests.rig.programs import ROOMY, ROOMY_VARIABLES

LIMIT_S = 120.0  # nothing here takes as long, on a busy machine neither; a test that hangs fails after it
ASK_TWICE = 'alc.log("info", "begun") local a = alc.llm("first") return a .. "+" .. alc.llm("second after " .. a)'


class Terminal:
    def __init__(self, home: Home) -> None:
        self.home = home

    def alc(self, *arguments: str) -> Result:
        return CliRunner().invoke(alc, arguments, prog_name="alc", catch_exceptions=False)

    def session(self, code: str = ASK_TWICE, **fields: Any) -> str:
        """Starts one by exec and returns its id at its first pause, its worker alive."""
        return self._play(lambda pool: dispatch.run_via_pool(pool, dispatch.Strategy(code, **fields), wait_s=LIMIT_S))

    def answer(self, sid: str, *texts: tuple[str, str]) -> str:
        answers = [Answer(query_id, text) for query_id, text in texts]
        return self._play(lambda pool: dispatch.continue_via_pool(pool, sid, answers, wait_s=LIMIT_S))

    def _play(self, call: Any) -> str:
        async def play() -> str:
            with anyio.fail_after(LIMIT_S):
                async with dispatch.Pool(
                    self.home, Limits(**ROOMY), environ=dict(os.environ, ALC_SPAWN="exec")
                ) as pool:
                    return str((await call(pool)).session_id)

        return anyio.run(play)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    for name in [name for name in os.environ if name.startswith("ALC_")]:
        monkeypatch.delenv(name)
    for name, value in ROOMY_VARIABLES.items():
        monkeypatch.setenv(name, value)
    with tempfile.TemporaryDirectory(prefix="alc") as directory:
        home = Home(Path(os.path.realpath(directory)) / "h")
        monkeypatch.setenv("ALC_HOME", str(home.root))
        monkeypatch.setenv("HOME", directory)
        try:
            yield home
        finally:
            end_workers(home)
        deadline_s = time.monotonic() + LIMIT_S
        while list(home.pool.glob("*.sock")):  # a worker whose session is over lingers for a moment
            assert time.monotonic() < deadline_s, "a worker was left behind"
            time.sleep(0.005)


@pytest.fixture
def terminal(home: Home) -> Terminal:
    return Terminal(home)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One real server for all tests of a module."""
    with tempfile.TemporaryDirectory(prefix="alc") as directory:
        home = Home(Path(os.path.realpath(directory)))
        with Server.start(home) as server:
            yield server
        end_workers(home)
