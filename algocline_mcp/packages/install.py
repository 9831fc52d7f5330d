"""Brings packages into a home: by git or from a directory, and links to packages that are worked on.

    install_package     `{status: installed, installed, skipped, source, commit?}`
    remove_package, link_package, unlink_package

Contract: refused with one sentence, and nothing is changed, where the source cannot be had within `package_fetch_s`,
holds no package, is over a limit, or has a link that leaves it. No hook of a repository is run, no submodule followed,
nobody asked for a password. What is copied is plain files.
"""

import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LUA
from algocline_mcp.packages import installed
from algocline_mcp.packages.git import fetch, public
from algocline_mcp.packages.project import NAME
from algocline_mcp.storage.clock import now_s

Result = TypeVar("Result")
_URL = re.compile(r"(https?|ssh|git|file)://[^\s]+|[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:[^\s]+")
_BARE = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+/[^\s]+")  # github.com/owner/name
_DIRECT = ("/", "~", "./", "../")
_DEPTH = 32  # of directories in a package


async def install_package(
    home: Home,
    limits: Limits,
    source: str,
    *,
    name: str | None = None,
    only: str | None = None,
    force: bool = False,
    fetch_s: float | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, Any]:
    """`only`: this package of a source of several, or that of a single one under this name."""
    _check_name(name)
    async with brought(home, limits, source, fetch_s=fetch_s, environ=environ) as (draft, checkout, told):
        named = only or name or _name_of(source)
        copy = partial(_copy_packages, checkout, draft.path, named, limits, is_named=bool(name), only=only)
        await in_thread(copy)
        done = partial(installed.commit, home, limits, draft, told, force=force)
        result = await in_thread(done)
    kept = {key: value for key, value in told.items() if key != "installed_at"}
    return {"status": "installed"} | {key: value for key, value in result.items() if value} | kept


@asynccontextmanager
async def brought(
    home: Home, limits: Limits, source: str, *, fetch_s: float | None, environ: Mapping[str, str]
) -> AsyncIterator[tuple[installed.Staging, Path, dict[str, Any]]]:
    """A draft to fill, the directory `source` as it was fetched or lies there, and what is told of it. `source`: a
    directory, or a git URL, with `#revision` behind it if it shall be another than its head. Raises Refused."""
    place = _place(source)
    with anyio.CancelScope(shield=True):  # else nobody would close it
        draft = await in_thread(partial(installed.Staging, home, limits))
    try:
        told: dict[str, Any] = {"source": public(source), "installed_at": now_s()}
        if isinstance(place, Path):
            checkout = place
        else:
            url, revision = place
            checkout = draft.checkout
            limit_s = limits.package_fetch_s if fetch_s is None else min(fetch_s, limits.package_fetch_s)
            told["commit"] = await fetch(url, revision, checkout, limits.package_bytes, limit_s, environ)
        yield draft, checkout, told
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(draft.close)


async def remove_package(home: Home, limits: Limits, name: str) -> dict[str, Any]:
    _check_name(name)
    await in_thread(partial(installed.remove, home, limits, name, is_linked=False))
    return {"status": "removed", "removed": [name]}


async def unlink_package(home: Home, limits: Limits, name: str) -> dict[str, Any]:
    _check_name(name)
    target = await in_thread(partial(installed.remove, home, limits, name, is_linked=True))
    return {"status": "unlinked", "unlinked": name, "source": target}


async def link_package(
    home: Home, limits: Limits, source: str, *, name: str | None = None, force: bool = False
) -> dict[str, Any]:
    """Links to a directory with a package, or with several. What is changed there counts at once."""

    def carry_out() -> dict[str, Any]:
        targets = targets_of(source, name)
        installed.link(home, limits, targets, force=force)
        place = os.path.abspath(os.path.expanduser(source))
        return {"status": "linked", "linked": list(targets), "source": place}

    return await in_thread(carry_out)


def targets_of(source: str, name: str | None) -> dict[str, Path]:
    """The packages in a directory: name -> its directory. Raises Refused. It blocks."""
    _check_name(name)
    place = _place(source)
    if not isinstance(place, Path):
        raise Refused("only a directory can be linked: give its path, or install the URL", code="bad_source")
    return dict(_packages_in(place, name or _name_of(source), is_named=bool(name)))


async def in_thread(function: Callable[[], Result]) -> Result:
    """Not one of the SDK's threads: it reads stdin in those."""
    return await anyio.to_thread.run_sync(function, limiter=anyio.CapacityLimiter(1))


# ── where it comes from ───────────────────────────────────────────────────────────────────────────────────


def _place(source: str) -> Path | tuple[str, str]:
    """A directory, or URL and revision. Only the form decides. Raises Refused."""
    if source.startswith(_DIRECT) or source in (".", ".."):
        return Path(os.path.abspath(os.path.expanduser(source)))
    url, _, revision = source.partition("#")
    if _BARE.fullmatch(url) and not _URL.fullmatch(url):
        url = f"https://{url}"
    if not _URL.fullmatch(url) or url.startswith("-"):
        raise Refused(
            f"source {public(source)[:80]!r} is neither a git URL nor a path: give https://…, git@…, file://…, or a "
            "path that begins with / or ~ or ./",
            code="bad_source",
        )
    return url, revision or "HEAD"


def _name_of(source: str) -> str:
    last = re.split(r"[/:]", source.partition("#")[0].rstrip("/"))[-1]
    if last in ("", ".", "..", "~"):
        last = os.path.basename(os.path.abspath(os.path.expanduser(source)))
    return last.removesuffix(".git")


def _check_name(name: str | None) -> None:
    if name is not None and not NAME.fullmatch(name):
        shown = f"name {name[:80]!r} is no name of a package"
        raise Refused(f"{shown}: at most 64 letters, digits, _ and -, as require takes it", code="bad_name")


# ── what is in it ─────────────────────────────────────────────────────────────────────────────────────────


def _packages_in(source: Path, name: str, *, is_named: bool) -> Iterator[tuple[str, Path]]:
    """One package where the directory itself is one, else each directory in it. Raises Refused where there is none."""
    entry = LUA.module_forms[-1].format("").removeprefix("/")
    try:
        if (source / entry).is_file():
            _check_name(name)
            yield name, source
            return
        inner = sorted(each.name for each in os.scandir(source) if (source / each.name / entry).is_file())
    except OSError as exc:
        raise Refused(f"cannot read {source}: {exc.strerror}; check the path", code="bad_source") from exc
    found = [each for each in inner if NAME.fullmatch(each)]
    if not found:
        sentence = f"that source holds no package: it has neither {entry} nor a directory with one; check the address"
        raise Refused(sentence, code="no_package")
    if is_named:
        raise Refused(
            f"name is for a single package, and there are {len(found)} of them: leave it out", code="bad_name"
        )
    yield from ((each, source / each) for each in found)


def _copy_packages(
    source: Path, draft: Path, name: str, limits: Limits, *, is_named: bool, only: str | None = None
) -> None:
    """Raises Refused, and then the draft is of no use."""
    copy = Copy(Path(os.path.realpath(source)), limits)
    try:
        found = [each for each in _packages_in(source, name, is_named=is_named) if only in (None, each[0])]
        if not found:
            raise Refused(f"that source holds no package '{only}' any more: install another", code="no_package")
        for each, directory in found:
            copy.directory(directory, draft / each, 0)
    except OSError as exc:
        raise Refused(f"cannot copy {exc.filename}: {exc.strerror}; nothing was installed", code="bad_source") from exc


class Copy:
    """Counts as it copies. Links inside the source are followed, so that what arrives is plain files."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._files = self._bytes = 0

    def directory(self, source: Path, target: Path, depth: int) -> None:
        source = self.inside(source)
        if depth > _DEPTH:
            raise Refused(
                f"{self._shown(source)} lies more than {_DEPTH} directories deep: flatten it", code="too_large"
            )
        target.mkdir(mode=0o700)
        for each in sorted(os.scandir(source), key=lambda each: each.name):
            if each.name == ".git":
                continue
            path = self.inside(source / each.name) if each.is_symlink() else source / each.name
            if path.is_dir():
                self.directory(path, target / each.name, depth + 1)
            else:
                self.file(path, target / each.name)

    def file(self, source: Path, target: Path) -> None:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise Refused(f"{self._shown(source)} is no regular file: remove it from the source", code="bad_source")
            content = file.read(self._limits.package_bytes - self._bytes + 1)
        self._files += 1
        self._bytes += len(content)
        if self._files > self._limits.package_files:
            what, most, variable = "files", self._limits.package_files, "ALC_PACKAGE_FILES"
        elif self._bytes > self._limits.package_bytes:
            what, most, variable = "bytes", self._limits.package_bytes, "ALC_PACKAGE_BYTES"
        else:
            with open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as copied:
                copied.write(content)
            return
        raise Refused(f"the source has more than {most} {what}: install a part, or raise {variable}", code="too_large")

    def inside(self, path: Path) -> Path:
        """Where it really lies. Raises Refused for what leaves the source, and for a link to nowhere."""
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self._root):
            raise Refused(
                f"{self._shown(path)} is a link that leaves the source: replace it by what it links to", code="escapes"
            )
        if not real.exists():
            raise Refused(f"{self._shown(path)} is a link to nothing: remove it from the source", code="bad_source")
        return real

    def _shown(self, path: Path) -> str:
        return os.fspath(path.relative_to(self._root)) if path.is_relative_to(self._root) else os.fspath(path)
