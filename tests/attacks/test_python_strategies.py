"""Strategies in Python that attack: none gets out of its engine, and each attack works where the kernel does not hold
it. What they misuse or break ends with an error of the session, and another session goes on meanwhile."""

import contextlib
import os
import platform
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.limits import MIB
from algocline_mcp.config.sandbox import probe
from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import Pool, stop_via_pool
from tests.attacks import python_attacks as attacks
from tests.attacks import python_misbehaviour as misbehaviour
from tests.rig.rig import Rig, run, say, until
from tests.rig.undisturbed import undisturbed

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(not probe({}).seccomp, reason="this kernel takes no seccomp filter"),
]
DENIED = {"EPERM", "RuntimeError: can't start new thread"}
FILES = ("id_rsa", "victim", "renamed", "removed")
# Lets any process of the same user trace it.
VICTIM = """
import ctypes, signal
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_long(-1))
kept = ctypes.create_string_buffer(b"a secret")
print(ctypes.addressof(kept), flush=True)
signal.pause()
"""


@contextmanager
def victims(directory: Path) -> Iterator[dict[str, Any]]:
    """A directory, a process and servers, as an attacker could know them."""
    for name in FILES:
        (directory / name).write_bytes(b"x" * 16)
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE))
        stack.callback(process.kill)
        assert process.stdout is not None
        address = int(process.stdout.readline())
        tcp, udp, abstract = (
            stack.enter_context(socket.socket(family, kind))
            for family, kind in (
                (socket.AF_INET, socket.SOCK_STREAM),
                (socket.AF_INET, socket.SOCK_DGRAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
            )
        )
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        abstract.bind(f"\0alc{process.pid}".encode())
        tcp.listen()
        abstract.listen()
        yield {
            "directory": os.fspath(directory),
            "machine": platform.machine(),
            "victim": process.pid,
            "address": address,
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "abstract": f"alc{process.pid}",
        }


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@asynccontextmanager
async def other_session(rig: Rig, pool: Pool) -> AsyncIterator[dict[str, str]]:
    """Its journal and the socket of its keeper."""
    sid, *_ = await run(pool, "import alc\nalc.llm('other')", language="python")
    yield {"journal": os.fspath(rig.journal(sid)), "keeper": os.fspath(rig.home.socket(sid))}
    await stop_via_pool(pool, sid, "cancel")


async def outcomes(rig: Rig, directory: Path, environ: Mapping[str, str], names: list[str]) -> dict[str, str]:
    outcome: dict[str, str] = {}
    with victims(directory) as known:
        async with rig.pool(environ={**os.environ, **environ}) as pool, other_session(rig, pool) as other:
            for name in names:
                code = attacks.code_of(attacks.ATTACKS[name])
                end = (await run(pool, code, language="python", ctx=known | other)).result
                outcome[name] = str(end.get("result", end))
    return outcome


async def test_no_attack_gets_through(rig: Rig, tmp_path: Path) -> None:
    outcome = await outcomes(rig, tmp_path, {}, list(attacks.ATTACKS))

    assert {name: error for name, error in outcome.items() if error not in DENIED} == {}
    assert contents(tmp_path) == dict.fromkeys(FILES, b"x" * 16)
    assert len(outcome) >= 30


async def test_every_attack_gets_through_without_the_confinement(rig: Rig, tmp_path: Path) -> None:
    names = [name for name in attacks.ATTACKS if name not in attacks.PERHAPS]
    outcome = await outcomes(rig, tmp_path, {"ALC_SANDBOX": "off"}, names)

    assert {name: error for name, error in outcome.items() if error != "reached"} == {}


async def test_nothing_of_another_session_or_of_the_server_is_in_an_engine(rig: Rig) -> None:
    parts = ["se", "cr", "et", "-4711"]
    secret = "".join(parts)
    environ = os.environ | {"OPENAI_API_KEY": secret}
    async with rig.pool(environ=environ) as pool:
        code = f"import alc\nkept = [ctx['key'], alc.llm('{secret}')]\nalc.llm(kept[1])"
        sid, *_ = await run(pool, code, language="python", ctx={"key": secret})
        await say(pool, sid, "q-0", secret)
        other = (await run(pool, attacks.SCAN, language="python", ctx={"parts": parts, "is_control": False})).result
        own = (await run(pool, attacks.SCAN, language="python", ctx={"parts": parts, "is_control": True})).result
        await stop_via_pool(pool, sid, "cancel")

    clean = {"variables": False, "objects": 0, "pages": 1}  # its own copy
    assert {name: other["result"][name] for name in clean} == clean, other
    assert own["result"]["objects"] == 1, own
    assert other["result"]["looked_at"] > 1000, other


@pytest.mark.parametrize("group", misbehaviour.GROUPS)
async def test_misbehaviour_ends_with_an_error_and_another_session_goes_on(rig: Rig, group: str) -> None:
    cases, limits = misbehaviour.GROUPS[group]
    ends: dict[str, Any] = {}
    async with rig.pool(**misbehaviour.LIMITS | limits) as pool, undisturbed(pool):
        for name, case in cases.items():
            sid, ends[name], _ = await run(pool, case.code, language="python")
            rig.expected_reports.add(sid)
            if ends[name].get("error_code") == "crash_loop":
                await stop_via_pool(pool, sid, "cancel")

    died = {name for name, end in ends.items() if cases[name].may_die and end.get("error_code") == "crash_loop"}
    outcome = {name: (end["status"], end.get("error_code")) for name, end in ends.items() if name not in died}
    expected = {name: case for name, case in cases.items() if name not in died}
    assert all("the engine died" in ends[name]["error"] for name in died), ends
    assert outcome == {name: ("error", case.error_code) for name, case in expected.items()}
    assert {name: ends[name]["error"] for name, case in expected.items() if case.word not in ends[name]["error"]} == {}


async def test_flood_of_log_lines_is_cut_and_the_strategy_goes_on(rig: Rig) -> None:
    async with rig.pool(**misbehaviour.LIMITS) as pool, undisturbed(pool):
        for name, code in misbehaviour.FLOODS.items():
            sid, end, _ = await run(pool, code, language="python")
            rig.expected_reports.add(sid)
            path = rig.home.finished_journal(sid)
            await until(path.exists)

            assert end.get("result") == 1, (name, end)
            assert path.stat().st_size < 2 * MIB, name


async def test_child_of_a_fork_has_its_smaller_memory(rig: Rig) -> None:
    rig.home.packages.mkdir(parents=True)
    (rig.home.packages / "greedy.py").write_text("def run(ctx):\n    return len(bytearray(200 << 20))\n")
    code = "import alc\nown = len(bytearray(200 << 20))\n[own, alc.fork(['greedy'], {})]"
    async with rig.pool(heap_bytes=256 * MIB, child_heap_bytes=8 * MIB) as pool:
        end = (await run(pool, code, language="python")).result

    assert end.get("result", [0])[0] == 200 * MIB, end
    assert "out of memory" in str(end["result"][1]), end


async def test_what_a_strategy_changes_in_its_interpreter_stays_in_its_engine(rig: Rig) -> None:
    code = "import alc, json, sys\njson.dumps = json.loads = alc.parse_number = None\nsys.modules.clear()\n1"
    async with rig.pool(strikes=1) as pool:
        changed, *_ = await run(pool, code, language="python")
        end = (await run(pool, "import alc, json\njson.dumps([alc.parse_number('7')])", language="python")).result
        with contextlib.suppress(Refused):
            await stop_via_pool(pool, changed, "cancel")
    rig.expected_reports.add(changed)

    assert end.get("result") == "[7]", end
