"""Randomness: everything that would ask the system for random bytes reads the byte stream of the seed.

The generator of the module random is seeded from it and stays Python's own, so that numbers cost what they cost.
"""

import os
import random
import secrets  # noqa: F401  its generator takes bytes by the name that random has imported
import uuid
from operator import index
from typing import Any

from algocline_mcp.worker.engine.python.determinism import world
from algocline_mcp.worker.engine.python.determinism.patches import Patches

_SEED_BYTES = 32
_module: Any = random
_generator: random.Random = _module._inst  # of random.random and its siblings
_SEEN = "_last_"  # what uuid remembers of its latest identifiers, of which the next one depends
_saved: dict[str, Any] = {}


class _SystemBytes:
    def __init__(self) -> None:
        self._urandom = os.urandom
        self._getrandom = getattr(os, "getrandom", None)
        self._getnode = uuid.getnode

    def urandom(self, size: int, /) -> bytes:
        if world.current is None:
            return self._urandom(size)
        if (count := index(size)) < 0:
            raise ValueError("negative argument not allowed")
        return world.current.bytes.read(count)

    def getrandom(self, size: int, flags: int = 0) -> bytes:
        if world.current is None and self._getrandom is not None:
            return bytes(self._getrandom(size, flags))
        return self.urandom(size)

    def getnode(self) -> int:
        return self._getnode() if world.current is None else world.current.node


def install(patches: Patches) -> None:
    system = _SystemBytes()
    patches.replace(os, "urandom", system.urandom)
    if hasattr(os, "getrandom"):
        patches.replace(os, "getrandom", system.getrandom)
    patches.replace(uuid, "getnode", system.getnode)
    vars(uuid)["_generate_time_safe"] = None  # in C, with a clock and a state of its own
    real_seed: Any = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        if a is None and world.current is not None:
            a = int.from_bytes(world.current.bytes.read(_SEED_BYTES), "big")
        real_seed(self, a, version)

    seed.__doc__ = real_seed.__doc__
    type.__setattr__(random.Random, "seed", seed)
    vars(random)["seed"] = _generator.seed  # a bound method, made when random was imported


def begin() -> None:
    _saved["random"] = _generator.getstate()
    _generator.seed()
    for name in [name for name in vars(uuid) if name.startswith(_SEEN)]:
        _saved[name] = vars(uuid)[name]
        vars(uuid)[name] = 0 if "counter" in name else None


def end() -> None:
    _generator.setstate(_saved.pop("random"))
    vars(uuid).update(_saved)
    _saved.clear()
