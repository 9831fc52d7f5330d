"""A scripted session under the real request runner, and a client that keeps every state of its request."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from algocline_mcp.errors import AlcError, StorageFailed
from algocline_mcp.protocol.messages import Op, PoolRequest, WorkerIdentity
from algocline_mcp.session.decisions import Decision
from algocline_mcp.session.events import HostEvent
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Phase
from algocline_mcp.worker.keeper.connections import Client
from algocline_mcp.worker.keeper.request_runner import RequestRunner
from algocline_mcp.worker.keeper.requests import RequestState

SID = "p-1-0123456789abcdef"


LINE_BYTES = 1 << 16


NO_RECORDS = Decision()


@dataclass
class ScriptedSession:
    """In the place of a SessionRunner: what it allows and decides is set by the step."""

    fatal: Record | None = None
    step_error: AlcError | None = None
    is_replaying: bool = False
    computing: int = 0
    outcome: Decision | StorageFailed = NO_RECORDS
    phase: Phase = Phase.PAUSED
    needs_engine: bool = False
    retries: int = 0
    limits: Any = field(default_factory=lambda: SimpleNamespace(client_s=1.0))

    @property
    def session(self) -> Any:
        return SimpleNamespace(phase=self.phase, progress=None)

    def start_engines(self) -> None:
        self.retries += self.phase is Phase.STUCK

    def apply(self, event: HostEvent) -> Decision:
        if isinstance(self.outcome, StorageFailed):
            raise self.outcome
        return self.outcome

    def flush(self) -> None:
        """Nothing is recorded."""

    def feed_result(self, *, is_accepted: bool) -> Record:
        return {"accepted": is_accepted}


class WatchedClient(Client):
    """A client that keeps every state its request had."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "state":
            self.__dict__.setdefault("visited", []).append(value)
        super().__setattr__(name, value)

    @property
    def visited(self) -> list[RequestState]:
        visited: list[RequestState] = self.__dict__["visited"]
        return visited


Step = dict[str, Any]  # attributes of the session, before the request is processed once more


IS_TIME_UP = "is_time_up"


class Scene:
    def __init__(self, near: socket.socket, far: socket.socket, op: Op, wait_s: float) -> None:
        self.session = ScriptedSession()
        identity = WorkerIdentity(1, "0", SID, 1, 1)
        watch = lambda client: None  # noqa: E731
        self.requests = RequestRunner(cast(Any, self.session), identity, linger_s=0.0, watch_output=watch)
        self.client = WatchedClient(near, LINE_BYTES, deadline=0.0)
        self.far = far
        mode = "cancel" if op == "shutdown" else "hibernate"
        line = PoolRequest(op, 7, SID, wait_s=wait_s, mode=mode).encode()
        self.requests.accept(self.client, line, is_busy=lambda: False)

    def play(self, step: Step) -> None:
        for name, value in step.items():
            setattr(self.session, name, value)
        if step.get(IS_TIME_UP):
            self.requests.end(self.client)
        else:
            self.requests.process(self.client)

    @property
    def reply(self) -> str | None:
        """None while the request waits."""
        if self.client.request is not None:
            return None
        response = json.loads(self.far.recv(LINE_BYTES))
        if not response["ok"]:
            return f"error: {response['error']}"
        if response["data"]["feed_result"]["accepted"]:
            return "accepted"
        return "not taken" if response["data"].get("not_taken") else "state"


@contextmanager
def scene(op: Op = "continue", wait_s: float = 5.0) -> Iterator[Scene]:
    near, far = socket.socketpair()
    with closing(near), closing(far):
        far.setblocking(False)
        yield Scene(near, far, op, wait_s)
