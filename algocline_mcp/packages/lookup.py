"""Which packages are there, where a name leads, and what each says of itself. Files are only read.

Contract: a name is looked up as a session's `require` does: the project's own packages first, then ALC_PACKAGES_PATH,
the home's, the original program's. `SearchPath.of` reads the project's files; the rest reads what it is asked for. All of it
blocks on the disk: it runs in threads.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LUA
from algocline_mcp.packages.metadata import PackageMetadata, metadata_of
from algocline_mcp.packages.project import NAME, Project, read_project

PUBLISHED = "github.com/ynishi/algocline-bundled-packages"
_SHOWN_CHARS = 100  # of a description in a sentence
_NEAREST = 3
_KNOWN_MOST = 2000  # descriptions that are remembered


@dataclass(frozen=True, slots=True)
class Package:
    """`file`: its source. `origin`: project (its files name it), path (ALC_PACKAGES_PATH), installed, linked, placed
    (put into the home by hand), original (of the Rust program)."""

    name: str
    file: Path
    origin: str


@dataclass(frozen=True, slots=True)
class SearchPath:
    """Where packages lie, as one call sees it."""

    project: Project
    roots: tuple[tuple[Path, str], ...]  # directory and origin, in the order of precedence

    @classmethod
    def of(cls, home: Home, environ: Mapping[str, str], root: Path | None) -> "SearchPath":
        """Raises Refused for project files that cannot be used."""
        roots = [(Path(path), "path") for path in environ.get("ALC_PACKAGES_PATH", "").split(":") if path]
        roots.append((home.packages, "home"))
        if environ.get("HOME"):
            roots.append((Path(environ["HOME"]) / ".algocline" / "packages", "original"))
        return cls(read_project(root), tuple(roots))

    def find(self, name: str) -> Package | None:
        if name in self.project.variants:
            return Package(name, Path(self.project.variants[name]) / _inner(""), "project")
        if not NAME.fullmatch(name):
            return None
        for root, origin in self.roots:
            for form in LUA.module_forms:
                file = root / form.format(name)
                if os.path.lexists(file):
                    return Package(name, file, _origin(root / name, origin))
        return None

    def all(self) -> list[Package]:
        """By name; each once, the one that a session would get."""
        found = {
            name: Package(name, Path(path) / _inner(""), "project") for name, path in self.project.variants.items()
        }
        for root, origin in self.roots:
            for name, file in _listed(root):
                if name not in found:
                    found[name] = Package(name, file, _origin(root / name, origin))
        return [found[name] for name in sorted(found)]


def _inner(name: str) -> str:
    """Where the source of a package lies in a directory of its own."""
    return LUA.module_forms[-1].format(name).removeprefix("/")


def _listed(root: Path) -> Iterator[tuple[str, Path]]:
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return  # a directory that is not there holds nothing
    for each in names:
        name = each.removesuffix(LUA.suffix)
        file = root / each if name != each else root / _inner(each)
        if NAME.fullmatch(name) and os.path.isfile(file):
            yield name, file


def _origin(directory: Path, origin: str) -> str:
    if origin != "home":
        return origin
    try:
        target = os.readlink(directory)
    except OSError:
        return "placed"
    return "linked" if os.path.isabs(target) else "installed"


# ── what a package says of itself ─────────────────────────────────────────────────────────────────────────

_known: dict[Path, tuple[tuple[int, int, int], PackageMetadata]] = {}  # file -> what it was then, what it said


def about(package: Package, code_bytes: int) -> PackageMetadata | None:
    """None where the source cannot be read. Remembered as long as the file stays the same."""
    try:
        found = os.stat(package.file)
        mark = (found.st_ino, found.st_mtime_ns, found.st_size)
        known = _known.get(package.file)
        if known is not None and known[0] == mark:
            return known[1]
        told = metadata_of(read_source(package, code_bytes))
    except (OSError, Refused):
        return None
    if len(_known) >= _KNOWN_MOST:
        _known.clear()
    _known[package.file] = (mark, told)
    return told


def read_source(package: Package, code_bytes: int) -> str:
    """Raises Refused."""
    path = package.file
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold the thread
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _broken(package, "it is no regular file")
            content = file.read(code_bytes + 1)
    except OSError as exc:
        raise _broken(package, exc.strerror or "it cannot be read") from exc
    if len(content) > code_bytes:
        raise _broken(package, f"it has more than {code_bytes} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise _broken(package, f"byte {exc.start} is not UTF-8") from exc


def _broken(package: Package, why: str) -> Refused:
    hint = {
        "project": "mend the file, or correct the path in the project's alc files",
        "linked": f'mend what it is linked to, or remove the link: alc_package(action="unlink", name="{package.name}")',
        "installed": "install it again, with force",
    }
    cure = hint.get(package.origin, "mend the file, or remove it")
    return Refused(f"Package '{package.name}' cannot be used: {package.file}: {why}; {cure}", code="bad_package")


# ── strategies ────────────────────────────────────────────────────────────────────────────────────────────


def strategy(shelf: SearchPath, name: str, code_bytes: int) -> tuple[Package, str, PackageMetadata]:
    """A package that can be run, with its source. Raises Refused, with the nearest names where there is none."""
    package = shelf.find(name)
    if package is None:
        raise Refused(_unknown(shelf, name, code_bytes), code="unknown_strategy")
    source = read_source(package, code_bytes)
    told = metadata_of(source)
    if told.is_library:
        raise Refused(
            f"Package '{name}' is a library package: it has no run(ctx). Use it by require(\"{name}\") in code of your "
            "own, given to alc_run as code",
            code="library_package",
        )
    return package, source, told


def warnings_for(shelf: SearchPath, package: Package, told: PackageMetadata) -> list[str]:
    """What the project wants otherwise."""
    wanted = shelf.project.versions.get(package.name)
    if wanted is None or told.version is None or wanted == told.version:
        return list(shelf.project.warnings)
    other = f"the project wants {package.name} {wanted}, {package.file} is {told.version}"
    return [*shelf.project.warnings, f"{other}; it was run all the same"]


def _unknown(shelf: SearchPath, name: str, code_bytes: int) -> str:
    shown = f"Strategy {name[:64]!r} is not installed"
    remote = shelf.project.remotes.get(name)
    if remote is not None:
        return f"{shown}. The project names its source; fetch it with: alc pkg install {remote} --name {name}"
    install = 'alc pkg install URL_OR_PATH at a terminal, or alc_package(action="install") with ALC_TOOLS=author'
    told = {each: about(each, code_bytes) for each in shelf.all()}
    named = {each.name: each for each, said in told.items() if said is not None and not said.is_library}
    if not named:
        return f"{shown}, and no other one is. Install some: {install}; the published ones are at {PUBLISHED}"
    nearest = [_told(named[each], code_bytes) for each in near(name, list(named))]
    likely = f"Nearest: {'; '.join(nearest)}. " if nearest else ""
    return f'{shown}. {likely}All: alc_catalog(kind="strategies"). To install more: {install}'


def near(name: str, names: Sequence[str]) -> list[str]:
    close = get_close_matches(name, names, n=_NEAREST, cutoff=0.5)
    inside = [each for each in names if name and (name in each or each in name) and each not in close]
    return [*close, *inside][:_NEAREST]


def missing(what: str, name: str, nearest: Sequence[str]) -> str:
    likely = f"; nearest: {', '.join(nearest)}" if nearest else ""
    return f'there is no {what} {name[:64]!r}{likely}; alc_catalog(kind="{what}s") lists all'


def _told(package: Package, code_bytes: int) -> str:
    told = about(package, code_bytes)
    description = told.description if told else ""
    return f"{package.name} ({clipped(description, _SHOWN_CHARS)})" if description else package.name


def clipped(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"
