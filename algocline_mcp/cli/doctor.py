"""`alc doctor`: checks everything that a session needs, one line each, and names the cure for each problem.

Contract: returns 0 if all lines say ok, otherwise 1. It makes the directories of the home, as a server does. It starts
one session, cancels it and removes its journal. It starts the MCP server where the replies to a host's first requests
are not saved yet.
"""

import json
import os
import platform
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import anyio

from algocline_mcp import __version__
from algocline_mcp.cli import first_start
from algocline_mcp.cli.hosts import hosts_with_entry, own_entry
from algocline_mcp.config import sandbox, settings
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError
from algocline_mcp.history import retention
from algocline_mcp.languages import LANGUAGES, LUA, PYTHON
from algocline_mcp.pool import dispatch, spawn
from algocline_mcp.pool.registry import CORRUPT_SUFFIX, PoolRegistry
from algocline_mcp.storage import home_setup
from algocline_mcp.storage.owners import parts_of

_PROBE = 'return alc.llm("alc doctor")'
_PROBE_SID = "p-" + "f" * 16 + "-" + "0" * 16
_WORKER_S = 10.0
_CANARY_S = 10.0
_PARTS = (
    "mcp",
    "anyio",
    "pydantic",
    "portalocker",
    "click",
    *{language.distribution for language in LANGUAGES.values() if language.distribution},
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. `cure` is None without a problem."""

    what: str
    seen: str
    cure: str | None = None

    def __str__(self) -> str:
        mark = "ok     " if self.cure is None else "PROBLEM"
        line = f"{mark}  {self.what:<12}  {self.seen}"
        return line if self.cure is None else f"{line}\n         {'':<12}  → {self.cure}"


def examine(say: Callable[[str], object], environ: Mapping[str, str] = os.environ) -> int:
    problems = 0
    for finding in findings(environ):
        say(str(finding))
        problems += finding.cure is not None
    say("\nno problem found" if not problems else f"\n{problems} problem{'s' if problems > 1 else ''} found")
    return 1 if problems else 0


def findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The lines. They stop early if a later line could only repeat an earlier problem."""
    yield Finding("alc", f"{__version__}, {Path(__file__).parents[1]}")
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}, {platform.system()} {platform.release()}")
    yield _parts()
    yield _in_path(environ)
    yield _hosts()
    try:
        home, limits = Home.from_env(environ), Limits.from_env(environ)
        is_forking = spawn.is_forking(environ)
        retention.keep_of(environ)
        settings.tool_set(environ)
        sandbox.check_settings(environ)
    except AlcError as exc:
        yield _wrong("settings", exc)
        return
    yield _settings(environ)
    yield from (Finding("settings", seen, cure) for seen, cure in settings.slips(environ))
    try:
        home_setup.prepare(home)
    except AlcError as exc:
        yield _wrong("home", exc)
        return
    yield _permissions(home)
    yield Finding("file system", "makes, locks, flushes and renames files, binds sockets")
    yield _room(home)
    yield _first_start(environ)
    if is_forking:
        yield anyio.run(_fork_server, home, limits, environ)
    else:
        yield Finding("fork server", "not used here; workers are started by exec")
    yield _sandbox(home, environ)
    yield _languages(sandbox.probe(environ))
    yield anyio.run(_worker, home, limits, environ)
    yield _registry(home)  # the pools above have set a damaged registry aside


def _wrong(what: str, error: AlcError) -> Finding:
    """A finding from an error, whose sentence ends with the cure."""
    seen, _, cure = str(error).rpartition(": ")
    return Finding(what, seen or str(error), cure)


def _parts() -> Finding:
    installed, missing = [], []
    for name in _PARTS:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    cure = f"install algocline-mcp again: {', '.join(missing)} is missing" if missing else None
    return Finding("parts", ", ".join(installed), cure)


def _in_path(environ: Mapping[str, str]) -> Finding:
    own = os.path.realpath(Path(sys.executable).with_name("alc"))
    programs: list[str] = []
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        candidate = os.path.join(directory or ".", "alc")
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate) and candidate not in programs:
            programs.append(candidate)
    if not programs:
        return Finding("PATH", f"no alc in it; hosts and shells use the absolute path {own}")
    if os.path.realpath(programs[0]) != own:
        cure = f"give hosts the absolute path {own}, or put its directory first in PATH"
        return Finding("PATH", f"alc is {programs[0]}, which is another program than this one", cure)
    others = f"; further down: {', '.join(programs[1:])}" if len(programs) > 1 else ""
    return Finding("PATH", f"alc is this program{others}")


def _hosts() -> Finding:
    names = ", ".join(f"{title} ({path})" for title, path in hosts_with_entry())
    return Finding("hosts", names or "none that alc config knows has alc yet: alc config HOST --write")


def _first_start(environ: Mapping[str, str]) -> Finding:
    if first_start.save_replies(own_entry(environ), environ):
        return Finding("first start", "the replies to a host's first requests are saved")
    return Finding("first start", "the first start in a host takes a second longer: its replies could not be saved")


def _settings(environ: Mapping[str, str]) -> Finding:
    names = sorted(name for name in environ if name.startswith("ALC_"))
    return Finding("settings", ", ".join(f"{name}={environ[name]}" for name in names) or "no ALC_… is set")


def _permissions(home: Home) -> Finding:
    for path in (home.root, home.pool, home.sessions, home.finished, home.log):
        status = path.stat()
        if status.st_uid != os.geteuid():
            return Finding("home", f"{path} belongs to user {status.st_uid}", f"chown it to user {os.geteuid()}")
    mode = stat.S_IMODE(home.root.stat().st_mode)
    cure = f"chmod 700 {home.root}" if mode & 0o077 else None
    others = ", others can read it" if cure else ", readable by you alone"
    return Finding("home", f"{home.root} (mode {mode:o}{others})", cure)


def _room(home: Home) -> Finding:
    parts = parts_of(home)
    unfinished = sum(len(list(part.sessions.glob("p-*.journal"))) for part in parts)
    finished = sum(len(list(part.finished.glob("p-*.journal"))) for part in parts)
    system = os.statvfs(home.root)
    free_mib = system.f_bavail * system.f_frsize // 2**20
    cure = "free some space, or set ALC_HOME to another disk" if free_mib < 64 else None
    return Finding("room", f"{unfinished} sessions unfinished, {finished} finished, {free_mib} MiB free", cure)


def _registry(home: Home) -> Finding:
    damaged = sorted(home.pool.glob(f"{home.registry.name}{CORRUPT_SUFFIX}*"))
    try:
        live = len(PoolRegistry.load(home.registry).sessions)
    except (OSError, ValueError) as exc:
        sentence = str(exc).partition("\n")[0]
        return Finding(
            "registry", f"{home.registry}: {sentence}", "remove the file: nothing is lost, the server makes it again"
        )
    if damaged:
        seen = f"{len(damaged)} set aside as damaged, and replaced: {damaged[-1]}"
        return Finding(
            "registry", seen, "nothing is lost; check whether the disk was full or lost power, then delete that file"
        )
    return Finding("registry", f"{live} live worker{'' if live == 1 else 's'} listed")


def _sandbox(home: Home, environ: Mapping[str, str]) -> Finding:
    """An engine tries to get out: what is said to hold is what has held."""
    command = [sys.executable, "-s", "-P", "-m", "algocline_mcp", "engine-canary"]
    try:
        ended = subprocess.run(
            command,
            env=spawn.worker_environment(home, environ),
            capture_output=True,
            text=True,
            check=True,
            timeout=_CANARY_S,
        )
        tried = json.loads(ended.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        sentence = (getattr(exc, "stderr", None) or str(exc)).strip().partition("\n")[0]
        return Finding("sandbox", sentence, "set ALC_SANDBOX=off to run strategies without it")
    try:
        sandbox.probe(environ).require(LUA.name)
    except AlcError as exc:
        return _wrong("sandbox", exc)
    return _judge_sandbox(tried["level"], ", ".join(tried["reached"]))


def _judge_sandbox(level: str, reached: str) -> Finding:
    if not reached:
        return Finding("sandbox", f"{level}; an engine that tried to get out reached nothing")
    if level == "off" or "missing" in level:
        return Finding("sandbox", f"{level}; a strategy that breaks out of Lua could: {reached}")
    return Finding(
        "sandbox",
        f"{level}, and yet an engine could: {reached}",
        "run only strategies of people you trust, and report this",
    )


def _languages(has: sandbox.Sandbox) -> Finding:
    """In which languages strategies run here. That Python is refused is no problem: Lua runs everywhere."""
    lua, python = LUA.interpreter, PYTHON.interpreter
    if (why := has.refusal_of(PYTHON.name)) is not None:
        return Finding("strategies", f"in {lua} alone: {why}")
    unconfined = [layer for layer in sandbox.PYTHON_LAYERS if layer in has.missing or has.mode == "off"]
    note = "; Python is confined by nothing here: run only strategies of people you trust" if unconfined else ""
    return Finding("strategies", f"in {python} and {lua}{note}")


async def _fork_server(home: Home, limits: Limits, environ: Mapping[str, str]) -> Finding:
    began_s = time.monotonic()
    async with dispatch.Pool(home, limits, environ=environ) as pool:
        with anyio.move_on_after(limits.fork_start_s + 1):
            await pool.fork_server.started()
        if pool.fork_server.warning is None and pool.fork_server.pid is not None:
            return Finding("fork server", f"ready after {(time.monotonic() - began_s) * 1000:.0f} ms")
    why = pool.fork_server.warning or f"not ready within {limits.fork_start_s:g} s"
    return Finding("fork server", why, "set ALC_SPAWN=exec to work without it")


async def _worker(home: Home, limits: Limits, environ: Mapping[str, str]) -> Finding:
    began_s = time.monotonic()
    sid = None
    try:
        async with dispatch.Pool(home, limits, environ=dict(environ, ALC_SPAWN="exec")) as pool:
            with anyio.fail_after(_WORKER_S):
                strategy = dispatch.Strategy(_PROBE, title="alc doctor")
                sid, state, save_error = await dispatch.run_via_pool(pool, strategy, wait_s=_WORKER_S / 2)
                asked_s = time.monotonic()
                await dispatch.stop_via_pool(pool, sid, "cancel")
                await pool.wait_for_exit(sid, limits.leave_s)  # its journal is then in finished/
    except (AlcError, TimeoutError) as exc:
        cure = f"look at {home.log}, and at the limits of processes and memory (ulimit -a)"
        return Finding("worker", str(exc) or f"no answer within {_WORKER_S:g} s", cure)
    finally:
        if sid is not None:
            with suppress(OSError):
                home.finished_journal(sid).unlink()
    if state["status"] != "needs_response":
        return Finding("worker", f"the strategy did not pause: {state}", "install algocline-mcp again")
    if save_error is not None:
        return Finding(
            "worker", save_error, f"find the process that holds {home.registry_lock}, for example with: fuser"
        )
    took = f"first prompt after {(asked_s - began_s) * 1000:.0f} ms by exec"
    return Finding("worker", f"{took}, stopped after {(time.monotonic() - asked_s) * 1000:.0f} ms more")
