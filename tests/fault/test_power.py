"""The power fails, again and again, under a home on a disk of its own: what was acknowledged is on that disk.

The disk is ext4 in a file, behind a loop device. A power cut is a copy of that file while every process of the home
stands still: the copy has what the kernel had sent to the disk by then, and nothing of what it only kept in memory.
Each copy is mounted, which makes ext4 recover, and read. Root and loop devices are needed; elsewhere this is skipped,
and tests/core/test_power_cuts.py, which composes the states of a cut page by page, stands for it.
"""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from algocline_mcp.limits import Home
from tests.pool.rig import Program, Rig, has_ended, stopped

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
            has_ended(each.pid, 5.0)
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


def test_power_cut_leaves_every_acknowledged_answer_on_the_disk_and_its_session_goes_on(rig: Rig, disk: Disk) -> None:
    chance = random.Random(11)
    cuts: list[tuple[Path, int]] = []  # what the disk held, how many answers had been acknowledged
    taken = 0
    with Program(rig, "server.py") as server:
        sid = server.ask("run", code=_TALK)["result"]["session_id"]
        while len(cuts) < _CUTS:
            for _ in range(3):
                server.ask("continue", sid=sid, answer=[f"q-{taken}", f"a{taken}"])
                taken += 1
            (disk.at / f"unflushed-{len(cuts)}").write_bytes(b"nobody asked for a flush" * 1000)
            server.tell(call="continue", sid=sid, answer=[f"q-{taken}", f"a{taken}"])
            at_s = time.perf_counter() + chance.uniform(0, _SPREAD_S)
            while time.perf_counter() < at_s:  # no event of ours: the instant is what is tried
                pass
            cuts.append((rig.root / f"cut-{len(cuts)}", taken))
            _cut(disk, rig, cuts[-1][0])
            server.hear()
            taken += 1
        disk.unmount()

    kept, lost = [], 0
    for number, (image, _) in enumerate(cuts):
        disk.mount(image)
        kept.append(rig.answers(sid))
        unflushed = disk.at / f"unflushed-{number}"
        lost += not unflushed.exists() or not unflushed.stat().st_size
        if number < len(cuts) - 1:
            disk.unmount()
    assert lost == len(cuts)  # else such a cut takes nothing away, and proves nothing
    for found, (_, acknowledged) in zip(kept, cuts, strict=True):
        assert acknowledged <= len(found) <= acknowledged + 1
        assert found == [(f"q-{n}", f"a{n}") for n in range(len(found))]

    with Program(rig, "server.py") as server:
        said = server.ask("status", sid=sid, wait_s=10.0)["result"]
        after = server.ask("continue", sid=sid, answer=[said["query_id"], "on"])["result"]

    assert said["prompt"] == f"{len(kept[-1]) + 1} after a{len(kept[-1]) - 1}"
    assert after["prompt"] == f"{len(kept[-1]) + 2} after on"
