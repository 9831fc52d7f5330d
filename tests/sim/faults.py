"""Faults of a schedule: each takes the world and does its damage once.

Errors of the disk are rates per call of the disk instead; "tear", "preempt" and "no_fork" strike by themselves too.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.world import World

DISK_ERRORS = {"write": 0.05, "flush": 0.05, "short": 0.1, "truncate": 0.2, "read": 0.03, "create": 0.2, "rename": 0.3}
DISK_ERRORS["sync"] = 0.1


def _kill_keeper(world: "World") -> None:
    if world.keepers:
        world.machine.kill(world.rng.choice(world.keepers).process)
        world.reap()


def _doom_keeper(world: "World") -> None:
    """It is killed at one of its next calls."""
    if world.keepers:
        world.rng.choice(world.keepers).process.doom = world.rng.randrange(40)


def _kill_engine(world: "World") -> None:
    busy = [engine for engine in world.engines if engine.is_computing]
    if engines := busy if busy and world.rng.random() < 0.7 else world.engines:
        world.machine.kill(world.rng.choice(engines).process, world.rng.choice((9, 11, 24)))
        world.reap()


def _kill_server(world: "World") -> None:
    world.machine.kill(world.rng.choice(world.servers).process)
    world.replace_servers()


def _doom_server(world: "World") -> None:
    world.rng.choice(world.servers).process.doom = world.rng.randrange(40)


def _cut(world: "World") -> None:
    world.machine.cut()
    world.reap()
    world.replace_servers()
    for sid in world.book.stories:
        world.book.check_disk(sid, world.content(sid))


def _cancel_call(world: "World") -> None:
    if world.tasks:
        chosen = world.rng.choice(world.tasks)[0]
        world.drop_calls(lambda task: task is chosen)


def _hibernate(world: "World") -> None:
    """SIGTERM."""
    if world.keepers and (keeper := world.rng.choice(world.keepers).keeper) is not None:
        keeper.is_asked_to_leave = True


def _pass_time(world: "World") -> None:
    world.machine.now += world.rng.choice((0.5, 3.0, 50.0, 700.0))


def _jump(world: "World") -> None:
    world.machine.wall_s += world.rng.choice((-86_400.0, -3600.0, -1.0, 1.0, 3600.0, 86_400.0))


def _fill(world: "World") -> None:
    full = world.disk.free_bytes is None or world.rng.random() < 0.4
    world.disk.free_bytes = world.rng.randrange(300) if full else None


def _fail_behind(world: "World") -> None:
    """A write in the background fails: the next flush gets the error, once."""
    for file in world.disk.files.values():
        if file.dirty:
            world.disk.fail(file)


def _nothing(world: "World") -> None:
    """A fault that happens by itself, at its rate."""


FAULTS: dict[str, Callable[["World"], None]] = {
    "kill_keeper": _kill_keeper,
    "doom_keeper": _doom_keeper,
    "kill_engine": _kill_engine,
    "kill_server": _kill_server,
    "doom_server": _doom_server,
    "cut": _cut,
    "cancel_call": _cancel_call,
    "hibernate": _hibernate,
    "pass_time": _pass_time,
    "jump": _jump,
    "fill": _fill,
    "fail_behind": _fail_behind,
    "write_back": lambda world: world.disk.write_back(),
    "tear": _nothing,
    "preempt": _nothing,
    "no_fork": _nothing,
    **{f"disk_{call}": _nothing for call in DISK_ERRORS},
}
