"""Installs packages from git or a directory, and links packages that are under development.

    install_package     `{status: installed, installed, skipped, source, commit?}`
    remove_package      `{status: removed, removed}`
    link_package        `{status: linked, linked, source}`
    unlink_package      `{status: unlinked, unlinked, source}`

Contract: an install copies plain files. It is refused with one sentence, and changes nothing, if the source cannot be
fetched within `package_fetch_s`, has no package, exceeds a limit, or has a symbolic link to a place outside of it. The
rules for git stand in packages/git."""

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
from algocline_mcp.packages import installed
from algocline_mcp.packages.git import fetch, without_password
from algocline_mcp.packages.lookup import ORDER, entry_of
from algocline_mcp.packages.project import NAME
from algocline_mcp.storage.clock import now_s

Result = TypeVar("Result")
_URL = re.compile(r"(https?|ssh|git|file)://[^\s]+|[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:[^\s]+")
_BARE = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+/[^\s]+")  # github.com/owner/name
_PATH_PREFIXES = ("/", "~", "./", "../")
_MAX_DEPTH = 32  # of directories in a package


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
    """`source`: as for `fetched_source`. `name`: for a source that is one package. `only`: install only this package of
    a collection, or the package that the source is, under this name. `force`: replace installed packages."""
    _check_name(name)
    async with fetched_source(home, limits, source, fetch_s=fetch_s, environ=environ) as (staging, checkout, record):
        package_name = only or name or _name_of(source)
        copy = partial(_copy_packages, checkout, staging.path, package_name, limits, is_named=bool(name), only=only)
        await in_thread(copy)
        result = await in_thread(partial(installed.commit, home, limits, staging, record, force=force))
    origin = {key: value for key, value in record.items() if key != "installed_at"}
    return {"status": "installed"} | {key: value for key, value in result.items() if value} | origin


@asynccontextmanager
async def fetched_source(
    home: Home, limits: Limits, source: str, *, fetch_s: float | None, environ: Mapping[str, str]
) -> AsyncIterator[tuple[installed.Staging, Path, dict[str, Any]]]:
    """An empty staging directory; the directory `source`, or the checkout of that git URL; and the record
    `{source, installed_at, commit?}`. `#REVISION` after a URL selects another revision than HEAD. Raises Refused."""
    location = _parse_source(source)
    with anyio.CancelScope(shield=True):  # a cancellation in between would leave the staging open
        staging = await in_thread(partial(installed.Staging, home, limits))
    try:
        record: dict[str, Any] = {"source": without_password(source), "installed_at": now_s()}
        if isinstance(location, Path):
            checkout = location
        else:
            url, revision = location
            checkout = staging.checkout
            limit_s = limits.package_fetch_s if fetch_s is None else min(fetch_s, limits.package_fetch_s)
            record["commit"] = await fetch(url, revision, checkout, limits=limits, limit_s=limit_s, environ=environ)
        yield staging, checkout, record
    finally:
        with anyio.CancelScope(shield=True):
            await in_thread(staging.close)


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
    """Links a directory that is a package, or each package in it. Later changes in the directory count at once."""

    def link() -> dict[str, Any]:
        targets = link_targets(source, name)
        installed.link(home, limits, targets, force=force)
        path = os.path.abspath(os.path.expanduser(source))
        return {"status": "linked", "linked": list(targets), "source": path}

    return await in_thread(link)


def link_targets(source: str, name: str | None) -> dict[str, Path]:
    """Package name -> directory, for the packages in a directory. Raises Refused. Blocks on the disk."""
    _check_name(name)
    location = _parse_source(source)
    if not isinstance(location, Path):
        raise Refused("only a directory can be linked: give its path, or install the URL", code="bad_source")
    return dict(_packages_in(location, name or _name_of(source), is_named=bool(name)))


async def in_thread(function: Callable[[], Result]) -> Result:
    """With a limiter of its own: the SDK reads stdin in the threads of the default one."""
    return await anyio.to_thread.run_sync(function, limiter=anyio.CapacityLimiter(1))


# ── the source ────────────────────────────────────────────────────────────────────────────────────────────


def _parse_source(source: str) -> Path | tuple[str, str]:
    """A directory, or (URL, revision). Looks at the text only. Raises Refused."""
    if source.startswith(_PATH_PREFIXES) or source in (".", ".."):
        return Path(os.path.abspath(os.path.expanduser(source)))
    url, _, revision = source.partition("#")
    if _BARE.fullmatch(url) and not _URL.fullmatch(url):
        url = f"https://{url}"
    if not _URL.fullmatch(url) or url.startswith("-"):
        raise Refused(
            f"source {without_password(source)[:80]!r} is neither a git URL nor a path: give https://…, git@…, "
            "file://…, or a path that begins with / or ~ or ./",
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
        sentence = f"name {name[:80]!r} is not a package name: use at most 64 letters, digits, _ and -, as for require"
        raise Refused(sentence, code="bad_name")


# ── the packages of a source ──────────────────────────────────────────────────────────────────────────────


def _packages_in(source: Path, name: str, *, is_named: bool) -> Iterator[tuple[str, Path]]:
    """(name, directory): the source itself if it is a package, else each package in it. Raises Refused if there is no
    package, or if `is_named` and the source is a collection."""
    try:
        if entry_of(source).is_file():
            _check_name(name)
            yield name, source
            return
        inner = sorted(entry.name for entry in os.scandir(source) if entry_of(source / entry.name).is_file())
    except OSError as exc:
        raise Refused(f"cannot read {source}: {exc.strerror}; check the path", code="bad_source") from exc
    names = [directory for directory in inner if NAME.fullmatch(directory)]
    if not names:
        entries = " nor ".join(language.entry_file() for language in ORDER)
        sentence = f"the source has no package: neither {entries} nor a directory with one; check the address"
        raise Refused(sentence, code="no_package")
    if is_named:
        raise Refused(f"name is only for a single package, and the source has {len(names)}: omit name", code="bad_name")
    yield from ((directory, source / directory) for directory in names)


def _copy_packages(
    source: Path, target: Path, name: str, limits: Limits, *, is_named: bool, only: str | None = None
) -> None:
    """Raises Refused; the content of `target` is then incomplete."""
    copy = BoundedCopy(Path(os.path.realpath(source)), limits)
    try:
        packages = [
            package for package in _packages_in(source, name, is_named=is_named) if only is None or package[0] == only
        ]
        if not packages:
            raise Refused(f"the source no longer has package '{only}': install another", code="no_package")
        for package_name, directory in packages:
            copy.directory(directory, target / package_name, 0)
    except OSError as exc:
        raise Refused(f"cannot copy {exc.filename}: {exc.strerror}; nothing was installed", code="bad_source") from exc


class BoundedCopy:
    """Copies files below `root`, up to `package_files` files and `package_bytes` bytes in total. Links within `root`
    are followed, so the copies are plain files."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root = root
        self._limits = limits
        self._files = self._bytes = 0
        self._directories = 0  # links make any number of them out of a few

    def directory(self, source: Path, target: Path, depth: int) -> None:
        """Raises Refused, OSError."""
        source = self.resolve(source)
        if depth > _MAX_DEPTH:
            sentence = f"{self._shown(source)} lies more than {_MAX_DEPTH} directories deep: flatten the source"
            raise Refused(sentence, code="too_large")
        self._directories += 1
        self._check()
        target.mkdir(mode=0o700)
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            if _is_git(entry.name):
                continue
            path = self.resolve(source / entry.name) if entry.is_symlink() else source / entry.name
            if path.is_dir():
                self.directory(path, target / entry.name, depth + 1)
            else:
                self.file(path, target / entry.name)

    def file(self, source: Path, target: Path) -> None:
        """Raises Refused, OSError."""
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                sentence = f"{self._shown(source)} is not a regular file: remove it from the source"
                raise Refused(sentence, code="bad_source")
            content = file.read(self._limits.package_bytes - self._bytes + 1)
        self._files += 1
        self._bytes += len(content)
        self._check()
        with open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as copied:
            copied.write(content)

    def _check(self) -> None:
        if max(self._files, self._directories) > self._limits.package_files:
            what, limit, variable = "files or directories", self._limits.package_files, "ALC_PACKAGE_FILES"
        elif self._bytes > self._limits.package_bytes:
            what, limit, variable = "bytes", self._limits.package_bytes, "ALC_PACKAGE_BYTES"
        else:
            return
        raise Refused(f"the source has more than {limit} {what}: install a part, or raise {variable}", code="too_large")

    def resolve(self, path: Path) -> Path:
        """The real path. Raises Refused if it is outside `root` or does not exist."""
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self._root):
            sentence = f"{self._shown(path)} is a link that leaves the source: replace the link by its target"
            raise Refused(sentence, code="escapes")
        if any(map(_is_git, real.relative_to(self._root).parts)):  # it may hold a password
            raise Refused(f"{self._shown(path)} is a link into .git: remove it from the source", code="escapes")
        if not real.exists():
            raise Refused(f"{self._shown(path)} is a link to nothing: remove it from the source", code="bad_source")
        return real

    def _shown(self, path: Path) -> str:
        return os.fspath(path.relative_to(self._root)) if path.is_relative_to(self._root) else os.fspath(path)


def _is_git(name: str) -> bool:
    return name.lower() == ".git"  # macOS has the same file under both
