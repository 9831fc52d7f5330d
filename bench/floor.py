"""The least that a first prompt, a step and a flush can cost on this machine, with nothing of the program around.

Contract: each floor is a context manager; its call blocks and returns milliseconds. A floor that answers something
else than was asked raises: then it has measured something else.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import Stopwatch, Timed
from stage import PROGRAMS, Stage

from algocline_mcp.config.home import Home
from algocline_mcp.pool.spawn import worker_environment

_LINE = b'{"op":"run","padding":"' + b"x" * 250 + b'"}\n'  # about what a step appends to a journal
_TIMEOUT_S = 10.0

Floor = Callable[[], float]


@contextmanager
def fork_floor(stage: Stage) -> Iterator[Floor]:
    """Fork from the program's fork server, connect, a line there, one fdatasync, the line back."""
    directory = stage.directory()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            program = os.fspath(PROGRAMS / "floor_fork_server.py")
            server = subprocess.Popen(
                [sys.executable, "-s", "-P", program, "fork-server", "--control", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=worker_environment(Home(directory), {**stage.environ, "ALC_STANDBY": "0"}),
            )
        try:
            ours.settimeout(_TIMEOUT_S)
            ours.recv(4096)  # it is ready
            yield lambda: _fork_once(directory, ours)
        finally:
            ours.close()
            _end(server)


def _fork_once(directory: Path, control: socket.socket) -> float:
    name = directory / secrets.token_hex(4)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_TIMEOUT_S)
        with Stopwatch() as watch:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(f"{name}.sock")
                listener.listen(1)
                journal_fd = os.open(f"{name}.journal", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
                log_fd = os.open(os.devnull, os.O_WRONLY)
                socket.send_fds(control, [b'{"id":1,"sid":"p-floor"}'], [journal_fd, listener.fileno(), log_fd])
                os.close(journal_fd)
                os.close(log_fd)
            client.connect(f"{name}.sock")
            _exchange(client)
    for end in (b'"pid"', b'"exit"'):  # spawned; and, now that the client has closed, ended
        if end not in (said := control.recv(4096)):
            raise RuntimeError(f"the fork server said {said!r}")
    return watch.ms


@contextmanager
def echo_floor(stage: Stage, root: Path | None = None) -> Iterator[Floor]:
    """A line to another process, one fdatasync there, the line back, on a connection that stays."""
    directory = stage.directory(root)
    command = [sys.executable, os.fspath(PROGRAMS / "echo.py"), f"{directory}/s", f"{directory}/f"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_TIMEOUT_S)
            client.connect(f"{directory}/s")

            def once() -> float:
                with Stopwatch() as watch:
                    _exchange(client)
                return watch.ms

            yield once
    finally:
        _end(server)


@contextmanager
def flush_floor(stage: Stage, root: Path | None = None) -> Iterator[Floor]:
    """A line appended to a file of our own, and one fdatasync."""
    fd = os.open(stage.directory(root) / "f", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def once() -> float:
        with Stopwatch() as watch:
            os.write(fd, _LINE)
            os.fdatasync(fd)
        return watch.ms

    try:
        yield once
    finally:
        os.close(fd)


def blocking(floor: Floor) -> Timed:
    """A floor as `interleaved` takes it."""

    async def once() -> float:
        return floor()

    return once


def _exchange(client: socket.socket) -> None:
    client.sendall(_LINE)
    received = b""
    while not received.endswith(b"\n"):
        chunk = client.recv(65536)
        if not chunk:
            break
        received += chunk
    if received != _LINE:
        raise RuntimeError(f"the floor answered {received!r}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """It ends with its socket; by signal if it does not."""
    try:
        server.wait(1.0)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGKILL)
        server.wait()
    if server.stdout is not None:
        server.stdout.close()
