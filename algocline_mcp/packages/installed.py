"""Installed and linked packages of a home on disk; each change is one atomic step.

    packages/NAME            a relative link (installed), an absolute link (alc pkg link), or a directory made by hand
    packages/.store/ID/NAME  the packages of one install, with source.json beside them
    packages/.store/ID.part  staging directory of an install in progress, which holds a lock on it

Contract: a package is added, replaced or removed by one rename or unlink of its link, so a session sees either the old
or the new version, never a mixture. An install has happened with the rename of ID.part. If its process is killed after
that, the file `pending` lists the links that are missing, and the next reader or change makes them. If it is killed
before, ID.part has no lock any more, and the next change removes it. A directory made by hand is never changed. Every
function blocks on the disk: call it in a thread.
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
from algocline_mcp.storage.files import make_directories, open_in_place, sync_directory

_STORE = ".store"
_PART = ".part"
_SOURCE = "source.json"
_PENDING = "pending"


class Staging:
    """Staging directory of one install; locked until `close`, so that no other process removes it."""

    def __init__(self, home: Home, limits: Limits) -> None:
        """Raises StorageFailed, Refused."""
        self.path = home.packages / _STORE / f"{secrets.token_hex(8)}{_PART}"
        prepare(home)
        # Exclusive, because between mkdir and flock another change would remove the directory as abandoned.
        with exclusive_change(home, limits), _storage_errors(home.packages):
            _remove_unreferenced(home)
            self.path.mkdir(mode=0o700)
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def checkout(self) -> Path:
        """Directory for a fetched repository; never installed itself."""
        return self.path / ".checkout"

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)


def prepare(home: Home) -> None:
    with _storage_errors(home.packages):
        make_directories(home.root, home.packages, home.packages / _STORE)


def commit(
    home: Home, limits: Limits, staging: Staging, source: dict[str, Any], *, force: bool
) -> dict[str, list[str]]:
    """Installs the packages in the staging directory: `{installed, skipped}`. `source`: content of source.json. Raises
    Refused if no package can be installed."""
    shutil.rmtree(staging.checkout, ignore_errors=True)
    names = sorted(entry.name for entry in os.scandir(staging.path) if entry.is_dir())
    with exclusive_change(home, limits), _storage_errors(home.packages):
        conflicts = {name: reason for name in names if (reason := _conflict(home, name, force=force))}
        accepted = [name for name in names if name not in conflicts]
        if not accepted:
            name, reason = next(iter(conflicts.items()))
            others = f"; the {len(names) - 1} others conflict too" if len(names) > 1 else ""
            raise Refused(f"Package '{name}' {reason}{others}", code="exists")
        for name in conflicts:
            shutil.rmtree(staging.path / name)
        _write(staging.path / _SOURCE, source | {"packages": accepted})
        _write(staging.path / _PENDING, accepted)
        os.sync()  # hundreds of small files: to flush each of them takes seconds
        directory = staging.path.with_suffix("")
        staging.path.rename(directory)
        sync_directory(directory.parent)
        _link_pending(home, directory)
        _remove_unreferenced(home)
    return {"installed": accepted, "skipped": list(conflicts)}


def _conflict(home: Home, name: str, *, force: bool) -> str | None:
    """The reason why the name cannot be installed, with the cure; None if it can."""
    target = link_target(home, name)
    if target is None:
        path = home.packages / name
        return f"is a directory made by hand: move {path} away first" if os.path.lexists(path) else None
    if os.path.isabs(target):
        return f'is linked to {target}: alc_package(action="unlink", name="{name}") removes the link first'
    return None if force else "is installed already: force replaces it"


def link(home: Home, limits: Limits, targets: dict[str, Path], *, force: bool) -> None:
    """Makes an absolute link for each (name, directory). All names are checked before the first link is made."""
    prepare(home)
    with exclusive_change(home, limits), _storage_errors(home.packages):
        for name in targets:
            is_link = link_target(home, name) is not None
            if os.path.lexists(home.packages / name) and not (force and is_link):
                cure = "force replaces it" if is_link else f"move {home.packages / name} away first"
                raise Refused(f"Package '{name}' exists already: {cure}", code="exists")
        for name, target in targets.items():
            _replace_link(home, name, os.fspath(target))
        _remove_unreferenced(home)


def remove(home: Home, limits: Limits, name: str, *, is_linked: bool) -> str:
    """Removes a link and returns its target. `is_linked`: the link must be one made by `link`; otherwise it must be an
    installed package, whose files are removed too. Raises Refused."""
    prepare(home)
    with exclusive_change(home, limits), _storage_errors(home.packages):
        target = link_target(home, name)
        path = home.packages / name
        if target is None:
            if os.path.lexists(path):
                raise Refused(f"Package '{name}' was put there by hand: remove {path} yourself", code="not_installed")
            raise Refused(
                f"Package '{name}' is not installed here: alc_catalog(kind=\"packages\") lists the installed ones",
                code="not_installed",
            )
        if os.path.isabs(target) != is_linked:
            cure = f'alc_package(action="{"remove" if is_linked else "unlink"}", name="{name}")'
            state = "installed, not linked" if is_linked else f"a link to {target}"
            raise Refused(f"Package '{name}' is {state}: use {cure}", code="not_installed")
        path.unlink()
        sync_directory(home.packages)
        _remove_unreferenced(home)
        return target


def link_target(home: Home, name: str) -> str | None:
    """Target of a package's link, relative if the package is installed; None if there is no link."""
    try:
        return os.readlink(home.packages / name)
    except OSError:
        return None


def provenance(home: Home, name: str) -> dict[str, Any]:
    """`{source, commit?, installed_at}` as recorded by the install; `{source}` for a link; empty if not known."""
    target = link_target(home, name)
    if target is None:
        return {}
    if os.path.isabs(target):
        return {"source": target}
    try:
        record = json.loads((home.packages / target).parent.joinpath(_SOURCE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: record[key] for key in ("source", "commit", "installed_at") if key in record}


def recover(home: Home) -> None:
    """Makes the links that a killed install left pending. Does nothing while another process changes packages."""
    if not _pending_installs(home):
        return
    with contextlib.suppress(StorageFailed, OSError, portalocker.LockException), _lock(home, 0.0):
        for directory in _pending_installs(home):
            _link_pending(home, directory)


# ── inside ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def exclusive_change(home: Home, limits: Limits) -> Iterator[None]:
    """No other process changes packages meanwhile; pending links are made first. Raises Refused after
    `package_lock_s`."""
    try:
        with _storage_errors(home.packages), _lock(home, limits.package_lock_s):
            for directory in _pending_installs(home):
                _link_pending(home, directory)
            yield
    except portalocker.LockException as exc:
        raise Refused(
            f"the packages of {home.packages} are being changed by another process: try again when it has finished",
            code="busy",
        ) from exc


def _lock(home: Home, timeout_s: float) -> portalocker.Lock:
    flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
    path = home.packages / _STORE / "lock"
    options: dict[str, Any] = {"opener": lambda name, mode: open_in_place(Path(name), mode)}
    return portalocker.Lock(path, mode="a", timeout=timeout_s, check_interval=0.005, flags=flags, **options)


def _pending_installs(home: Home) -> list[Path]:
    """Directories of the store with links to make. A staging directory has its list before the install has happened."""
    directories = (path.parent for path in (home.packages / _STORE).glob(f"*/{_PENDING}"))
    return [directory for directory in directories if directory.suffix != _PART]


def _link_pending(home: Home, directory: Path) -> None:
    names: Sequence[str] = json.loads((directory / _PENDING).read_bytes())
    for name in names:
        _replace_link(home, name, os.path.join(_STORE, directory.name, name))
    sync_directory(home.packages)
    (directory / _PENDING).unlink()


def _replace_link(home: Home, name: str, target: str) -> None:
    link = home.packages / _STORE / f"{secrets.token_hex(8)}.link"
    link.symlink_to(target)
    os.replace(link, home.packages / name)


def _remove_unreferenced(home: Home) -> None:
    """Removes what no link leads to, and abandoned staging. Whatever cannot be removed is left to the next change."""
    entries = os.scandir(home.packages)
    used = {os.path.normpath(target) for entry in entries if (target := link_target(home, entry.name))}
    for directory in (home.packages / _STORE).iterdir():
        if directory.suffix == ".link":
            directory.unlink(missing_ok=True)
        elif directory.suffix == _PART:
            _remove_abandoned(directory)
        elif directory.is_dir() and not (directory / _PENDING).exists():
            packages = [path for path in directory.iterdir() if path.is_dir()]
            unused = [path for path in packages if os.path.join(_STORE, directory.name, path.name) not in used]
            for path in unused if len(unused) < len(packages) else [directory]:
                shutil.rmtree(path, ignore_errors=True)


def _remove_abandoned(staging: Path) -> None:
    """Removes a staging directory unless its install is still running, and so holds the lock."""
    with contextlib.suppress(OSError):
        fd = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(staging, ignore_errors=True)
        finally:
            os.close(fd)


def _write(path: Path, value: Any) -> None:
    with open(open_in_place(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
        json.dump(value, file)


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageFailed(f"cannot change {exc.filename or path}: {exc.strerror}; free or repair that disk") from exc
