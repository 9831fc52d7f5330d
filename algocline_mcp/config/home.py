"""Paths under ALC_HOME. Nothing here touches the disk."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from algocline_mcp.errors import HomeUnusable

BUILT_IN_PACKAGES = Path(__file__).parent.parent / "strategies"
_PART_CHARS = 20


@dataclass(frozen=True)
class Home:
    """The paths of one home. `root` is absolute; directories are 0700, files and sockets 0600.

    A home has a part for each owner: the user, whose part is "", has the root itself; a principal has a directory below
    `owners`. What an owner begins and stores is in its part, so whatever is given the Home of one owner cannot reach
    anything of another. Shared are packages, scenarios and the names of sockets: `ID.sock` of the user, `ID.PART.sock`
    of a principal, in one directory, because the machine has room for so many workers, whose ever they are.

    Paths without a session id are made once: pathlib took 8 % of a server's time while 100 runs began, and the check
    of the directories before each run 50 us instead of 14."""

    root: Path
    part: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Home":
        """ALC_HOME, else ~/.algocline-mcp. Raises HomeUnusable where neither names a directory."""
        chosen = environ.get("ALC_HOME", "")
        if not chosen:
            user = environ.get("HOME", "")
            if not user:
                raise HomeUnusable("neither ALC_HOME nor HOME is set: set ALC_HOME to a directory for sessions")
            chosen = os.path.join(user, ".algocline-mcp")
        return cls(Path(os.path.abspath(os.path.expanduser(chosen))))

    def of(self, owner: str) -> "Home":
        """The part of this home that belongs to `owner`; "" is the user."""
        return Home(self.root, part_of(owner))

    @cached_property
    def owners(self) -> Path:
        return self.root / "owners"

    @cached_property
    def own(self) -> Path:
        return self.owners / self.part if self.part else self.root

    @cached_property
    def owner_name(self) -> Path:
        """The file with the name of a principal."""
        return self.own / "owner"

    @cached_property
    def state(self) -> Path:
        return self.own / "state"

    @cached_property
    def pool(self) -> Path:
        return self.root / "state" / "pool"

    @cached_property
    def sessions(self) -> Path:
        return self.state / "sessions"

    @cached_property
    def finished(self) -> Path:
        return self.sessions / "finished"

    @cached_property
    def principals(self) -> Path:
        """The tokens of principals, of all parts."""
        return self.root / "state" / "principals"

    @cached_property
    def state_database(self) -> Path:
        return self.state / "state.db"

    @cached_property
    def cards(self) -> Path:
        return self.own / "cards"

    @cached_property
    def scenarios(self) -> Path:
        return self.root / "scenarios"

    @cached_property
    def evals(self) -> Path:
        return self.own / "evals"

    @cached_property
    def log(self) -> Path:
        return self.own / "log"

    @cached_property
    def packages(self) -> Path:
        return self.root / "packages"

    @cached_property
    def registry(self) -> Path:
        return self.pool / "registry.json"

    @cached_property
    def registry_lock(self) -> Path:
        return self.pool / "registry.lock"

    def socket(self, sid: str) -> Path:
        return self.pool / f"{self.worker_key(sid)}.sock"

    def worker_key(self, sid: str) -> str:
        """The name of a session's socket, without its suffix."""
        return f"{sid}.{self.part}" if self.part else sid

    def session_of(self, worker_key: str) -> "tuple[Home, str]":
        """The part and the id of the session with this key, whose ever it is."""
        sid, _, part = worker_key.partition(".")
        return (self if part == self.part else Home(self.root, part)), sid

    def journal(self, sid: str) -> Path:
        return self.sessions / f"{sid}.journal"

    def finished_journal(self, sid: str) -> Path:
        return self.finished / f"{sid}.journal"

    def annotations(self, sid: str) -> Path:
        return self.finished / f"{sid}.notes"

    def stderr(self, sid: str) -> Path:
        return self.log / f"{sid}.err"


def part_of(owner: str) -> str:
    """The directory of a principal: 100 bits of a digest, because a name may have any characters, and file systems
    differ in which of them they take and tell apart."""
    if not owner:
        return ""
    import base64  # neither the worker nor the user's own server needs it
    import hashlib

    digest = hashlib.sha256(owner.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode()[:_PART_CHARS].lower()
