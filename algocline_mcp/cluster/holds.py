"""Sessions that this node holds, in memory: what it may commit for, and under which epoch.

Contract. The database decides who holds a session; this is what the node knows of it. It may be behind: then a commit
is fenced there. A session that is not here is committed by nobody on this node. The event loop and the threads that
commit use one object; each method is atomic.
"""

import secrets
import socket
import threading
from dataclasses import dataclass
from os import getpid


@dataclass(frozen=True, slots=True)
class Hold:
    """`epoch`: which each write of the session compares. `owner`: whose session it is."""

    epoch: int
    owner: str


def node_name() -> str:
    """`HOST:PID:TOKEN`, another one for each life of a node."""
    return f"{socket.gethostname()}:{getpid()}:{secrets.token_hex(8)}"


class Holds:
    def __init__(self, node: str) -> None:
        self.node = node
        self._held: dict[str, Hold] = {}
        self._lock = threading.Lock()

    def of(self, sid: str) -> Hold | None:
        with self._lock:
            return self._held.get(sid)

    def take(self, sid: str, hold: Hold) -> None:
        with self._lock:
            self._held[sid] = hold

    def drop(self, sid: str, epoch: int | None = None) -> bool:
        """Whether it was held. `epoch`: only if it is held under this one; a newer hold stays."""
        with self._lock:
            hold = self._held.get(sid)
            if hold is None or epoch not in (None, hold.epoch):
                return False
            del self._held[sid]
            return True

    def drop_all(self) -> list[str]:
        """Which were held."""
        with self._lock:
            sids = list(self._held)
            self._held.clear()
            return sids

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)
