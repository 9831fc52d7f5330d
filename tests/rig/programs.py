"""Other programs that a test talks to: a worker, through its socket; a program of tests/peers, as a process."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from algocline_mcp.config.limits import Limits
from algocline_mcp.protocol.messages import LineBuffer, PoolRequest
from tests.rig.processes import SOON_S

if TYPE_CHECKING:
    from tests.rig.rig import Rig

LIMIT_S = 240.0  # no test takes as long; one that hangs fails after it
PEERS = Path(__file__).parent.parent / "peers"

# Limits that a slow machine must not reach in a test that is about something else. Each warm-up run that is left out
# saves a tenth of a second per fork server; being cold changes nothing else in its workers.
ROOMY: dict[str, Any] = {
    "warmup_runs": 1,
    "grace_s": 30.0,
    "reach_s": 30.0,
    "fork_s": 20.0,
    "fork_start_s": 30.0,
    "registry_lock_s": 20.0,
    "leave_s": 10.0,
    "state_busy_s": 30.0,
}
# The same for the servers and commands that a test starts: each inherits them, see tests/conftest.py.
ROOMY_VARIABLES = {
    limit.metadata["variable"]: str(ROOMY[limit.name])
    for limit in fields(Limits)
    if limit.name in ROOMY and limit.name != "warmup_runs"
}


class RawClient:
    """A connection to a worker's socket that sends any bytes. Blocks, at most `limit_s`."""

    def __init__(self, path: Path, limit_s: float = SOON_S) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(limit_s)
        try:
            self.socket.connect(os.fspath(path))
        except OSError:
            self.socket.close()
            raise
        self._lines = LineBuffer(1 << 26)
        self._ready: list[bytes] = []

    def send(self, message: PoolRequest | bytes) -> None:
        self.socket.sendall(message if isinstance(message, bytes) else message.encode())

    def receive(self) -> dict[str, Any] | None:
        """The next line, or None if the worker has closed the connection."""
        while not self._ready:
            try:
                chunk = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            self._ready += self._lines.feed(chunk)
        response: dict[str, Any] = json.loads(self._ready.pop(0))
        return response

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()


class Program:
    """A program of tests/peers as a process. It writes one JSON line when it is ready."""

    def __init__(self, rig: "Rig", name: str, *arguments: object, prefix: list[str] | None = None, **env: str) -> None:
        self._rig = rig
        command = [*(prefix or []), sys.executable, str(PEERS / name), *map(str, arguments)]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ALC_")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environ, **Limits(**ROOMY).as_env(), "ALC_HOME": str(rig.home.root), **env},
        )
        self.greeting = self.receive()
        self.pid: int = self.greeting["pid"]

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            raise TimeoutError(f"{self.process.args!r} writes nothing")
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message

    def send(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        """One call of dispatch, for server.py: `{result, pool_save_error}`, or `{error, code}`."""
        self.send(call=call, **arguments)
        return self.receive()

    def kill(self) -> None:
        self._rig.may_have_temporary_files = True
        self.process.kill()
        self.close()

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.process.wait(LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
