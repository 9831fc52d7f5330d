"""Faults that the simulation found once, each played by hand: too rare to meet twice by chance."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from algocline_mcp.errors import StorageFailed
from algocline_mcp.worker.keeper.session_runner import SessionRunner
from tests.sim.system import HOME, installed
from tests.sim.world import World


@contextmanager
def playing(*program: list[Any]) -> Iterator[World]:
    world = World(1, programs=[list(program)], faults=[])
    with installed(world.machine, world.loop, world):
        yield world
        world.disk.errors = {}
        world.calm()


def only_runner(world: World) -> SessionRunner:
    (run,) = world.keepers
    assert run.keeper is not None
    return run.keeper.runner


def test_clock_reading_that_the_disk_refuses_is_recorded_later() -> None:
    with playing(["ask", 1], ["time"], ["ask", 1]) as world:
        sid = world.play("run").session_id
        world.play("continue", sid, "q-0", wait_s=0.0)
        runner = only_runner(world)
        while runner.engines.by_stream[""].clock is None:
            world.act()
        world.disk.errors = {"write": 1.0}

        with pytest.raises(StorageFailed):
            world.machine.run(world.keepers[0].process, runner.flush)

        assert runner.engines.by_stream[""].clock is not None


def test_journal_that_cannot_be_read_again_refuses_the_call_and_the_next_one_is_served() -> None:
    with playing(["ask", 1], ["ask", 1]) as world:
        sid = world.play("run").session_id
        world.machine.kill(world.engines[0].process)
        while world.act():
            pass
        world.disk.errors = {"read": 1.0}

        refused = world.play("continue", sid, "q-0")
        world.disk.errors = {}
        taken = world.play("continue", sid, "q-0")

        assert (refused.code, len(world.keepers)) == ("storage_failed", 1)
        assert taken.result["query_id"] == "q-1"


def test_journal_that_holds_nothing_is_lost_not_corrupt() -> None:
    with playing(["ask", 1]) as world:
        sid = world.play("run").session_id
        for run in world.keepers:
            world.machine.kill(run.process)
        del world.disk.files[str(HOME.journal(sid))].cache[:]
        del world.book.stories[sid]

        result = world.play("continue", sid, "q-0").result

        assert (result["status"], result["error_code"]) == ("error", "lost")


def test_answer_to_a_stuck_session_that_waits_for_no_second_try_is_said_not_to_be_taken() -> None:
    with playing(["ask", 1], ["log"], ["log"]) as world:
        sid = world.play("run").session_id
        first = world.ask("continue", sid, "q-0")
        while not first.is_over:  # each engine dies while it computes
            world.act()
            for engine in world.engines:
                if engine.is_computing:
                    world.machine.kill(engine.process, 11)
        world.ask("status", sid)
        while not world.engines or only_runner(world).is_replaying:
            world.act()
        held = world.engines.pop()

        result = world.play("continue", sid, "q-99", wait_s=0.0).result

        assert first.outcome.result["error_code"] == "crash_loop"
        assert result["status"] == "running"
        assert "not taken" in result["next"]
        world.engines.append(held)
