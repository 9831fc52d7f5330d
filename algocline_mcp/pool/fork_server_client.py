"""Client of the fork server: requests workers from it, notices its exit, and replaces it.

Contract: `spawn` returns the pid of a new worker or raises SpawnFailed; in both cases the descriptors that it was given
are closed. A fork server that sends no message for `fork_s` while a request waits is killed: that closes descriptors
which were sent and not received yet, and so frees their locks. Then another fork server is started, and the caller
spawns by exec. A fork server that is not ready within `fork_start_s` gets no request, and workers are spawned by exec
until it is: on a busy machine its start took 6 s, and so did the start of the next one. A fork server that ends before
it was ready is not replaced: `warning` says why, and workers are spawned by exec from then on.
"""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.config.sandbox import Sandbox, probe
from algocline_mcp.pool.spawn import ForkServerProcess, SpawnFailed, start_fork_server

_MESSAGE_BYTES = 4096


@dataclass(slots=True)
class _PendingSpawn:
    done: anyio.Event = field(default_factory=anyio.Event)
    pid: int | None = None
    error: str = "the fork server ended"


class ForkServerClient:
    def __init__(
        self,
        home: Home,
        limits: Limits,
        *,
        environ: Mapping[str, str],
        on_exit: Callable[[int, int], None],
        process: ForkServerProcess | None = None,
    ) -> None:
        """`on_exit(pid, code)`: a worker exited; a negative code is a signal. `process`: a fork server that runs."""
        self._home = home
        self._limits = limits
        self._environ = environ
        self._on_exit = on_exit
        self._process = process
        self._ready = anyio.Event()
        self._pending: dict[int, _PendingSpawn] = {}
        self._count = 0
        self._send_lock = anyio.Lock(fast_acquire=True)
        self._last_message_s = 0.0  # time of its last message
        self._has_failed = False  # exec is faster than waiting until the next fork server is ready
        self._sandbox: Sandbox | None = None
        self.warning: str | None = None

    @property
    def is_usable(self) -> bool:
        return self._process is not None and (self._ready.is_set() or not self._has_failed)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def sandbox(self) -> Sandbox:
        """What confines the engines. A fork server that is ready has asked the kernel already: that saves 4 ms."""
        self._sandbox = self._sandbox or probe(self._environ)
        return self._sandbox

    async def started(self) -> None:
        """Returns when a fork server is ready, or when it is certain that none will be."""
        await self._ready.wait()

    async def run(self) -> None:
        """Reads the messages of one fork server after the other. When cancelled, it ends the last one."""
        try:
            while self.warning is None:
                try:
                    process = self._process = self._process or start_fork_server(self._home, self._environ)
                except OSError as exc:
                    self._give_up(str(exc.strerror))
                    return
                await self._listen(process.control)
                was_ready = self._ready.is_set()
                self._end(process)
                if not was_ready:
                    self._give_up("it ended before it was ready; the log of this server has its error")
        finally:
            if self._process is not None:
                self._end(self._process)

    def _give_up(self, why: str) -> None:
        self.warning = f"workers are started by exec, which takes longer: there is no fork server ({why})"
        self._ready.set()

    async def _listen(self, control: socket.socket) -> None:
        while True:
            try:
                message = control.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(control)
                continue
            except OSError:
                return
            if not message:
                return
            self._read(json.loads(message))

    def _read(self, message: dict[str, Any]) -> None:
        self._last_message_s = anyio.current_time()
        if "ready" in message:
            self._sandbox = Sandbox(**message["sandbox"])
            self._ready.set()
        elif "exit" in message:
            self._on_exit(int(message["exit"]), int(message["status"]))
        elif (pending := self._pending.pop(int(message["id"]), None)) is not None:
            pending.pid = int(message["pid"]) if "pid" in message else None
            pending.error = str(message.get("error", ""))
            pending.done.set()

    def _end(self, process: ForkServerProcess) -> None:
        """Kills and reaps the fork server; all requests that wait for it fail."""
        self._process = None
        self._ready.set()  # requests that wait for it go on, and find the socket closed
        self._ready = anyio.Event()
        self._has_failed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # a child that is not reaped yet: no other process has its pid
        process.control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, 0)
        for pending in self._pending.values():
            pending.done.set()
        self._pending.clear()

    async def _send(self, control: socket.socket, request: bytes, fds: tuple[int, int, int]) -> None:
        """Waits for room in the socket, which holds some 270 requests."""
        async with self._send_lock:
            with anyio.fail_after(self._limits.fork_s):
                while True:
                    try:
                        socket.send_fds(control, [request], fds)
                        return
                    except BlockingIOError:
                        await anyio.wait_writable(control)

    async def spawn(self, sid: str, fds: tuple[int, int, int], part: str = "") -> int:
        """See WorkerSpawner."""
        pending = _PendingSpawn()
        process = self._process
        try:
            if process is None:
                raise SpawnFailed("no fork server")
            if not self._ready.is_set():  # waiting for a set event costs a round of the event loop
                with anyio.move_on_after(self._limits.fork_start_s) as start:
                    await self._ready.wait()
                if start.cancelled_caught:
                    self._has_failed = True
                    raise SpawnFailed("the fork server is not ready yet")
            self._count += 1
            self._pending[self._count] = pending
            number = self._count
            request = {"id": number, "sid": sid} | ({"part": part} if part else {})
            try:
                await self._send(process.control, json.dumps(request).encode(), fds)
            except OSError as exc:  # EPIPE, EBADF: the fork server has ended
                self._pending.pop(number, None)
                raise SpawnFailed(str(exc.strerror)) from exc
        finally:
            for fd in fds:
                os.close(fd)
        last_message_s = anyio.current_time()
        while not pending.done.is_set() and self._process is process:
            with anyio.move_on_after(self._limits.fork_s):
                await pending.done.wait()
            # silent, not only busy with other requests
            if self._last_message_s <= last_message_s and not pending.done.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                await pending.done.wait()  # `run` notices the end of the control socket
            last_message_s = self._last_message_s
        if pending.pid is None:
            raise SpawnFailed(pending.error)
        return pending.pid
