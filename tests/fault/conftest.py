"""The home of a test, and the check that nothing of it is left: as for the tests of the pool."""

import sys

from tests.rig.fixtures import anyio_backend, rig

__all__ = ["anyio_backend", "rig"]

# What is looked at here (processes, fail points, system calls) is Linux's.
collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]
