"""The server's side of its fork server: asks it for workers, notices its end, replaces it.

Contract: `spawn` returns the new worker's pid or raises SpawnFailed; in both cases the descriptors it was given are
closed here. A fork server that says nothing for `fork_s` while somebody waits is killed, which frees the locks of
all descriptors on their way to it; then another one is started and the caller takes the second way, exec. One that
ends before it was ever ready is not replaced: `warning` says why, and exec is the only way.
"""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
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
        environ: Mapping[str, str],
        on_exit: Callable[[int, int], None],
        process: ForkServerProcess | None = None,
    ) -> None:
        """`on_exit(pid, code)`: a worker ended; negative codes are signals. `process`: one that was started early."""
        self._home = home
        self._limits = limits
        self._environ = environ
        self._on_exit = on_exit
        self._process = process
        self._ready = anyio.Event()
        self._pending: dict[int, _PendingSpawn] = {}
        self._count = 0
        self._send_lock = anyio.Lock(fast_acquire=True)
        self._last_message_s = 0.0  # of the last message
        self._has_failed = False  # while its successor starts, exec is faster than waiting
        self.warning: str | None = None

    @property
    def is_usable(self) -> bool:
        return self._process is not None and (self._ready.is_set() or not self._has_failed)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def started(self) -> None:
        """Returns when one is ready, or when it is known that none will be."""
        await self._ready.wait()

    async def run(self) -> None:
        """Reads what fork servers say, one after the other, until cancelled; then ends the last one."""
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
                    self._give_up("it ended before it was ready; its error is in this server's log")
        finally:
            if self._process is not None:
                self._end(self._process)

    def _give_up(self, why: str) -> None:
        self.warning = f"workers are started by exec, which takes longer: no fork server ({why})"
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

    def _read(self, message: dict[str, int | str]) -> None:
        self._last_message_s = anyio.current_time()
        if "ready" in message:
            self._ready.set()
        elif "exit" in message:
            self._on_exit(int(message["exit"]), int(message["status"]))
        elif (pending := self._pending.pop(int(message["id"]), None)) is not None:
            pending.pid = int(message["pid"]) if "pid" in message else None
            pending.error = str(message.get("error", ""))
            pending.done.set()

    def _end(self, process: ForkServerProcess) -> None:
        """Kills and reaps it; whoever waits for a worker of it learns that none comes."""
        self._process = None
        self._ready.set()  # whoever waits for this one goes on, and finds its socket closed
        self._ready = anyio.Event()
        self._has_failed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # our own child, not yet reaped: the pid is still its own
        process.control.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, 0)
        for pending in self._pending.values():
            pending.done.set()
        self._pending.clear()

    async def _send(self, control: socket.socket, request: bytes, fds: tuple[int, int, int]) -> None:
        """In a burst the socket holds some 270 requests; the next ones wait until the fork server has read."""
        async with self._send_lock:
            with anyio.fail_after(self._limits.fork_s):
                while True:
                    try:
                        socket.send_fds(control, [request], fds)
                        return
                    except BlockingIOError:
                        await anyio.wait_writable(control)

    async def spawn(self, sid: str, fds: tuple[int, int, int]) -> int:
        """`fds`: locked journal, listener, stderr log. Raises SpawnFailed."""
        pending = _PendingSpawn()
        process = self._process
        try:
            if process is None:
                raise SpawnFailed("no fork server")
            if not self._ready.is_set():  # to wait for an event that is set is still a round of the loop
                with anyio.move_on_after(self._limits.fork_start_s):
                    await self._ready.wait()
            self._count += 1
            self._pending[self._count] = pending
            number = self._count
            request = {"id": number, "sid": sid}
            try:
                await self._send(process.control, json.dumps(request).encode(), fds)
            except OSError as exc:  # EPIPE, EBADF: it has ended
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
                await pending.done.wait()  # `run` sees the end of the control socket at once
            last_message_s = self._last_message_s
        if pending.pid is None:
            raise SpawnFailed(pending.error)
        return pending.pid
