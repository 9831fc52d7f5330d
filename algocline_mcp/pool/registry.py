"""registry.json: the live workers of a home, for people and other tools.

The program itself finds nothing through the file, except the pid of an owner that does not answer.

Contract: the file has upstream's shape, `{"sessions": [{sid, pid, sock, version, created_at}]}`, with fields added. It
is replaced as a whole (temporary file, then exchanged) under `registry.lock`, which is never replaced itself. A file
that cannot be parsed is renamed to registry.json.corrupt-TIME. A corrupt or missing file is rebuilt from the entries of
this server and from the sockets of other servers' workers. Errors are returned as text for `pool_save_error`, never
raised: no session depends on the file.

Waiting for registry.lock is polled every 5 ms for `registry_lock_s` at most, in a thread: a file lock offers no event
with a deadline.
"""

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from algocline_mcp import __version__
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool import process_identity
from algocline_mcp.storage.files import open_in_place, replace_under_lock

# While it is imported, portalocker asks for the temporary directory, for a class that is not used here. On a full disk
# there is none, and the server would end instead of showing what it has.
_temporary_directory, tempfile.tempdir = tempfile.tempdir, tempfile.tempdir or os.sep
import portalocker  # noqa: E402

tempfile.tempdir = _temporary_directory

CORRUPT_SUFFIX = ".corrupt-"  # then unix time in milliseconds
_CHECK_INTERVAL_S = 0.005  # portalocker's default of 0.25 s would delay every run that has to wait


class PoolSessionEntry(BaseModel):
    """One live worker. `pid` is the keeper's; the last four fields tell it from a later process with the same pid."""

    model_config = ConfigDict(extra="allow", frozen=True)

    sid: str
    pid: int = Field(gt=0, lt=1 << 31)
    sock: str
    version: str
    created_at: str
    boot_id: str | None = None
    pid_ns: int | None = None
    start_time: int | None = None
    pidfd_ino: int | None = None

    @cached_property
    def key(self) -> str:
        """As Home.worker_key: the same id in the parts of two owners is two sessions."""
        name = os.path.basename(self.sock).removesuffix(".sock")
        return name if name.startswith(f"{self.sid}.") else self.sid

    @classmethod
    def of(cls, sid: str, sock: Path, identity: process_identity.ProcessIdentity) -> Self:
        created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        # A name that is not UTF-8 has no JSON; the program itself does not read this field.
        shown = os.fsencode(sock).decode("utf-8", "backslashreplace")
        return cls(sid=sid, sock=shown, version=__version__, created_at=created_at, **identity.as_fields())

    @property
    def identity(self) -> process_identity.ProcessIdentity:
        return process_identity.ProcessIdentity(self.pid, self.boot_id, self.pid_ns, self.start_time, self.pidfd_ino)


class PoolRegistry(BaseModel):
    model_config = ConfigDict(extra="allow")

    sessions: list[PoolSessionEntry] = []

    @classmethod
    def load(cls, path: Path) -> Self:
        """Empty if there is no file. Raises OSError, also for a symbolic link, and ValidationError."""
        content = _content(path)
        return cls() if content is None else cls.model_validate_json(content)

    def add(self, entry: PoolSessionEntry) -> None:
        self.sessions = [other for other in self.sessions if other.key != entry.key] + [entry]

    def remove(self, key: str, pid: int) -> None:
        """Removes the entry of that worker only: the session may have been revived since."""
        self.sessions = [entry for entry in self.sessions if (entry.key, entry.pid) != (key, pid)]

    def find(self, key: str) -> PoolSessionEntry | None:
        """`key`: of a worker (Home.worker_key); of the user's sessions it is their id."""
        return next((entry for entry in self.sessions if entry.key == key), None)

    def save(self, path: Path) -> bytes:
        """Replaces the file, 0600. Not flushed: after a power cut it is rebuilt. Raises OSError; the old one stays.

        Returns the content."""
        content = self.model_dump_json(indent=1, exclude_none=True, ensure_ascii=True).encode("ascii")
        replace_under_lock(path, content)
        return content


def _content(path: Path) -> bytes | None:
    """None if there is no file."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


class Change:
    """One entry to add or remove, or neither: drop dead entries. Written in the background by RegistryWriter.run."""

    def __init__(self, unwritten: str, *, add: PoolSessionEntry | None = None, remove: tuple[str, int] | None = None):
        self.add = add
        self.remove = remove
        self._error: str | None = unwritten
        self._done = anyio.Event()

    def end(self, error: str | None) -> None:
        self._error = error
        self._done.set()

    async def error(self, limit_s: float) -> str | None:
        """Waits at most `limit_s` for the write. Returns None if it succeeded, else text for `pool_save_error`."""
        with anyio.move_on_after(limit_s):
            await self._done.wait()
        return self._error


@dataclass
class RegistryWriter:
    """Writes the changes of one server. `run` writes together what was queued during the write before."""

    home: Home
    limits: Limits
    known: dict[str, PoolSessionEntry] = field(default_factory=dict)  # by key, as all below
    _unreported: dict[str, Change] = field(default_factory=dict)  # added entries whose outcome was not reported yet
    _waiting: list[Change] = field(default_factory=list)
    _written: tuple[bytes, PoolRegistry] | None = None  # the file's content as it was last, and what it means
    _writing: int = 0  # changes in the write that is under way
    _asked: anyio.Event = field(default_factory=anyio.Event)
    # A limiter of its own: a thread that waits for the lock must not delay work in the default limiter.
    _threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    @property
    def pending(self) -> int:
        """Changes that are not written yet."""
        return len(self._waiting) + self._writing

    def add(self, entry: PoolSessionEntry) -> Change:
        self.known[entry.key] = entry
        change = self._unreported[entry.key] = self._ask(add=entry)
        return change

    def take_unreported(self, key: str) -> Change | None:
        """The queued write of the worker's entry, to the first caller only: the outcome is reported once."""
        return self._unreported.pop(key, None)

    def remove(self, key: str, pid: int) -> Change:
        if key in self.known and self.known[key].pid == pid:
            del self.known[key]
            self._unreported.pop(key, None)
        return self._ask(remove=(key, pid))

    def prune(self) -> Change:
        """Removes the entries whose process is gone."""
        return self._ask()

    def _ask(self, *, add: PoolSessionEntry | None = None, remove: tuple[str, int] | None = None) -> Change:
        unwritten = f"{self.home.registry} is not written yet: the session goes on"
        change = Change(unwritten, add=add, remove=remove)
        self._waiting.append(change)
        self._asked.set()
        return change

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            group, self._waiting = self._waiting, []
            self._writing = len(group)
            error = await anyio.to_thread.run_sync(self._write, group, limiter=self._threads)
            for change in group:
                change.end(error)
            self._writing = 0

    def _write(self, group: list[Change]) -> str | None:
        try:
            with with_registry_lock(self.home.registry_lock, timeout_s=self.limits.registry_lock_s):
                registry, before = self._load()
                self._complete(registry, is_new=before is None)
                for change in group:
                    if change.add is not None:
                        is_listed = any(entry is change.add for entry in registry.sessions)  # by _complete
                        # Where it is not alive, its removal may have been written before.
                        if not is_listed and change.add.identity.is_alive():
                            registry.add(change.add)
                    elif change.remove is not None:
                        registry.remove(*change.remove)
                    else:
                        registry.sessions = [entry for entry in registry.sessions if entry.identity.is_alive()]
                if registry.sessions != before:
                    self._written = (registry.save(self.home.registry), registry)
        except portalocker.LockException:
            return (
                f"{self.home.registry_lock} is held by another process for {self.limits.registry_lock_s} s: "
                "the session goes on, registry.json does not list it"
            )
        except OSError as exc:
            return f"cannot write {self.home.registry}: {exc.strerror}; the session goes on, but is not listed there"
        return None

    def _load(self) -> tuple[PoolRegistry, list[PoolSessionEntry] | None]:
        """`(registry, entries in the file)`. The entries are None if there is no usable file."""
        content = None
        try:
            content = _content(self.home.registry)
            if content is None:
                return PoolRegistry(), None
            # What nobody else has changed is not validated again: 5 us an entry. Its times would not tell, for two
            # writes may fall into one tick of the file system's clock.
            if self._written is None or self._written[0] != content:
                self._written = (content, PoolRegistry.model_validate_json(content))
            registry = self._written[1].model_copy()
        except (ValidationError, OSError) as exc:
            # A symbolic link (ELOOP) is renamed like a corrupt file; its target stays as it is.
            if isinstance(exc, OSError) and exc.errno != errno.ELOOP:
                raise
            os.replace(self.home.registry, f"{self.home.registry}{CORRUPT_SUFFIX}{time.time_ns() // 10**6}")
            return PoolRegistry(), None
        return registry, list(registry.sessions)

    def _complete(self, registry: PoolRegistry, *, is_new: bool) -> None:
        """Adds entries that an earlier write could not add, or that were lost with the file."""
        listed = {entry.key for entry in registry.sessions}
        for entry in list(self.known.values()):
            if entry.key not in listed and entry.identity.is_alive():
                registry.add(entry)
        for path in self.home.pool.glob("p-*.sock") if is_new else ():
            sid = path.name.partition(".")[0]
            if path.name.removesuffix(".sock") in self.known:
                continue
            identity = process_identity.identify_listener(path, f"pool-worker {sid}")
            if identity is not None:
                registry.add(PoolSessionEntry.of(sid, path, identity))


@contextmanager
def with_registry_lock(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Holds registry.lock. Raises portalocker.LockException after `timeout_s`, OSError if it cannot be opened."""

    def opener(name: str, flags: int) -> int:
        return open_in_place(Path(name), flags)

    options: dict[str, Any] = {"opener": opener}
    with portalocker.Lock(path, "a", timeout=timeout_s, check_interval=_CHECK_INTERVAL_S, **options):
        yield
