"""A home that breaks, before its server starts or while it runs, and is cured: the next call works."""

import resource
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tests.rig.processes import processes_of
from tests.rig.rig import ORDINARY
from tests.rig.stdio_home import StdioHome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="prlimit and setpriv"),
]
TWICE = "return alc.llm('one') .. alc.llm('two')"
CURES = ("or set ALC_HOME elsewhere", "free some space")


class Broken:
    """A way to break a home. Looking works where `is_readable`; a session goes on where `takes_answers`."""

    prefix: Sequence[str] = ()
    is_readable = False

    def spoil(self, home: StdioHome) -> None:
        raise NotImplementedError

    def cure(self, home: StdioHome) -> None:
        raise NotImplementedError


class ReadOnly(Broken):
    prefix = ORDINARY
    is_readable = True

    def spoil(self, home: StdioHome) -> None:
        self._set_modes(home, directory=0o500, file=0o400)

    def cure(self, home: StdioHome) -> None:
        self._set_modes(home, directory=0o700, file=0o600)

    def _set_modes(self, home: StdioHome, *, directory: int, file: int) -> None:
        for path in sorted(home.root.rglob("*")):
            if not path.is_socket():
                path.chmod(directory if path.is_dir() else file)


class Full(Broken):
    """No process of the home can write a byte more."""

    prefix = ("prlimit", "--fsize=0:unlimited")
    is_readable = True

    def spoil(self, home: StdioHome) -> None:
        self._limit(home, 0)

    def cure(self, home: StdioHome) -> None:
        self._limit(home, resource.RLIM_INFINITY)

    def _limit(self, home: StdioHome, size: int) -> None:
        while any(self._is_changed(process.pid, size) for process in processes_of(home.root)):
            pass  # once more: a process that was forked meanwhile has the limit of before

    def _is_changed(self, pid: int, size: int) -> bool:
        with suppress(OSError):
            limits = (size, resource.RLIM_INFINITY)
            return resource.prlimit(pid, resource.RLIMIT_FSIZE, limits) != limits
        return False


class Replaced(Broken):
    """Something else has the name of the home."""

    def spoil(self, home: StdioHome) -> None:
        home.root.rename(_aside(home))
        self.replace(home.root)

    def replace(self, root: Path) -> None:
        root.touch()

    def cure(self, home: StdioHome) -> None:
        home.root.unlink()
        _aside(home).rename(home.root)


class Loop(Replaced):
    def replace(self, root: Path) -> None:
        root.symlink_to(root)


class Link(Loop):
    """It lies elsewhere now, and a loop of links has its name until that is repaired."""

    def cure(self, home: StdioHome) -> None:
        home.root.unlink()
        home.root.symlink_to(_aside(home))


def _aside(home: StdioHome) -> Path:
    return home.root.with_name("aside")


@pytest.fixture
def inner_home(stdio_home: StdioHome) -> StdioHome:
    """A home in a directory that its test may change; the workers of the outer one, which has none, are checked."""
    return StdioHome(stdio_home.root / "home")


async def _call(client: Client, tool: str, **arguments: Any) -> tuple[bool, dict[str, Any], str]:
    """(whether it is an error, the structured content, the text)."""
    reply = await client.call_tool(tool, arguments)
    return bool(reply.is_error), reply.structured_content or {}, getattr(reply.content[0], "text", "")


async def _paused(home: StdioHome) -> str:
    """A session without a worker that waits for its first answer."""
    async with home.client() as client:
        _, paused, _ = await _call(client, "alc_run", code=TWICE)
        sid: str = paused["session_id"]
        await _call(client, "alc_stop", session_id=sid)
        return sid


async def _check_broken(client: Client, kind: Broken, sid: str, *, is_known: bool) -> None:
    """`is_known`: a list says so as well."""
    is_error, listing, text = await _call(client, "alc_status")
    assert not is_error
    if is_known:
        assert "cannot hold sessions" in " ".join(listing["warnings"]), text
    for view in ({}, {"view": "history"}, {"view": "prompts"}, {"wait_s": 1}):
        is_error, _, text = await _call(client, "alc_status", session_id=sid, **view)
        assert is_error != kind.is_readable, (view, text)
        assert kind.is_readable or "cannot read" in text
    for tool, arguments in (
        ("alc_run", {"code": TWICE}),
        ("alc_continue", {"session_id": sid, "response": "A"}),
        ("alc_branch", {"session_id": sid}),
    ):
        is_error, _, text = await _call(client, tool, **arguments)
        assert is_error, (tool, text)
        assert any(cure in text for cure in CURES), (tool, text)
        assert "internal" not in text


async def _check_cured(client: Client, sid: str) -> None:
    _, second, text = await _call(client, "alc_continue", session_id=sid, response="A")
    assert second.get("prompt") == "two", text
    _, end, text = await _call(client, "alc_continue", session_id=sid, query_id="q-1", response="B")
    assert end.get("result") == "AB", text
    _, fresh, text = await _call(client, "alc_run", code=TWICE)
    assert fresh.get("prompt") == "one", text
    _, listing, text = await _call(client, "alc_status")
    assert [line["session_id"] for line in listing["sessions"]] == [fresh["session_id"]], text
    assert "cannot hold" not in text
    await _call(client, "alc_stop", session_id=fresh["session_id"])


KINDS = {"read-only": ReadOnly(), "full": Full(), "a file": Replaced(), "a loop": Loop(), "a link": Link()}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("is_running", [False, True], ids=["before the start", "while it runs"])
def test_broken_home_is_told_and_the_call_after_its_cure_succeeds(
    inner_home: StdioHome, name: str, is_running: bool
) -> None:
    kind = KINDS[name]

    async def play() -> None:
        sid = await _paused(inner_home)
        if not is_running:
            kind.spoil(inner_home)
        async with inner_home.client(prefix=kind.prefix) as client:
            if is_running:
                kind.cure(inner_home) if name == "full" else None
                await _call(client, "alc_status")
                kind.spoil(inner_home)
            await _check_broken(client, kind, sid, is_known=not (is_running and kind.is_readable))
            kind.cure(inner_home)
            await _check_cured(client, sid)

    anyio.run(play)


def test_home_that_was_deleted_is_made_anew(inner_home: StdioHome) -> None:
    async def play() -> None:
        async with inner_home.client() as client:
            _, lost, _ = await _call(client, "alc_run", code=TWICE)
            await _call(client, "alc_stop", session_id=lost["session_id"])
            shutil.rmtree(inner_home.root)
            is_error, _, text = await _call(client, "alc_continue", session_id=lost["session_id"], response="A")
            _, fresh, _ = await _call(client, "alc_run", code=TWICE)
            await _check_cured_of_deletion(client, fresh)

            assert is_error
            assert text.endswith("[not_found]")

    anyio.run(play)


PARALLEL = 20


def test_home_that_is_deleted_among_parallel_answers_loses_only_what_it_held(inner_home: StdioHome) -> None:
    inner_home.environment["ALC_POOL_IDLE_TIMEOUT"] = "2"

    async def play() -> set[str]:
        outcomes = set()
        async with inner_home.client() as client:
            sids = [(await _call(client, "alc_run", code=TWICE))[1]["session_id"] for _ in range(PARALLEL)]

            async def answer(sid: str) -> None:
                is_error, result, text = await _call(client, "alc_continue", session_id=sid, response="A")
                outcomes.add(text.rpartition("[")[2] if is_error else str(result.get("prompt")))

            async with anyio.create_task_group() as tasks:
                for sid in sids:
                    tasks.start_soon(answer, sid)
                shutil.rmtree(inner_home.root, ignore_errors=True)
            _, fresh, _ = await _call(client, "alc_run", code=TWICE)
            await _check_cured_of_deletion(client, fresh)
        return outcomes

    assert anyio.run(play) <= {"two", "not_found]"}


async def _check_cured_of_deletion(client: Client, fresh: dict[str, Any]) -> None:
    _, second, _ = await _call(client, "alc_continue", session_id=fresh["session_id"], response="A")
    _, end, _ = await _call(client, "alc_continue", session_id=fresh["session_id"], query_id="q-1", response="B")
    assert (second["prompt"], end["result"]) == ("two", "AB")
    assert "pool_save_error" not in second
