"""Fixtures that several rooms use, and one profile for hypothesis: the same examples on each run, no time limit per
example, nothing written to disk."""

from hypothesis import settings

from tests.rig.fixtures import abroad, anyio_backend, rig
from tests.rig.hosts import environment, host, raw, shared, tools

__all__ = ["abroad", "anyio_backend", "environment", "host", "raw", "rig", "shared", "tools"]

settings.register_profile("alc", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("alc")
