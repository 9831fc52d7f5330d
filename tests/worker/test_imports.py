"""Modules that a worker must not import: each would cost every session, not only the first."""

import subprocess
import sys

import pytest

# threading works after each fork, which copies 430 KiB in the child; logging imports it; SQLite would be 100 KiB.
HEAVY = {"logging", "mcp", "anyio", "pydantic", "sqlite3"}
if sys.version_info < (3, 14):  # whose ctypes imports sysconfig, and that threading
    HEAVY |= {"threading"}


def test_fork_server_imports_nothing_that_each_fork_pays_for() -> None:
    rooms = "algocline_mcp.worker.fork_server.main, algocline_mcp.worker.engine.lua.runtime"
    program = f"import sys, {rooms}; print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert not HEAVY & set(modules.split())


@pytest.mark.slow
def test_server_tells_who_it_is_before_it_imports_the_pool() -> None:
    """Nor what a call's answer needs: 45 ms of a first start."""
    program = "import sys, algocline_mcp.server.app; algocline_mcp.server.app.build(); print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    late = {
        f"algocline_mcp.{name}"
        for name in ("pool.reach", "pool.dispatch", "session.state", "storage.journal", "protocol.messages")
    }
    assert not late & set(modules.split())
