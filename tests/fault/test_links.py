"""A symbolic link in the place of a file of the home: its target is never written, and sessions continue."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from algocline_mcp.errors import Unreachable
from algocline_mcp.pool.dispatch import list_via_pool, stop_via_pool
from tests.rig.rig import ASK_ONCE, ASK_TWICE, Rig, kill, run, say, until

pytestmark = pytest.mark.anyio

PRECIOUS = b'{"sessions": [], "note": "of another program"}'


@pytest.fixture
def precious(rig: Rig, tmp_path: Path) -> Iterator[Path]:
    """The target of the links. No test may change it."""
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS)
    yield path
    assert path.read_bytes() == PRECIOUS


async def test_link_in_the_place_of_a_log_stops_that_session_alone_until_it_is_gone(rig: Rig, precious: Path) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        other, *_ = await run(pool, ASK_TWICE)
        await stop_via_pool(pool, sid, "hibernate")
        log = rig.home.stderr(sid)
        log.symlink_to(precious)
        with pytest.raises(
            Unreachable, match=rf"cannot start a worker: .*{log} must be a file .*: remove it"
        ) as raised:
            await say(pool, sid, "q-0", "A")
        undisturbed = (await say(pool, other, "q-0", "A")).result
        statuses = {line["session_id"]: line["status"] for line in (await list_via_pool(pool))["sessions"]}
        log.unlink()
        second = (await say(pool, sid, "q-0", "A")).result

    assert raised.value.code == "no_process"
    assert undisturbed["prompt"] == second["prompt"] == "second after A"
    assert statuses == {sid: "needs_response", other: "needs_response"}
    assert rig.answers(sid) == [("q-0", "A")]


@pytest.mark.parametrize("name", ["registry.lock", ".registry.json", "registry.json"])
async def test_link_in_the_place_of_the_registry_its_temporary_file_or_its_lock_is_not_followed(
    rig: Rig, precious: Path, name: str
) -> None:
    """The lock file is never replaced, so its link has to be removed; the other two are new files with each write."""
    link = rig.home.pool / name
    async with rig.pool() as pool:
        before, *_ = await run(pool, ASK_ONCE)
        await until(rig.home.registry.exists)
        link.unlink(missing_ok=True)
        link.symlink_to(precious)
        sid, first, error = await run(pool, ASK_TWICE)
        second = (await say(pool, sid, "q-0", "A")).result
        if name == "registry.lock":
            link.unlink()
        later, _, none = await run(pool, ASK_ONCE)
        listed = rig.registered()
        aside = [path.is_symlink() for path in rig.home.pool.glob("registry.json.corrupt-*")]

    assert (first["prompt"], second["prompt"]) == ("first", "second after A")
    assert aside == ([True] if name == "registry.json" else [])  # as any file that is not a registry
    assert (error is None) == (name != "registry.lock")
    assert error is None or f"cannot write {rig.home.registry}: Too many levels of symbolic links" in error
    assert none is None
    assert listed == {before, sid, later}
    assert not link.is_symlink()


async def test_link_in_the_place_of_a_socket_is_no_worker_and_the_session_takes_its_name_back(
    rig: Rig, precious: Path
) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await kill(rig.keeper(sid))
        await until(lambda: not rig.home.socket(sid).exists())
        rig.home.socket(sid).symlink_to(precious)
        second = (await say(pool, sid, "q-0", "A")).result
        is_socket = rig.home.socket(sid).is_socket() and not rig.home.socket(sid).is_symlink()

    assert second["prompt"] == "second after A"
    assert is_socket
