"""Fixtures that several rooms use, and one profile for hypothesis: the same examples on each run, no time limit per
example, nothing written to disk."""

from hypothesis import settings

from tests.rig.fixtures import anyio_backend, rig, use_foreign_environment
from tests.rig.full_server import echo_package
from tests.rig.hosts import environment, host, raw, shared, tools
from tests.rig.stdio_home import stdio_home
from tests.rig.subject import subject

__all__ = [
    "anyio_backend",
    "echo_package",
    "environment",
    "host",
    "raw",
    "rig",
    "shared",
    "stdio_home",
    "subject",
    "tools",
    "use_foreign_environment",
]

settings.register_profile("alc", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("alc")
