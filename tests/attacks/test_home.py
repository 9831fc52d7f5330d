"""The home of a user: nobody else reads it, connects to it or plants anything in it, and no link that is planted in the
place of a file leads a write elsewhere."""

import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from algocline_mcp.cli.demo import Server, end_workers
from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, HomeUnusable
from algocline_mcp.packages import installed
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.pool.dispatch import Pool, status_via_pool, stop_via_pool
from algocline_mcp.server.compat.logs import annotate
from algocline_mcp.storage import home_setup, sockets
from tests.rig.rig import ASK_ONCE, ASK_TWICE, Rig, run, say, until

pytestmark = pytest.mark.anyio

EVERYTHING = """
alc.state.set("k", 1)
local card = alc.card.create{pkg = {name = "p"}}
alc.card.write_samples(card.card_id, {1})
alc.card.alias_set("a", card.card_id)
return 1
"""


@pytest.mark.slow
def test_everything_that_is_written_is_private_whatever_the_umask(tmp_path: Path, echo_package: Path) -> None:
    home = Home(tmp_path / "h")
    before = os.umask(0)
    try:
        with Server.start(home, ALC_TOOLS="full") as host:
            sid = host.call("alc_run", code=EVERYTHING)["session_id"]
            host.call("alc_run", code=ASK_ONCE)
            host.call("alc_note", session_id=sid, content="x")
            host.call("alc_pkg_install", url=str(echo_package))
            modes = {path: path.lstat().st_mode for path in [home.root, *home.root.rglob("*")]}
    finally:
        os.umask(before)
        end_workers(home)

    open_to_others = {path: oct(mode) for path, mode in modes.items() if mode & 0o077 and not path.is_symlink()}
    assert open_to_others == {}
    assert len(modes) > 25


async def test_name_of_a_socket_is_private_from_the_moment_it_exists(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux gives the name of a socket the permissions of its descriptor")
    modes: list[int] = []
    async with rig.pool():
        monkeypatch.setattr(os, "chmod", lambda path, mode: modes.append(os.stat(path).st_mode & 0o777))
        before = os.umask(0)
        try:
            sockets.bind(rig.home, "p-1-0123456789abcdef").close()
        finally:
            os.umask(before)
        rig.home.socket("p-1-0123456789abcdef").unlink()

    assert modes == [0o600]


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────

PRECIOUS = b"# of another program\nand not to be changed\n"
Act = Callable[[Rig, Pool, str], Awaitable[object]]


async def _go_on(rig: Rig, pool: Pool, sid: str) -> object:
    return (await say(pool, sid, "q-0", "A")).result


async def _finish(rig: Rig, pool: Pool, sid: str) -> object:
    await say(pool, sid, "q-0", "A")
    end = (await say(pool, sid, "q-1", "B")).result
    await until(lambda: not rig.home.journal(sid).exists())
    return end


async def _begin(rig: Rig, pool: Pool, sid: str) -> object:
    return (await run(pool, ASK_ONCE)).result


async def _keep(rig: Rig, pool: Pool, sid: str) -> object:
    return (await run(pool, EVERYTHING)).result


async def _annotate(rig: Rig, pool: Pool, sid: str) -> object:
    await _finish(rig, pool, sid)
    return annotate(rig.home, sid, "note", None)


async def _change_packages(rig: Rig, pool: Pool, sid: str) -> object:
    installed.prepare(rig.home)
    with installed.exclusive_change(rig.home, pool.limits):
        return None


WRITTEN: dict[str, Act] = {
    "state/pool/registry.json": _begin,
    "state/pool/.registry.json": _begin,
    "state/pool/registry.lock": _begin,
    "state/sessions/SID.journal": _go_on,
    "state/sessions/finished/SID.journal": _finish,
    "state/sessions/finished/SID.notes": _annotate,
    "log/SID.err": _go_on,
    "state/state.db": _keep,
    "state/state.db-wal": _keep,
    "state/state.db-shm": _keep,
    "cards/_aliases.toml": _keep,
    "packages/.store/lock": _change_packages,
}


def _remove_if_same(link: Path, file: Path) -> None:
    if os.path.lexists(link) and os.path.samefile(link, file):
        link.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("way", [os.symlink, os.link], ids=["symbolic", "hard"])
@pytest.mark.parametrize("name", WRITTEN)
async def test_link_that_is_planted_for_a_file_leads_no_write_elsewhere(
    rig: Rig, name: str, way: Callable[[Path, Path], None]
) -> None:
    precious = rig.root / "precious"
    precious.write_bytes(PRECIOUS)
    async with rig.pool(registry_lock_s=1.0) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers_of(sid))
        journal = rig.home.journal(sid).read_bytes()
        link = rig.home.root / name.replace("SID", sid)
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        way(precious, link)
        try:
            happened = await WRITTEN[name](rig, pool, sid)
        except AlcError as exc:
            happened = exc
        content = precious.read_bytes()
        _remove_if_same(link, precious)
        if name == "state/sessions/SID.journal":
            rig.home.journal(sid).write_bytes(journal)
        later = (await run(pool, EVERYTHING)).result
        rest = (await status_via_pool(pool, sid)).result

    assert content == PRECIOUS
    assert later["status"] == "completed", (happened, later)
    assert rest["status"] in ("needs_response", "completed"), (happened, rest)


async def test_directory_of_cards_that_is_a_link_gets_no_file(rig: Rig) -> None:
    outside = rig.root / "outside"
    outside.mkdir()
    async with rig.pool() as pool:
        rig.home.cards.mkdir(mode=0o700)
        (rig.home.cards / "p").symlink_to(outside)
        end = (await run(pool, EVERYTHING)).result

    assert end["status"] == "completed"
    assert list(outside.iterdir()) == []


# ── users ─────────────────────────────────────────────────────────────────────────────────────────────────

OTHER = 65534
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has processes and files of two users")
CONNECT = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(30)
sock.connect(sys.argv[1])
sock.sendall(b'{"op":"status","id":1,"sid":"%s","protocol":1}\\n' % sys.argv[2].encode())
print(sock.recv(100))
"""


@is_root
async def test_keeper_refuses_another_user_although_all_doors_are_open(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        for path in (rig.root, rig.home.root, rig.home.root / "state", rig.home.pool, rig.home.socket(sid)):
            path.chmod(0o777)
        as_other = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"]
        command = ["/usr/bin/env", "python3", "-c", CONNECT, str(rig.home.socket(sid)), sid]
        received = [
            done.stdout + done.stderr
            for done in [await anyio.run_process([*prefix, *command], check=False) for prefix in ([], as_other)]
        ]
        second = (await say(pool, sid, "q-0", "A")).result

    assert b'"sid"' in received[0]  # the control: the same user
    assert b'"sid"' not in received[1]
    assert second["prompt"] == "second after A"


async def test_socket_of_another_user_is_no_worker(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a listener that the kernel names as another user's; only root could make a real one."""
    mine = os.geteuid()
    path = rig.root / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        PoolClient.connect(path, line_bytes=100).close()
        monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
        with pytest.raises(PermissionError, match="is the socket of another user"):
            PoolClient.connect(path, line_bytes=100)


@is_root
@pytest.mark.parametrize("name", ["state", "state/pool", "state/sessions", "state/sessions/finished", "log"])
async def test_directory_of_another_user_below_the_home_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with rig.pool():
        pass
    os.chown(rig.home.root / name, 12345, -1)
    home_setup.prepare(rig.home)  # the control: all belong to root
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for path in (rig.home.root, *rig.home.root.rglob("*")):
        if path != rig.home.root / name:
            os.chown(path, OTHER, -1)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)

    with pytest.raises(HomeUnusable, match=f"{name} belongs to another user"):
        home_setup.prepare(rig.home)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", ["fork", "exec"])
async def test_worker_and_fork_server_have_no_new_privileges(rig: Rig, way: str) -> None:
    async with rig.pool(environ=os.environ | {"ALC_SPAWN": way}) as pool:
        await run(pool, ASK_ONCE)
        states = {process.title: _no_new_privileges(process.pid) for process in rig.processes()}

    assert set(states.values()) == {"1"}, states
    assert len(states) >= 2


def _no_new_privileges(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("NoNewPrivs:"))
