"""The packages of a home on disk: what was installed or linked, and how that changes in one step.

    packages/NAME            a link to an installed package, an absolute link (alc pkg link), or a directory by hand
    packages/.store/ID/NAME  what one install brought, with source.json beside it
    packages/.store/ID.part  what an install is just bringing; locked by it

Contract: a package appears, changes and goes by one rename or unlink of its link, so a session sees the old one or the
new one, and never half of one. The rename of ID.part is where an install has happened: who is killed after it left the
list `pending`, and the next one who looks links the rest. Who is killed before leaves a directory without a lock, which
the next change removes. Directories made by hand are never touched. Everything here blocks: it runs in threads.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import portalocker

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.storage.files import make_directories, sync_directory

_STORE = ".store"
_PART = ".part"
_SOURCE = "source.json"
_PENDING = "pending"


class Staging:
    """What an install is bringing. Nobody else removes it while it is open."""

    def __init__(self, home: Home, limits: Limits) -> None:
        """Raises StorageFailed, Refused."""
        self.path = home.packages / _STORE / f"{secrets.token_hex(8)}{_PART}"
        prepare(home)
        with changing(home, limits), _translated(home.packages):  # else it could be collected before it is locked
            _collect(home)
            self.path.mkdir(mode=0o700)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def checkout(self) -> Path:
        """Where a repository may lie meanwhile; no package."""
        return self.path / ".checkout"

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)


def prepare(home: Home) -> None:
    with _translated(home.packages):
        make_directories(home.root, home.packages, home.packages / _STORE)


def commit(home: Home, limits: Limits, draft: Staging, source: dict[str, Any], *, force: bool) -> dict[str, list[str]]:
    """Makes what the draft holds packages of the home: `{installed, skipped}`. Raises Refused where that is none."""
    shutil.rmtree(draft.checkout, ignore_errors=True)
    names = sorted(each.name for each in os.scandir(draft.path) if each.is_dir())
    with changing(home, limits), _translated(home.packages):
        taken = {name: why for name in names if (why := _obstacle(home, name, force=force))}
        fresh = [name for name in names if name not in taken]
        if not fresh:
            name, why = next(iter(taken.items()))
            more = f", and so with the {len(names) - 1} others" if len(names) > 1 else ""
            raise Refused(f"Package '{name}' {why}{more}", code="exists")
        for name in taken:
            shutil.rmtree(draft.path / name)
        _write(draft.path / _SOURCE, source | {"packages": fresh})
        _write(draft.path / _PENDING, fresh)
        os.sync()  # hundreds of small files: one by one it takes seconds
        place = draft.path.with_suffix("")
        draft.path.rename(place)
        sync_directory(place.parent)
        _link_pending(home, place)
        _collect(home)
    return {"installed": fresh, "skipped": list(taken)}


def _obstacle(home: Home, name: str, *, force: bool) -> str | None:
    """Why the name cannot be taken, with the cure."""
    target = target_of(home, name)
    if target is None:
        path = home.packages / name
        return f"is a directory made by hand: move {path} away first" if os.path.lexists(path) else None
    if os.path.isabs(target):
        return f'is linked to {target}: alc_package(action="unlink", name="{name}") removes the link first'
    return None if force else "is installed already: force replaces it"


def link(home: Home, limits: Limits, targets: dict[str, Path], *, force: bool) -> None:
    """Absolute links, all or none of them checked before the first is made."""
    prepare(home)
    with changing(home, limits), _translated(home.packages):
        for name in targets:
            is_link = target_of(home, name) is not None
            if os.path.lexists(home.packages / name) and not (force and is_link):
                cure = "force replaces it" if is_link else f"move {home.packages / name} away first"
                raise Refused(f"Package '{name}' is there already: {cure}", code="exists")
        for name, target in targets.items():
            _point(home, name, os.fspath(target))
        _collect(home)


def remove(home: Home, limits: Limits, name: str, *, is_linked: bool) -> str:
    """Takes a link away: one that `link` made, or that of an installed package with its files. Returns its target."""
    prepare(home)
    with changing(home, limits), _translated(home.packages):
        target = target_of(home, name)
        path = home.packages / name
        if target is None:
            if os.path.lexists(path):
                raise Refused(f"Package '{name}' was put there by hand: remove {path} yourself", code="not_installed")
            raise Refused(
                f"Package '{name}' is not installed here: alc_catalog(kind=\"packages\") shows what is",
                code="not_installed",
            )
        if os.path.isabs(target) != is_linked:
            right = f'alc_package(action="{"remove" if is_linked else "unlink"}", name="{name}")'
            what = "installed and no link" if is_linked else f"a link to {target}"
            raise Refused(f"Package '{name}' is {what}: {right} takes it away", code="not_installed")
        path.unlink()
        sync_directory(home.packages)
        _collect(home)
        return target


def target_of(home: Home, name: str) -> str | None:
    """Where the link of a package leads, relative for an installed one; None where there is no link."""
    try:
        return os.readlink(home.packages / name)
    except OSError:
        return None


def source_of(home: Home, name: str) -> dict[str, Any]:
    """What its install wrote down: `{source, commit, installed_at}`; empty where that is not known."""
    target = target_of(home, name)
    if target is None:
        return {}
    if os.path.isabs(target):
        return {"source": target}
    try:
        told = json.loads((home.packages / target).parent.joinpath(_SOURCE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: told[key] for key in ("source", "commit", "installed_at") if key in told}


def settle(home: Home) -> None:
    """Links what an install that was killed has left to link. Does nothing while somebody else changes packages."""
    if not _unfinished(home):
        return
    with contextlib.suppress(StorageFailed, OSError, portalocker.LockException), _locked(home, 0.0):
        for place in _unfinished(home):
            _link_pending(home, place)


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def changing(home: Home, limits: Limits) -> Iterator[None]:
    """Nobody else changes packages meanwhile; what a killed install left is put in order first."""
    try:
        with _locked(home, limits.package_lock_s):
            for place in _unfinished(home):
                _link_pending(home, place)
            yield
    except portalocker.LockException as exc:
        raise Refused(
            f"the packages of {home.packages} are being changed by another process: try again when it is done",
            code="busy",
        ) from exc


def _locked(home: Home, timeout_s: float) -> portalocker.Lock:
    flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
    path = home.packages / _STORE / "lock"
    return portalocker.Lock(path, mode="a", timeout=timeout_s, check_interval=0.005, flags=flags)


def _unfinished(home: Home) -> list[Path]:
    """What has happened and is not linked yet. A draft has its list too, a moment before it happens."""
    found = (path.parent for path in (home.packages / _STORE).glob(f"*/{_PENDING}"))
    return [place for place in found if place.suffix != _PART]


def _link_pending(home: Home, place: Path) -> None:
    names: Sequence[str] = json.loads((place / _PENDING).read_bytes())
    for name in names:
        _point(home, name, os.path.join(_STORE, place.name, name))
    sync_directory(home.packages)
    (place / _PENDING).unlink()


def _point(home: Home, name: str, target: str) -> None:
    draft = home.packages / _STORE / f"{secrets.token_hex(8)}.link"
    draft.symlink_to(target)
    os.replace(draft, home.packages / name)


def _collect(home: Home) -> None:
    """Removes what no link leads to any more. What cannot be removed is tried again by the next change."""
    used = {os.path.normpath(target) for each in os.scandir(home.packages) if (target := target_of(home, each.name))}
    for place in (home.packages / _STORE).iterdir():
        if place.suffix == ".link":
            place.unlink(missing_ok=True)
        elif place.suffix == _PART:
            _collect_draft(place)
        elif place.is_dir() and not (place / _PENDING).exists():
            parts = [each for each in place.iterdir() if each.is_dir()]
            gone = [each for each in parts if os.path.join(_STORE, place.name, each.name) not in used]
            for each in gone if len(gone) < len(parts) else [place]:
                shutil.rmtree(each, ignore_errors=True)


def _collect_draft(path: Path) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(fd)


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageFailed(f"cannot change {exc.filename or path}: {exc.strerror}; mend or free that disk") from exc
