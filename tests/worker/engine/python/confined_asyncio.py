"""Plays the table of test_event_loop.py in this process, confined as an engine is. Prints what differs as JSON."""

import json
import os
import signal
import sys

from algocline_mcp.config.sandbox import probe
from algocline_mcp.worker.confinement.confinement import Confinement
from tests.worker.engine.python.fake_exchange import FakeExchange
from tests.worker.engine.python.test_event_loop import TOOLS, play


def main() -> None:
    play(next(iter(TOOLS)), FakeExchange())  # as the warm-up does: what asyncio imports late is there
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confinement = Confinement.prepare(probe({}))
    confinement.forbid_paths()
    confinement.filter_calls()
    failures = {"confined": "it opened a file"} if is_open_allowed() else {}
    for tool, result in TOOLS.items():
        try:
            played = play(tool, FakeExchange())
        except Exception as exc:  # noqa: BLE001 - the other process reports it
            failures[tool.__name__] = repr(exc)
        else:
            failures |= {} if played == result else {tool.__name__: repr(played)}
    sys.stdout.write(json.dumps(failures))
    sys.stdout.flush()
    os._exit(0)


def is_open_allowed() -> bool:
    try:
        with open(__file__):
            return True
    except PermissionError:
        return False


if __name__ == "__main__":
    main()
