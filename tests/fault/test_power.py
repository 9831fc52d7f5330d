"""Power cuts under a home on a disk of its own: everything that was acknowledged is on that disk.

The disk is ext4 in a file, behind a loop device. A power cut is a copy of that file while every process of the home is
stopped: the copy has what the kernel had sent to the disk by then, and nothing that was only in memory. Each copy is
mounted, which makes ext4 recover, and read. The tests need root and loop devices and are skipped elsewhere;
tests/storage/test_journal_power_cuts.py composes the states of a cut page by page and needs neither.
"""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
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
        """Kills all processes of the home first."""
        for process in self._rig.processes():
            with contextlib.suppress(ProcessLookupError):  # it may end by itself meanwhile
                os.kill(process.pid, 9)
            wait_until_ended(process.pid, SOON_S)
        if self._mounted:
            _system("umount", self.at)
            self._mounted = False

    def copy(self, to: Path) -> None:
        """The content at one instant: read until two readings are equal, because the kernel may still be writing."""
        before = b""
        while (content := self.image.read_bytes()) != before:
            before = content
        to.write_bytes(content)


def _system(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
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


def _wait_some_instant(chance: random.Random) -> None:
    at_s = time.perf_counter() + chance.uniform(0, _SPREAD_S)
    while time.perf_counter() < at_s:  # not an event: the instant is what the test varies
        pass


def _cut(disk: Disk, rig: Rig, to: Path) -> None:
    with ExitStack() as still:
        for process in rig.processes():
            still.enter_context(stopped(process.pid))
        disk.copy(to)


@dataclass(frozen=True)
class Cut:
    image: Path  # a copy of the disk
    acknowledged: int  # answers, before the copy
    unflushed: Path  # a file that was written and not flushed


def _cuts_between_answers(rig: Rig, disk: Disk, server: Program, sid: str) -> list[Cut]:
    """Copies of the disk while an answer is on its way, without those that have the unflushed file."""
    chance = random.Random(11)
    cuts: list[Cut] = []
    taken = 0
    for number in range(4 * _CUTS):
        for _ in range(3):
            server.ask("continue", sid=sid, answer=[f"q-{taken}", f"a{taken}"])
            taken += 1
        text = b"this text is not flushed: %d." % number
        path = disk.at / f"unflushed-{number}"
        path.write_bytes(text * 1000)
        server.send(call="continue", sid=sid, answer=[f"q-{taken}", f"a{taken}"])
        _wait_some_instant(chance)
        cut = Cut(rig.root / f"cut-{len(cuts)}", taken, path)
        _cut(disk, rig, cut.image)
        server.receive()
        taken += 1
        if text not in cut.image.read_bytes():  # a busy kernel may have written it without a flush
            cuts.append(cut)
        if len(cuts) == _CUTS:
            break
    return cuts


@pytest.mark.slow
def test_power_cut_loses_no_acknowledged_answer_and_the_session_continues(rig: Rig, disk: Disk) -> None:
    with Program(rig, "server.py") as server:
        sid = server.ask("run", code=_TALK)["result"]["session_id"]
        cuts = _cuts_between_answers(rig, disk, server, sid)
        disk.unmount()

    kept, lost = [], 0
    for number, cut in enumerate(cuts):
        disk.mount(cut.image)
        kept.append(rig.answers(sid))
        lost += not cut.unflushed.exists() or not cut.unflushed.stat().st_size
        if number < len(cuts) - 1:
            disk.unmount()
    assert lost == len(cuts) == _CUTS  # else the cut removes nothing and proves nothing
    for answers, cut in zip(kept, cuts, strict=True):
        assert cut.acknowledged <= len(answers) <= cut.acknowledged + 1
        assert answers == [(f"q-{n}", f"a{n}") for n in range(len(answers))]

    with Program(rig, "server.py") as server:
        state = server.ask("status", sid=sid, wait_s=WAIT_S)["result"]
        after = server.ask("continue", sid=sid, answer=[state["query_id"], "on"])["result"]

    assert state["prompt"] == f"{len(kept[-1]) + 1} after a{len(kept[-1]) - 1}"
    assert after["prompt"] == f"{len(kept[-1]) + 2} after on"


# Two sessions count under one key, and each under its own key: a cut must not undo a change of one session that the
# other session has seen.
_COUNT = """
local own = 0
for i = 1, 400 do
  local all = alc.state.incr("all")
  own = alc.state.incr("own-" .. ctx.name)
  alc.llm(("%d of %s: %d"):format(i, ctx.name, own))
end
return own
"""


def _count_on(server: Program, sid: str) -> None:
    """Three more rounds: the round and the count in each prompt are those of its query id."""
    state = server.ask("status", sid=sid, wait_s=10.0)["result"]
    for _ in range(3):
        number = int(state["query_id"].removeprefix("q-"))
        assert state["prompt"].split()[0] == state["prompt"].split()[-1] == str(number + 1), state
        state = server.ask("continue", sid=sid, answer=[state["query_id"], "on"])["result"]


@pytest.mark.slow
def test_power_cut_under_shared_keys_leaves_each_change_once_and_each_count_with_its_prompt(
    rig: Rig, disk: Disk
) -> None:
    """The journals and the database are on one disk but are flushed apart: whatever a cut keeps of them, a change whose
    prompt was shown is there, exactly once."""
    chance = random.Random(43)
    cuts: list[tuple[Path, dict[str, int]]] = []  # a copy of the disk; number of shown prompts by session
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
            for sid, server in servers.items():  # both at the same time, so that they wait for each other
                server.send(call="continue", sid=sid, answer=[f"q-{shown[sid] - 1}", "on"])
            _wait_some_instant(chance)
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
                _count_on(server, sid)
            total = server.ask("run", code="return alc.state.get('all')")["result"]["result"]
            own = sum(len(rig.records(sid, "prompt")) for sid in before)
        disk.unmount()

        assert total == own  # every change of the shared key exactly once
