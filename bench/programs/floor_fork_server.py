"""The program's own fork server, with the languages ready, whose children do the least that a session could.

    python -s -P floor_fork_server.py fork-server --control FD

Contract: everything up to and including the fork is `algocline_mcp.worker.fork_server.main` itself, started with
ALC_STANDBY=0: this is what a fork costs. Instead of keeping a session, a child takes one connection and one line,
appends that line to the file it was given, flushes it, sends the line back and ends with the connection.
"""

import os
import socket
import sys
from typing import NoReturn

from algocline_mcp.worker.engine.process import Spawned
from algocline_mcp.worker.fork_server import main as fork_server
from algocline_mcp.worker.keeper import main as keeper


def keep(sid: str, journal_fd: int, listener_fd: int, *_more: object, **_named: object) -> NoReturn:
    """In the place of `keeper.keep`; whatever else that is handed is not needed here."""
    with socket.socket(fileno=listener_fd) as listener:
        connection, _ = listener.accept()
    with connection, connection.makefile("rb") as lines:
        line = lines.readline()
        os.write(journal_fd, line)
        os.fdatasync(journal_fd)
        connection.sendall(line)
        lines.read()
    os._exit(0)


def no_engine(*_more: object, **_named: object) -> Spawned | None:
    """In the place of `keeper.spare_engine`."""
    return None


if __name__ == "__main__":
    keeper.keep = keep
    keeper.spare_engine = no_engine
    sys.exit(fork_server.main(sys.argv[2:]))
