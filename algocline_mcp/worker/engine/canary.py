"""Canary: an engine that attacks from within what confines it, `alc engine-canary`. For `alc doctor`.

Contract: no arguments; reads ALC_SANDBOX and the limits. Prints one JSON object `{level, reached}`: the level that
engines reach here, and those of ATTACKS that the kernel let through. Each is harmless where it is let through. Exit
codes: 0 after the object, 1 with one line on stderr where the engine ended before it had tried all.
"""

import json
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from algocline_mcp.config.limits import Limits
from algocline_mcp.config.sandbox import probe
from algocline_mcp.protocol import messages
from algocline_mcp.worker.confinement.confinement import Confinement
from algocline_mcp.worker.engine.process import Channel, Start, spawn_engine

_TIMEOUT_S = 5.0
_LINE_BYTES = 64 * 1024
_START = {"language": "canary", "utc_offset_s": 0, "code": "", "chunk": "", "ctx": "{}", "seed": 0, "created_s": 0.0}


def _fork() -> None:
    if not os.fork():
        os._exit(0)
    os.wait()


ATTACKS: dict[str, Callable[[], Any]] = {
    "open a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(),
    "start a program": lambda: os.execv("/nowhere", ["nowhere"]),
    "start a process": _fork,
    "signal another process": lambda: os.kill(os.getppid(), 0),
    "make memory executable": lambda: mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC),
}


class _Canary:
    """In the place of a language."""

    problem: str | None = None

    def run(self, start: Start, channel: Channel) -> bytes:
        os.close(0)  # two free numbers, so that it is not the limit of descriptors that refuses a file
        os.close(1)
        return messages.encode({"op": "end", "result": [name for name in ATTACKS if _reaches(ATTACKS[name])]})[:-1]


def _reaches(attack: Callable[[], Any]) -> bool:
    """A refusal for another reason than a lack of permission shows that the kernel has looked at the request."""
    try:
        attack()
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def main() -> int:
    sandbox = probe(os.environ)
    pid, sock = spawn_engine({"canary": _Canary()}, Limits.from_env(os.environ), Confinement.prepare(sandbox))
    try:
        sock.settimeout(_TIMEOUT_S)
        socket.send_fds(sock, [messages.encode({**_START, "sid": "canary"})], [sys.stderr.fileno()])
        line = sock.recv(_LINE_BYTES)
    except OSError:
        line = b""
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if not line:
        print("engine-canary: the engine ended before it had tried all", file=sys.stderr)
        return 1
    print(json.dumps({"level": sandbox.level, "reached": messages.decode(line)["result"]}))
    return 0
