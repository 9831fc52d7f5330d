"""A real session of a keeper in this process, whose engines are sockets that a test writes to: nothing is forked, so a
fuzzer plays a thousand sessions in seconds."""

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.history.new_session import Strategy, header_of
from algocline_mcp.storage import journal
from algocline_mcp.worker.confinement.confinement import UNCONFINED
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned
from algocline_mcp.worker.keeper import engines
from algocline_mcp.worker.keeper.connections import Engine
from algocline_mcp.worker.keeper.session_runner import RunnerCallbacks, SessionRunner

SID = "p-1-0123456789abcdef"


class Scene:
    """A session whose first engine has just started. `runner` is what the loop of a keeper calls."""

    def __init__(self, root: Path, limits: Limits, strategy: Strategy) -> None:
        home = Home(root)
        home.finished.mkdir(parents=True, exist_ok=True)
        header = header_of(limits, strategy, sid=SID)
        self.far: list[socket.socket] = []  # the engines' ends, as they were started
        self.path = home.journal(SID)
        self._fd = journal.Journal.create(self.path, header).fd
        self._preloaded = Preloaded(home, limits, {}, {header["language"]: header["abi"]}, UNCONFINED)
        self.runner = self._start()

    def _start(self) -> SessionRunner:
        callbacks = RunnerCallbacks(watch=_nothing, unwatch=_nothing, on_progress=_nothing)
        return SessionRunner(SID, self._fd, self._preloaded, callbacks, self.spawn())

    def revive(self) -> None:
        """The worker is killed, and the next one takes over."""
        self.runner.stop()
        self.runner.close_database()
        self.runner = self._start()

    def spawn(self, *_: object) -> Spawned:
        near, far = socket.socketpair()
        far.setblocking(False)
        self.far.append(far)
        return len(self.far) - 1, near  # in the place of a pid

    def send(self, stream: str, content: bytes) -> None:
        """What the engine of this stream sends, if there is one; read by the keeper at once."""
        engine = self.runner.engines.by_stream.get(stream)
        if engine is not None:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                self.far[engine.pid].sendall(content)
        self.read()

    def read(self) -> None:
        """Lets the keeper read until no engine has sent more, and every engine take what it is sent."""
        while ready := [engine for engine in self.runner.engines.by_stream.values() if _is_readable(engine)]:
            self.runner.read(ready[0])
            for far in self.far:
                with contextlib.suppress(OSError):
                    far.recv(1 << 20)

    def close(self) -> None:
        self.runner.stop()
        self.runner.close_database()
        os.close(self._fd)
        for far in self.far:
            far.close()


def _kill(engine: Engine) -> str:
    engine.close()
    return "ended by SIGKILL"


def _nothing(_: object) -> None:
    pass


def _is_readable(engine: Engine) -> bool:
    return bool(select.select([engine.socket], [], [], 0)[0])


@contextmanager
def scene(root: Path, limits: Limits, strategy: Strategy) -> Iterator[Scene]:
    made: list[Scene] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "spawn_engine", lambda *_: made[0].spawn())
        patch.setattr(Engine, "limit_cpu", lambda engine, alone_s: None)
        patch.setattr(Engine, "kill", _kill)
        made.append(Scene(root, limits, strategy))
        try:
            yield made[0]
        finally:
            made[0].close()
