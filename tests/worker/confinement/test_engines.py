"""Engines are confined by the kernel, and everything says how far."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from algocline_mcp.config.sandbox import Sandbox, probe
from algocline_mcp.errors import HomeUnusable, Refused
from algocline_mcp.pool.dispatch import list_via_pool, view_via_pool
from tests.rig.rig import ASK_ONCE, ASK_TWICE, Rig, finish, run, say, until

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")]

HOST = probe({})
FORK = 'return alc.fork({ "child" }, {})'
CHILD = 'return { run = function() return alc.llm("of the child") end }'
# Runs `alc run -` where these system calls do not exist, as on an older kernel.
OLDER = """
import ctypes, os, platform, sys
from algocline_mcp.worker.confinement import bpf
from algocline_mcp.worker.confinement.confinement import _Program
from algocline_mcp.worker.confinement.system_calls import ARCHITECTURES
failing = {int(number): 38 for number in sys.argv[1].split(",")}
program = bpf.allow_list(ARCHITECTURES[platform.machine()].audit, {}, failing=failing, default=bpf.ALLOW)
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(_Program(len(program), bpf.encode(program))), 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "algocline_mcp", "run", *sys.argv[2:]])
"""
CREATE_RULESET, RESTRICT_SELF = "444", "446"
seccomp_needed = pytest.mark.skipif(not HOST.seccomp, reason="this kernel takes no seccomp filter")


def layers_of(pid: int) -> tuple[int, int]:
    """NoNewPrivs and Seccomp as /proc has them; 2 is a filter."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["NoNewPrivs"]), int(status["Seccomp"])


async def level_of(rig: Rig, mode: str, way: str) -> tuple[tuple[int, int], list[str]]:
    """The layers of an engine, and what header, summary and list say."""
    async with rig.pool(environ={**os.environ, "ALC_SANDBOX": mode, "ALC_SPAWN": way}) as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        layers = layers_of(rig.engine(sid))
        (header,) = rig.records(sid, "header")
        summary = await view_via_pool(pool, sid, "summary")
        listing = await list_via_pool(pool)
        end = (await say(pool, sid, "q-0", "A")).result
    assert end["result"] == "got A"
    return layers, [header["sandbox"], summary["sandbox"], listing["sandbox"]]


@pytest.mark.parametrize("way", ["fork", "exec"])
async def test_engine_has_every_layer_of_this_kernel_and_the_session_says_so(rig: Rig, way: str) -> None:
    before = layers_of(os.getpid())

    layers, levels = await level_of(rig, "standard", way)

    assert layers == (1, 2 if HOST.seccomp else before[1])
    assert set(levels) == {HOST.level}


async def test_engine_of_a_session_with_the_sandbox_off_has_no_filter(rig: Rig) -> None:
    layers, levels = await level_of(rig, "off", "fork")

    assert layers[1] == layers_of(os.getpid())[1]
    assert set(levels) == {"off"}


async def test_limits_of_an_engine_hold_under_the_confinement(rig: Rig) -> None:
    """Some are measured from a file of /proc, which a confined process cannot open."""
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        limits = {
            number: resource.prlimit(rig.engine(sid), number)
            for number in (resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
        }

    assert limits[resource.RLIMIT_NOFILE] == (4, 4)
    assert limits[resource.RLIMIT_CORE] == (0, 0)
    for number in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE):
        assert limits[number][0] == limits[number][1] != resource.RLIM_INFINITY


@seccomp_needed
async def test_child_of_a_fork_and_an_engine_after_a_crash_are_confined_too(rig: Rig) -> None:
    rig.home.packages.mkdir(parents=True)
    (rig.home.packages / "child.lua").write_text(CHILD)
    async with rig.pool() as pool:
        sid, *_ = await run(pool, FORK)
        children = [layers_of(pid) for pid in rig.engines(sid)]
        other, *_ = await run(pool, ASK_TWICE)
        first = rig.engine(other)
        os.kill(first, signal.SIGKILL)
        await until(lambda: first not in rig.engines(other))
        await say(pool, other, "q-0", "A")
        replaced = layers_of(rig.engine(other))
        await finish(pool, await say(pool, other, "q-1", "B"))

    assert children == [(1, 2)] * 2
    assert replaced == (1, 2)


@seccomp_needed
async def test_keeper_and_fork_server_have_no_filter(rig: Rig) -> None:
    """They open files: a filter that reached them would end every session."""
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        assert pool.fork_server.pid is not None
        filters = {layers_of(pid)[1] for pid in (rig.keeper(sid), pool.fork_server.pid)}

    assert filters == {layers_of(os.getpid())[1]}


async def test_strict_without_a_layer_starts_no_session_and_writes_nothing(rig: Rig) -> None:
    async with rig.pool() as pool:
        pool.fork_server._sandbox = Sandbox("strict", no_new_privs=True, landlock_abi=0, seccomp=True)
        with pytest.raises(Refused, match="this machine has no landlock, so no strategy runs") as caught:
            await run(pool, ASK_ONCE)

        assert caught.value.code == "sandbox_incomplete"
        assert list(rig.home.sessions.glob("*.journal")) == []


async def test_unknown_mode_is_named_before_anything_starts(rig: Rig) -> None:
    with pytest.raises(HomeUnusable, match="ALC_SANDBOX='on' is not a mode"):
        async with rig.pool(environ={**os.environ, "ALC_SANDBOX": "on"}):
            pass


def run_on_older(rig: Rig, missing: str, mode: str) -> subprocess.CompletedProcess[str]:
    code, answers = rig.root / "s.lua", rig.root / "answers.json"
    code.write_text(ASK_ONCE)
    answers.write_text(json.dumps(["A"]))
    environ = {**os.environ, "ALC_HOME": str(rig.home.root), "ALC_SANDBOX": mode}
    command = [sys.executable, "-c", OLDER, missing, str(code), "--answers", str(answers)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
@seccomp_needed
def test_kernel_without_landlock_gets_the_other_layers_and_strict_refuses(rig: Rig) -> None:
    strict = run_on_older(rig, CREATE_RULESET, "strict")
    before = list(rig.home.sessions.glob("**/*.journal"))
    standard = run_on_older(rig, CREATE_RULESET, "standard")

    assert strict.returncode != 0
    assert "ALC_SANDBOX=strict, and this machine has no landlock, so no strategy runs: use Linux 5.13" in strict.stderr
    assert before == []
    assert standard.stdout.strip() == "got A"
    (path,) = rig.home.finished.glob("*.journal")
    assert '"sandbox":"standard: no_new_privs, seccomp; missing: landlock"' in path.read_text()


@pytest.mark.slow
@pytest.mark.skipif(not (HOST.seccomp and HOST.landlock_abi), reason="this kernel has no Landlock or no filters")
def test_layer_that_the_kernel_refuses_at_the_last_moment_runs_no_code_and_is_named(rig: Rig) -> None:
    ended = run_on_older(rig, RESTRICT_SELF, "standard")

    assert ended.returncode != 0
    assert (
        "the kernel refused to confine it (its log in log/ says why); ALC_SANDBOX=off runs it without" in ended.stderr
    )
    (log,) = rig.home.log.glob("*.err")
    rig.expected_reports.add(log.name.removesuffix(".err"))
    assert set(log.read_text().splitlines()) == {
        "engine: not confined, so it runs nothing: landlock: Function not implemented"
    }
