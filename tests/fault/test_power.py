"""The power fails, again and again, under a home on a disk of its own: what was acknowledged is on that disk.

The disk is ext4 in a file, behind a loop device. A power cut is a copy of that file while every process of the home
stands still: the copy has what the kernel had sent to the disk by then, and nothing of what it only kept in memory.
Each copy is mounted, which makes ext4 recover, and read. Root and loop devices are needed; elsewhere this is skipped,
and tests/storage/test_journal_power_cuts.py, which composes the states of a cut page by page, stands for it.
"""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from tests.rig.rig import SOON_S, WAIT_S, Program, Rig, stopped, wait_until_ended

_DISK_BYTES = 16 << 20
_CUTS = 8 if os.environ.get("ALC_THOROUGH") == "1" else 3
_SPREAD_S = 0.004  # a step takes about 1 ms: some cuts fall before its flush, some after its reply
_TALK = "local said = '' for i = 1, 1000 do said = alc.llm(i .. ' after ' .. said) end"


class Disk:
    def __init__(self, rig: Rig, image: Path) -> None:
        self.image, self.at = image, rig.root / "disk"
        self.at.mkdir()
        self._rig, self._mounted = rig, False
        rig.home = Home(self.at / "h")

    def mount(self, image: Path) -> None:
        _system("mount", "-o", "loop", image, self.at)
        self._mounted = True

    def unmount(self) -> None:
        """Ends what still runs on it."""
        for each in self._rig.processes():
            os.kill(each.pid, 9)
            wait_until_ended(each.pid, SOON_S)
        if self._mounted:
            _system("umount", self.at)
            self._mounted = False

    def copy(self, to: Path) -> None:
        """One instant of it: two copies that are equal, for the kernel may still be writing what it was told to."""
        before = b""
        while (content := self.image.read_bytes()) != before:
            before = content
        to.write_bytes(content)


def _system(*command: object) -> None:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip()}")


@pytest.fixture
def disk(rig: Rig) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a disk")
    disk = Disk(rig, rig.root / "image")
    with disk.image.open("wb") as file:
        file.truncate(_DISK_BYTES)
    try:
        _system("mkfs.ext4", "-q", "-F", disk.image)
        disk.mount(disk.image)
    except OSError as exc:
        pytest.skip(f"no loop device with ext4 here: {exc}")
    try:
        yield disk
    finally:
        disk.unmount()


def _cut(disk: Disk, rig: Rig, to: Path) -> None:
    with ExitStack() as still:
        for each in rig.processes():
            still.enter_context(stopped(each.pid))
        disk.copy(to)


def test_power_cut_loses_no_acknowledged_answer_and_the_session_continues(rig: Rig, disk: Disk) -> None:
    chance = random.Random(11)
    # What the disk held, how many answers had been acknowledged, a file that nobody flushed.
    cuts: list[tuple[Path, int, Path]] = []
    taken = 0
    with Program(rig, "server.py") as server:
        sid = server.ask("run", code=_TALK)["result"]["session_id"]
        for number in range(4 * _CUTS):
            for _ in range(3):
                server.ask("continue", sid=sid, answer=[f"q-{taken}", f"a{taken}"])
                taken += 1
            unflushed = b"nobody asked for flush %d." % number
            path = disk.at / f"unflushed-{number}"
            path.write_bytes(unflushed * 1000)
            server.send(call="continue", sid=sid, answer=[f"q-{taken}", f"a{taken}"])
            at_s = time.perf_counter() + chance.uniform(0, _SPREAD_S)
            while time.perf_counter() < at_s:  # no event of ours: the instant is what is tried
                pass
            cut = (rig.root / f"cut-{len(cuts)}", taken, path)
            _cut(disk, rig, cut[0])
            server.receive()
            taken += 1
            if unflushed not in cut[0].read_bytes():  # a busy kernel may have written it by itself
                cuts.append(cut)
            if len(cuts) == _CUTS:
                break
        disk.unmount()

    kept, lost = [], 0
    for number, (image, _, path) in enumerate(cuts):
        disk.mount(image)
        kept.append(rig.answers(sid))
        lost += not path.exists() or not path.stat().st_size
        if number < len(cuts) - 1:
            disk.unmount()
    assert lost == len(cuts) == _CUTS  # else such a cut takes nothing away, and proves nothing
    for found, (_, acknowledged, _) in zip(kept, cuts, strict=True):
        assert acknowledged <= len(found) <= acknowledged + 1
        assert found == [(f"q-{n}", f"a{n}") for n in range(len(found))]

    with Program(rig, "server.py") as server:
        said = server.ask("status", sid=sid, wait_s=WAIT_S)["result"]
        after = server.ask("continue", sid=sid, answer=[said["query_id"], "on"])["result"]

    assert said["prompt"] == f"{len(kept[-1]) + 1} after a{len(kept[-1]) - 1}"
    assert after["prompt"] == f"{len(kept[-1]) + 2} after on"


# Two that count under one key, and each under its own: what one of them has done must not be undone by a cut that the
# other one sees otherwise.
_COUNT = """
local own = 0
for i = 1, 400 do
  local all = alc.state.incr("all")
  own = alc.state.incr("own-" .. ctx.name)
  alc.llm(("%d of %s: %d"):format(i, ctx.name, own))
end
return own
"""


def test_power_cut_under_shared_keys_leaves_each_change_once_and_each_count_with_its_prompt(
    rig: Rig, disk: Disk
) -> None:
    """The journals and the database are files of one disk, but not of one flush: whatever of them a cut has kept, a
    change whose prompt was shown is there, and goes on being there once."""
    chance = random.Random(43)
    cuts: list[tuple[Path, dict[str, int]]] = []  # what the disk held; by session, how many prompts had been shown
    shown: dict[str, int] = {}
    with Program(rig, "server.py") as one, Program(rig, "server.py") as two:
        servers: dict[str, Program] = {}
        for name, server in (("a", one), ("b", two)):
            sid = server.ask("run", code=_COUNT, ctx={"name": name})["result"]["session_id"]
            servers[sid], shown[sid] = server, 1
        while len(cuts) < _CUTS:
            for sid, server in servers.items():
                server.ask("continue", sid=sid, answer=[f"q-{shown[sid] - 1}", "on"])
                shown[sid] += 1
            for sid, server in servers.items():  # both at a time, so that they wait for each other's turn
                server.send(call="continue", sid=sid, answer=[f"q-{shown[sid] - 1}", "on"])
            at_s = time.perf_counter() + chance.uniform(0, _SPREAD_S)
            while time.perf_counter() < at_s:
                pass
            cuts.append((rig.root / f"cut-{len(cuts)}", dict(shown)))
            _cut(disk, rig, cuts[-1][0])
            for server in servers.values():
                server.receive()
            shown = {sid: count + 1 for sid, count in shown.items()}
        disk.unmount()

    for image, before in cuts:
        disk.mount(image)
        asked = {sid: len(rig.records(sid, "prompt")) for sid in before}
        with Program(rig, "server.py") as server:
            for sid, count in asked.items():
                assert before[sid] <= count <= before[sid] + 1
                said = server.ask("status", sid=sid, wait_s=10.0)["result"]
                for _ in range(3):
                    number = int(said["query_id"].removeprefix("q-"))
                    assert said["prompt"].split()[0] == said["prompt"].split()[-1] == str(number + 1), said
                    said = server.ask("continue", sid=sid, answer=[said["query_id"], "on"])["result"]
            total = server.ask("run", code="return alc.state.get('all')")["result"]["result"]
            own = sum(len(rig.records(sid, "prompt")) for sid in before)
        disk.unmount()

        assert total == own  # every change of the shared key once, whoever made it
