"""Determinism of Python in an engine: what differs between two processes is replaced by what is the same in both.

Contract: `install` puts the patches in place, once, in the fork server and before its first fork, so that engines share
their memory. There, and in keepers, they are inactive: each patched function calls the original. `activate` is called
where a strategy begins; `deactivate` restores everything, because a fork server warms up by running a strategy itself.

Not covered, because only the machine code of CPython could change it: id(), hash(object()), the order of a set of
functions, classes, coroutines, futures that asyncio.Future() made, NaNs, exceptions of Python itself or other objects
made in C, also of a set of instances of classes that type(name, bases, namespace) made, and in 3.11 hash(None). A
strategy whose prompts depend on one of these diverges at its replay, and the prompt before and after is shown.
"""

import gc
import sys
from collections.abc import Callable

from algocline_mcp.worker.engine.python.determinism import clocks, constants, entropy, frames, identity, world
from algocline_mcp.worker.engine.python.determinism.patches import Patches
from algocline_mcp.worker.engine.python.determinism.text import clean

__all__ = ["activate", "clean", "deactivate", "install", "problem"]

_RANDOM_HASHES = (
    "Python cannot be replayed here: the hashes of strings are random; start Python with PYTHONHASHSEED=0, and without "
    "the options -I, -E and -R"
)
_installed: list[Patches] = []
_was_frozen: list[bool] = []  # of an activation: whether a fork server had frozen what it has loaded


def install() -> None:
    """Puts the patches in place, inactive. Idempotent."""
    if not _installed:
        patches = Patches()
        for measure in (clocks, entropy, identity, constants, frames):
            measure.install(patches)
        patches.rebind_imported()
        _installed.append(patches)


def activate(seed: int, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    """Makes the patches active. `clock` returns unix seconds and `sleep` blocks, both recorded by the keeper.

    Collects the garbage that this process has inherited: the next collection then depends on the strategy alone."""
    install()
    deactivate()
    _was_frozen[:] = [gc.get_freeze_count() > 0]
    gc.collect()
    gc.freeze()
    gc.collect()  # of nothing: it forgets how many objects there were, of which the time of full collections depends
    world.current = world.World(seed, clock, sleep)
    entropy.begin()
    constants.begin()


def deactivate() -> None:
    """Restores everything. Without effect where nothing is active."""
    if world.current is not None:
        constants.end()
        entropy.end()
        world.current = None
        if not _was_frozen.pop():
            gc.unfreeze()


def problem() -> str | None:
    """Why Python is not deterministic in this process, or None."""
    return _RANDOM_HASHES if sys.flags.hash_randomization else None
