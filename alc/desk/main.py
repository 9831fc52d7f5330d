"""alc.main: begins a strategy that is run as `python strategy.py`."""

from collections.abc import Callable
from typing import Any

from algocline_mcp.worker.engine.python.session import is_running


def main(run: Callable[[dict[str, Any]], Any]) -> None:
    """Runs the strategy in this process with KEY=VALUE of the command line as `ctx`, and asks at the terminal.

    Ends the process. Does nothing while a strategy runs: an engine calls `run` itself, also where the guard
    `if __name__ == "__main__":` is missing."""
    if is_running():
        return
    from alc.desk.command import run_at_desk  # an engine holds neither click nor the terminal

    run_at_desk(run)
