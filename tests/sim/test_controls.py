"""Products that break a promise on purpose: the simulation must find each of them, else it proves nothing."""

import json
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from algocline_mcp.session.decisions import _RECORDS
from algocline_mcp.session.digests import query_digest
from algocline_mcp.session.events import Asked
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import evolve
from algocline_mcp.session.streams import Fork
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal import Journal
from algocline_mcp.storage.journal_lines import Scanner, scan
from algocline_mcp.worker.engine.messages import Ask, Message
from algocline_mcp.worker.keeper.journaled_session import JournaledSession
from algocline_mcp.worker.keeper.replay import Outcome, Replay
from tests.sim import strategies
from tests.sim.machine import Violation
from tests.sim.system import HOME, installed
from tests.sim.world import World, play

_SEEDS = range(500)
Broken = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_append(patch: pytest.MonkeyPatch) -> None:
    """An answer is folded and replied to at once, and reaches the file with whatever comes next."""
    late: dict[JournaledSession, Record] = {}

    def append(self: JournaledSession, record: Record) -> None:
        assert self._journal is not None
        if (before := late.pop(self, None)) is not None:
            self._journal.append(before)
        if record["kind"] == "answer":
            late[self] = record
        else:
            self._journal.append(record)
        evolve(self.session, record)

    patch.setattr(JournaledSession, "append", append)


def no_flush_before_a_reply(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "flush", lambda self, line=None, *, is_cache=False: None)


def query_ids_reused(patch: pytest.MonkeyPatch) -> None:
    def asked(about: Any, event: Asked) -> tuple[Record, ...]:
        prefix, mark = (f"f-{event.stream}", {"stream": event.stream}) if event.stream else ("q", {})
        queries = [
            {"id": f"{prefix}-{n}", "digest": query_digest(query), **query, **mark}
            for n, query in enumerate(event.queries)
        ]
        return ({"kind": "prompt", "queries": queries, "t": event.now_s, **mark},)

    patch.setitem(_RECORDS, Asked, asked)


def recovery_that_cuts_a_torn_last_line_only(patch: pytest.MonkeyPatch) -> None:
    real = journal.scan_file

    def scan_whole_lines(fd: int, take: journal.Take) -> Scanner:
        content = b"".join(journal._chunks(fd))
        whole = content[: content.rfind(b"\n") + 1]
        scanner = real(fd, take)
        if scan(whole).damaged_line is not None:
            scanner.end, scanner.flushed = 0, 1
        return scanner

    patch.setattr(journal, "scan_file", scan_whole_lines)


def results_of_children_in_the_order_of_their_ends(patch: pytest.MonkeyPatch) -> None:
    def reply(self: Fork) -> Record:
        named = zip(self.strategies, self.ends.values(), strict=False)
        return {"entries": [{"strategy": name, "ok": "result" in end, **end} for name, end in named]}

    patch.setattr(Fork, "reply", reply)


def child_revived_without_its_replay(patch: pytest.MonkeyPatch) -> None:
    real = Replay.serve

    def serve(self: Replay, stream: str, message: Message) -> Outcome | Record:
        return Outcome.LIVE if stream and isinstance(message, Ask) else real(self, stream, message)

    patch.setattr(Replay, "serve", serve)


def end_of_a_child_not_recorded(patch: pytest.MonkeyPatch) -> None:
    real = JournaledSession.append

    def append(self: JournaledSession, record: Record) -> None:
        if record["kind"] == "end":
            evolve(self.session, record)
        else:
            real(self, record)

    patch.setattr(JournaledSession, "append", append)


def cache_believed_after_a_failed_flush(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(journal, "_drop_unflushed", lambda fd: None)


BROKEN: dict[str, tuple[Broken, str]] = {
    "acknowledge before append": (acknowledge_before_append, "answer|asked again|never ends"),
    "no flush before a reply": (no_flush_before_a_reply, "the disk holds|gone|lost|is now|never ends"),
    "query ids reused": (query_ids_reused, "is .* now|asked again|answered|does not fit"),
    "results in the order of ends": (results_of_children_in_the_order_of_their_ends, "undisturbed"),
    "child without replay": (child_revived_without_its_replay, "undisturbed|asked again|raised"),
    "end of a child not recorded": (end_of_a_child_not_recorded, "undisturbed|corrupt|diverged|fold"),
    "only a torn last line is cut": (recovery_that_cuts_a_torn_last_line_only, "corrupt"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_simulation_finds_a_product_that_breaks_its_promise(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, violation = BROKEN[name]
    broken(monkeypatch)

    with pytest.raises(Violation, match=violation):
        play(_SEEDS.start, len(_SEEDS))


def test_simulation_finds_a_delivery_that_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    real = JournaledSession.append

    def append(self: JournaledSession, record: Record) -> None:
        if record["kind"] == "delivery":
            evolve(self.session, record)
        else:
            real(self, record)

    monkeypatch.setattr(JournaledSession, "append", append)

    with pytest.raises(Violation, match=r"undisturbed|diverged|fold|corrupt"):
        deque((World(seed, programs=[strategies.with_waits(Random(seed))]).run() for seed in _SEEDS), maxlen=0)


@pytest.mark.slow
def test_keeper_killed_between_a_failed_flush_and_what_follows_it_leaves_a_cache_that_must_not_be_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rare in schedules of all faults: so these have the few that it takes."""
    faults = ["doom_keeper", "disk_flush", "cut", "fail_behind"]
    cache_believed_after_a_failed_flush(monkeypatch)

    with pytest.raises(Violation, match=r"corrupt|the disk holds|never ends"):
        deque((World(seed, faults=faults).run() for seed in _SEEDS), maxlen=0)


def test_strategy_that_asks_otherwise_on_replay_is_diverged_and_gets_no_answer() -> None:
    """Its prompts depend on something that is not recorded."""
    world = World(3, programs=[[["ask", 1], ["whim"], ["ask", 1], ["ask", 1]]], faults=[])
    with installed(world.machine, world.loop, world):
        world.play("run")
        ((sid, story),) = world.book.stories.items()
        world.play("continue", sid, "q-0")
        world.machine.kill(world.keepers[0].process)
        before = world.content(sid)
        world.heard_by_engines.clear()

        with pytest.raises(Violation, match="diverged"):
            world.play("continue", sid, "q-1")

        assert world.content(sid) == before
        assert list(story.acknowledged) == ["q-0"]
        assert {json.dumps(said) for said in world.heard_by_engines} == {'{"answers": [{"response": "play q-0"}]}'}
        world.end()


def test_promises_are_kept_by_a_strategy_that_is_deterministic() -> None:
    world = World(3, programs=[[["ask", 1], ["time"], ["ask", 1], ["ask", 1]]], faults=[])
    with installed(world.machine, world.loop, world):
        world.play("run")
        (sid,) = world.book.stories
        for query_id in ("q-0", "q-1", "q-2"):
            world.play("continue", sid, query_id)
            for run in list(world.keepers):
                world.machine.kill(run.process)
        world.calm()

        assert world.book.stories[sid].end is not None
        assert str(HOME.finished_journal(sid)) in world.disk.files
