"""Another program of the same user can neither trace nor read a process of this program that lasts."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.attacks.tracing import READING
from tests.rig.processes import Process, processes_of, until
from tests.rig.rig import ASK_ONCE, ORDINARY
from tests.rig.stdio_home import StdioHome, call_tool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROOT = Path(__file__).parents[2]
ROLES = {"mcp-server", "fork-server", "pool-worker", "engine"}


def role_of(process: Process) -> str:
    return next((role for role in ROLES if role in process.title), "front")


def attempt(pid: int) -> dict[str, str]:
    command = [*ORDINARY, sys.executable, "-m", "tests.attacks.tracing", str(pid)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    outcome: dict[str, str] = json.loads(ended.stdout)
    return outcome


def attempts(home: StdioHome) -> dict[str, dict[str, str]]:
    """Role of each process of a server with a paused session -> what another program gets from it."""
    outcome = {}

    async def play() -> None:
        async with home.client(prefix=ORDINARY) as client:
            sid = (await call_tool(client, "alc_run", code=ASK_ONCE))["session_id"]
            server = next(process.pid for process in processes_of(home.root) if role_of(process) == "mcp-server")
            if home.environment.get("ALC_SANDBOX") != "off":
                await until(lambda: attempt(server)["environment"] != "reached")  # a second after its start
            outcome.update({role_of(process): attempt(process.pid) for process in processes_of(home.root)})
            await call_tool(client, "alc_stop", session_id=sid, mode="cancel")

    anyio.run(play)
    return outcome


@pytest.mark.parametrize("way", ["fork", "exec"])
def test_no_process_but_the_front_can_be_read_or_traced(stdio_home: StdioHome, way: str) -> None:
    stdio_home.environment |= {"ALC_SPAWN": way, "ALC_STANDBY": "0"}

    outcome = attempts(stdio_home)

    reached = {role: [name for name in tried if tried[name] == "reached"] for role, tried in outcome.items()}
    assert reached.pop("front")
    assert reached == {role: [] for role in ROLES if way == "fork" or role != "fork-server"}


def test_control_with_the_sandbox_off_each_process_can_be_read(stdio_home: StdioHome) -> None:
    stdio_home.environment |= {"ALC_SANDBOX": "off", "ALC_STANDBY": "0"}

    outcome = attempts(stdio_home)

    read = {role: {tried[name] for name in READING} for role, tried in outcome.items()}
    assert read == {role: {"reached"} for role in {*ROLES, "front"}}
