"""Attacks of an engine that runs arbitrary Python: the worst case after an escape from Lua. Run as a program:

    python -m tests.attacks.engine_attacks MODE DIRECTORY

MODE: `standard` or `off`, as ALC_SANDBOX; `paths`: Landlock without seccomp, to see the second layer by itself. Each
attack runs in an engine of its own, which the product's own `spawn_engine` forks and confines; only its language is
this file. Prints one JSON object: act -> "reached", the name of an errno, another error, or "ended".
"""

import _thread
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from algocline_mcp.config.limits import Limits
from algocline_mcp.config.sandbox import Sandbox, probe
from algocline_mcp.protocol import messages
from algocline_mcp.worker.confinement.confinement import Confinement
from algocline_mcp.worker.engine.process import Channel, Start, spawn_engine
from tests.attacks.python_needs import NEEDS

_LIMIT_S = 20.0
_START = {"language": "python", "utc_offset_s": 0, "chunk": "", "ctx": "{}", "seed": 0, "created_s": 0.0}
_PTRACE_SEIZE, _PR_SET_PTRACER, _CLONE_NEWUSER, _CLONE_NEWNS = 0x4206, 0x59616D61, 0x10000000, 0x20000
_NUMBERS = {  # name -> number on x86_64, on aarch64
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "pidfd_open": (434, 434),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


@dataclass
class Surroundings:
    """What an attacker could know, and the session's socket."""

    directory: str
    victim: int  # a process of the same user
    tcp: int
    udp: int
    channel: Any = None

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"


def call(result: int) -> None:
    if result in (-1, (1 << 64) - 1):
        raise OSError(ctypes.get_errno(), "")


def raw(name: str, *arguments: Any) -> None:
    column = ("x86_64", "aarch64").index(platform.machine())
    call(_libc.syscall(ctypes.c_long(_NUMBERS[name][column]), *arguments))


def opened(path: str, flags: int = os.O_RDONLY) -> None:
    os.close(os.open(path, flags, 0o600))


def connected(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as sock:
        sock.connect(address)
        sock.send(b"x")


def forked() -> None:
    if not os.fork():
        os._exit(0)
    os.wait()


def pages(protection: int) -> int:
    address: int | None = _libc.mmap(None, mmap.PAGESIZE, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    call(-1 if address == (1 << 64) - 1 or address is None else 0)
    return address or 0


def file_mapped() -> None:
    """The log, which is open."""
    call(-1 if _libc.mmap(None, mmap.PAGESIZE, mmap.PROT_WRITE, mmap.MAP_SHARED, 2, 0) == (1 << 64) - 1 else 0)


def mounted(path: str) -> None:
    """`path` does not exist: the control shows that the kernel would mount, and mounts nothing on the machine."""
    try:
        raw("mount", b"none", os.fsencode(path), b"tmpfs", 0, None)
    except FileNotFoundError:
        return


READ, WRITE, EXECUTE = mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_EXEC
Attack = Callable[[Surroundings], Any]

FILES: dict[str, Attack] = {
    "read the user's key": lambda it: opened(it.path("id_rsa")),
    "read the list of users": lambda it: opened("/etc/passwd"),
    "read another session's journal": lambda it: opened(it.path("other.journal")),
    "write another session's journal": lambda it: opened(it.path("other.journal"), os.O_WRONLY),
    "list a directory": lambda it: os.listdir(it.directory),
    "create a file": lambda it: opened(it.path("new"), os.O_CREAT | os.O_WRONLY),
    "truncate a file": lambda it: os.truncate(it.path("victim"), 0),
    "link": lambda it: os.link(it.path("victim"), it.path("linked")),
    "link symbolically": lambda it: os.symlink("/etc/passwd", it.path("symlinked")),
    "rename": lambda it: os.rename(it.path("renamed"), it.path("again")),
    "make a directory": lambda it: os.mkdir(it.path("made")),
    "remove": lambda it: os.unlink(it.path("removed")),
    "read the keeper's memory": lambda it: opened(f"/proc/{it.victim}/mem"),
}
NO_FILE_RIGHT: dict[str, Attack] = {  # not among the rights of Landlock
    "change the mode of a file": lambda it: os.chmod(it.path("victim"), 0o666),
    "ask whether a file exists": lambda it: os.stat(it.path("victim")),
}
CONNECTIONS: dict[str, Attack] = {
    "connect by TCP": lambda it: connected(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", it.tcp)),
    "connect to an abstract socket": lambda it: connected(
        socket.AF_UNIX, socket.SOCK_STREAM, f"\0alc{it.victim}".encode()
    ),
}
UNCOVERED_CONNECTIONS: dict[str, Attack] = {  # by Landlock, at least by older ABIs
    "send by UDP": lambda it: connected(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", it.udp)),
    "connect to a keeper": lambda it: connected(socket.AF_UNIX, socket.SOCK_STREAM, it.path("keeper.sock")),
    "make a pair of sockets": lambda it: socket.socketpair(),
    "pass a descriptor": lambda it: socket.send_fds(it.channel._socket, [b"x"], [2]),
}
SIGNALS: dict[str, Attack] = {"signal another process": lambda it: os.kill(it.victim, signal.SIGCONT)}
PROCESSES: dict[str, Attack] = {
    "execute": lambda it: os.execv("/bin/sh", ["sh", "-c", f"echo > {it.path('executed')}; read x"]),
    "fork": lambda it: forked(),
    "start a thread": lambda it: _thread.start_new_thread(lambda: None, ()),
    "signal itself": lambda it: os.kill(os.getpid(), signal.SIGCONT),
    "block the signal of the CPU limit": lambda it: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXCPU]),
    "ignore the signal of the CPU limit": lambda it: signal.signal(signal.SIGXCPU, signal.SIG_IGN),
    "trace a process": lambda it: call(_libc.ptrace(_PTRACE_SEIZE, it.victim, None, None)),
    "read a process": lambda it: _read_process(it.victim),
    "open a pidfd": lambda it: raw("pidfd_open", it.victim, 0),
    "change a limit": lambda it: resource.setrlimit(resource.RLIMIT_CPU, resource.getrlimit(resource.RLIMIT_CPU)),
    "change the priority": lambda it: os.nice(1),
    "open a pipe": lambda it: os.pipe(),
    "copy a descriptor": lambda it: os.dup(2),
    "change a descriptor": lambda it: fcntl.fcntl(2, fcntl.F_SETFL, 0),
    "ask a device": lambda it: fcntl.ioctl(it.channel._socket.fileno(), 0x541B, b"\0" * 4),
    "become dumpable": lambda it: call(_libc.prctl(4, 1, 0, 0, 0)),
}
MEMORY: dict[str, Attack] = {
    "map an executable page": lambda it: pages(READ | EXECUTE),
    "map a page to write and execute": lambda it: pages(READ | WRITE | EXECUTE),
    "make a page executable": lambda it: call(_libc.mprotect(pages(READ | WRITE), mmap.PAGESIZE, READ | EXECUTE)),
    "open a file in memory": lambda it: os.memfd_create("x"),
}
# What this kernel, or a container, may refuse in any case: the control need not succeed.
PERHAPS: dict[str, Attack] = {
    "map a file": lambda it: file_mapped(),
    "unshare the user namespace": lambda it: call(_libc.unshare(_CLONE_NEWUSER)),
    "unshare the mounts": lambda it: call(_libc.unshare(_CLONE_NEWNS)),
    "mount": lambda it: mounted(it.path("nowhere")),
    "set up io_uring": lambda it: raw("io_uring_setup", 1, ctypes.create_string_buffer(256)),
    "use the keyring": lambda it: raw("keyctl", 0, -3, 0, 0, 0),
    "load BPF": lambda it: raw("bpf", 0, ctypes.create_string_buffer(128), 128),
    "open a performance counter": lambda it: raw("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0),
    "handle page faults": lambda it: raw("userfaultfd", 1),
    "open secret memory": lambda it: raw("memfd_secret", 0),
}
# Deaths that the C library finishes with calls which are denied, such as a signal to itself.
DEATHS: dict[str, Attack] = {
    "abort": lambda it: os.abort(),
    "read at address 0": lambda it: ctypes.string_at(0),
    "exit without a word": lambda it: os._exit(3),
}


def _run_need(need: Callable[[], object], _: Surroundings) -> None:
    need()


GROUPS = (
    FILES,
    NO_FILE_RIGHT,
    CONNECTIONS,
    UNCOVERED_CONNECTIONS,
    SIGNALS,
    PROCESSES,
    MEMORY,
    PERHAPS,
)
ATTACKS: dict[str, Attack] = {name: attack for group in GROUPS for name, attack in group.items()}
ACTS = ATTACKS | DEATHS | {name: partial(_run_need, need) for name, need in NEEDS.items()}


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _read_process(victim: int) -> None:
    buffer = ctypes.create_string_buffer(8)
    local, remote = (_IoVector(ctypes.addressof(buffer), 8) for _ in range(2))
    call(_libc.process_vm_readv(victim, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))


class _Python:
    """In the place of a language: the code is the name of an attack."""

    problem: str | None = None

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def run(self, start: Start, channel: Channel) -> bytes:
        os.close(0)  # room for two descriptors, so that it is not their limit that refuses
        os.close(1)
        try:
            ACTS[start.code](replace(self._surroundings, channel=channel))
        except OSError as exc:
            outcome = errno.errorcode.get(exc.errno or 0, str(exc))
        except Exception as exc:  # noqa: BLE001 - of Python itself, which translates some errors
            outcome = f"{type(exc).__name__}: {exc}"
        else:
            outcome = "reached"
        return messages.encode({"outcome": outcome})[:-1]


def attack(name: str, surroundings: Surroundings, confinement: Confinement) -> str:
    pid, sock = spawn_engine({"python": _Python(surroundings)}, Limits(), confinement)
    with sock, open(os.devnull, "r+b") as log:
        sock.settimeout(_LIMIT_S)
        socket.send_fds(sock, [messages.encode({**_START, "sid": "p-1-attack", "code": name})], [log.fileno()])
        try:
            line = sock.makefile("rb").readline().removeprefix(b"x")
        except TimeoutError:
            line = b'{"outcome": "silent"}'
        except OSError:
            line = b""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return str(json.loads(line)["outcome"]) if line else "ended"


def victim(directory: str) -> int:
    """A process of the same user that any other may trace."""
    pid = os.fork()
    if not pid:
        _libc.prctl(_PR_SET_PTRACER, ctypes.c_long(-1), 0, 0, 0)
        signal.pause()
    return pid


def main(mode: str, directory: str) -> None:
    for name in ("id_rsa", "other.journal", "victim", "renamed", "removed"):
        Path(directory, name).write_bytes(b"x" * 16)
    sandbox = probe({}) if mode != "off" else Sandbox("off")
    confinement = Confinement.prepare(sandbox)
    if mode == "paths":
        confinement = replace(confinement, program=None)
    pid = victim(directory)
    with ExitStack() as stack:
        stack.callback(os.waitpid, pid, 0)
        stack.callback(os.kill, pid, signal.SIGKILL)
        tcp, udp = (stack.enter_context(socket.socket(type=kind)) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
        keeper, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        for sock, address in (
            (tcp, ("127.0.0.1", 0)),
            (udp, ("127.0.0.1", 0)),
            (keeper, f"{directory}/keeper.sock"),
            (abstract, f"\0alc{pid}".encode()),
        ):
            sock.bind(address)
            if sock is not udp:
                sock.listen()
        surroundings = Surroundings(directory, pid, tcp.getsockname()[1], udp.getsockname()[1])
        outcomes = {name: attack(name, surroundings, confinement) for name in ACTS}
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
