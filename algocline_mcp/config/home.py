"""Paths under ALC_HOME. Nothing here touches the disk."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from algocline_mcp.errors import HomeUnusable


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one home. `root` is absolute; directories are 0700, files and sockets 0600."""

    root: Path

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

    @property
    def pool(self) -> Path:
        return self.root / "state" / "pool"

    @property
    def sessions(self) -> Path:
        return self.root / "state" / "sessions"

    @property
    def finished(self) -> Path:
        return self.sessions / "finished"

    @property
    def state_database(self) -> Path:
        return self.root / "state" / "state.db"

    @property
    def cards(self) -> Path:
        return self.root / "cards"

    @property
    def scenarios(self) -> Path:
        return self.root / "scenarios"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def packages(self) -> Path:
        return self.root / "packages"

    @property
    def registry(self) -> Path:
        return self.pool / "registry.json"

    @property
    def registry_lock(self) -> Path:
        return self.pool / "registry.lock"

    def socket(self, sid: str) -> Path:
        return self.pool / f"{sid}.sock"

    def journal(self, sid: str) -> Path:
        return self.sessions / f"{sid}.journal"

    def finished_journal(self, sid: str) -> Path:
        return self.finished / f"{sid}.journal"

    def annotations(self, sid: str) -> Path:
        return self.finished / f"{sid}.notes"

    def stderr(self, sid: str) -> Path:
        return self.log / f"{sid}.err"
