"""Fixtures that several rooms use, and one profile for hypothesis: the same examples on each run, no time limit per
example, nothing written to disk."""

import compileall
import os
from pathlib import Path

import pytest
from hypothesis import settings

import algocline_mcp
from tests.cluster.fixtures import database, empty, postgres
from tests.rig.fixtures import anyio_backend, rig, use_foreign_environment
from tests.rig.full_server import echo_package
from tests.rig.hosts import environment, host, raw, shared, tools
from tests.rig.programs import ROOMY_VARIABLES
from tests.rig.stdio_home import stdio_home
from tests.rig.subject import subject

__all__ = [
    "anyio_backend",
    "database",
    "echo_package",
    "empty",
    "environment",
    "host",
    "postgres",
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


def pytest_configure(config: pytest.Config) -> None:
    """Compiles the package before the first test, in the process that starts the others.

    Under a limit of the size of files, which some tests set, Python renames a .pyc of which it has written only a part
    into place (a short write is no error to it), and each later process ends with "marshal data too short".

    What the tests start inherits limits that a slow machine does not reach.
    """
    os.environ.update(ROOMY_VARIABLES)
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(algocline_mcp.__file__).parent, quiet=2)
