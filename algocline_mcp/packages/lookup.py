"""Lookup of packages by name, and reading of their sources and metadata.

Contract: read-only. Names resolve as the `require` of a session resolves them: first the packages that the project
declares, then the directories of ALC_PACKAGES_PATH, the home, upstream's packages in `~/.algocline/packages`, and
last the built-in ones.
`SearchPath.of` reads the project's files; every other function reads the package files that it needs. All of them block
on the disk: call them in a thread.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from algocline_mcp.config.home import BUILT_IN_PACKAGES, Home
from algocline_mcp.config.project_root import PROJECT_FILES
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LUA, PYTHON, Language, language_of_file
from algocline_mcp.packages.metadata import PackageMetadata, metadata_of
from algocline_mcp.packages.project import NAME, Project, read_project
from algocline_mcp.session.owner import caller

BUILT_IN = "built in"  # the origin of the packages that come with this program
PUBLISHED = "github.com/ynishi/algocline-bundled-packages"
_SENTENCE_DESCRIPTION_CHARS = 100
_NEAREST_NAMES = 3
_OWN_FILE = "To run a file of your own, give code_file"
_CACHE_ENTRIES = 2000
ORDER = (LUA, PYTHON)  # in which a directory is searched
_USES = {LUA.name: 'require("{}")', PYTHON.name: "import {}"}


@dataclass(frozen=True, slots=True)
class Package:
    """`file`: the source. `origin`: project (declared by the project's files), path (in ALC_PACKAGES_PATH), installed,
    linked, placed (put into the home by hand), original (a package of upstream), built in."""

    name: str
    file: Path
    origin: str

    @property
    def language(self) -> Language:
        return language_of_file(self.file.name) or LUA


@dataclass(frozen=True, slots=True)
class SearchPath:
    """`roots`: directories of packages, each with its origin, in order of precedence; `project` comes before them."""

    project: Project
    roots: tuple[tuple[Path, str], ...]

    @classmethod
    def of(cls, home: Home, environ: Mapping[str, str], root: Path | None) -> "SearchPath":
        """Raises Refused for project files that cannot be used."""
        return cls(read_project(root), (*_changing_roots(home, environ), (BUILT_IN_PACKAGES, BUILT_IN)))

    def find(self, name: str) -> Package | None:
        if name in self.project.variants:
            return Package(name, entry_of(Path(self.project.variants[name])), "project")
        if not NAME.fullmatch(name):
            return None
        for root, origin in self.roots:
            for language in ORDER:
                for form in language.module_forms:
                    file = root / form.format(name)
                    if os.path.lexists(file):
                        return Package(name, file, _origin(root / name, origin))
        return None

    def all(self) -> list[Package]:
        """Sorted by name; of several packages with the same name, the one that a session would load."""
        variants = self.project.variants.items()
        packages = {name: Package(name, entry_of(Path(path)), "project") for name, path in variants}
        for root, origin in self.roots:
            for name, file in _package_files(root):
                if name not in packages:
                    packages[name] = Package(name, file, _origin(root / name, origin))
        return [packages[name] for name in sorted(packages)]


def _changing_roots(home: Home, environ: Mapping[str, str]) -> list[tuple[Path, str]]:
    roots = [(Path(path), "path") for path in environ.get("ALC_PACKAGES_PATH", "").split(":") if path]
    roots.append((home.packages, "home"))
    if environ.get("HOME"):
        roots.append((Path(environ["HOME"]) / ".algocline" / "packages", "original"))
    return roots


def stamp(home: Home, environ: Mapping[str, str], root: Path | None) -> tuple[object, ...]:
    """Changes when a package comes, goes or is edited, or the project declares other ones. Reads the project's files
    alone, and calls stat three times for each package that is not built in: 200 of them take some 5 ms."""
    roots = [path for path, _ in _changing_roots(home, environ)]
    paths = roots + ([root / name for name in PROJECT_FILES] if root else [])
    files = [file for directory in roots for _, file in _package_files(directory)]
    with suppress(Refused):  # of a project whose files cannot be used: an edit of them shows
        files += [entry_of(Path(path)) for path in read_project(root).variants.values()]
    return (root, *(_version(path) for path in [*paths, *files]))


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def entry_of(directory: Path) -> Path:
    """The source file of the package that is this directory; that of Lua where there is none."""
    files = [directory / language.entry_file() for language in ORDER]
    return next((file for file in files if os.path.lexists(file)), files[0])


def _precedence(file: Path) -> int:
    """Of several files with the packages of one name: the order in which a session looks."""
    language = language_of_file(file.name)
    is_directory = language is not None and file.name == language.entry_file()
    return 2 * [*ORDER].index(language or LUA) + is_directory


def _package_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Name and source of each package in a directory; nothing if the directory does not exist."""
    try:
        entries = sorted(os.listdir(root))
    except OSError:
        return
    found: dict[str, list[Path]] = {}
    for entry in entries:
        language = language_of_file(entry)
        name = entry.removesuffix(language.suffix) if language else entry
        file = root / entry if language else entry_of(root / entry)
        if NAME.fullmatch(name) and os.path.isfile(file):
            found.setdefault(name, []).append(file)
    for name, files in found.items():
        yield name, min(files, key=_precedence)


def _origin(directory: Path, origin: str) -> str:
    if origin != "home":
        return origin
    try:
        target = os.readlink(directory)
    except OSError:
        return "placed"
    return "linked" if os.path.isabs(target) else "installed"


# ── sources and metadata ──────────────────────────────────────────────────────────────────────────────────

_metadata_cache: dict[Path, tuple[tuple[int, int, int], PackageMetadata]] = {}  # file -> (inode, mtime, size), metadata


def read_metadata(package: Package, code_bytes: int) -> PackageMetadata | None:
    """None if the source cannot be read. Cached until the file changes."""
    try:
        version = _version(package.file)
        if version is None:
            return None
        cached = _metadata_cache.get(package.file)
        if cached is not None and cached[0] == version:
            return cached[1]
        metadata = metadata_of(read_source(package, code_bytes), package.language)
    except (OSError, Refused):
        return None
    if len(_metadata_cache) >= _CACHE_ENTRIES:
        _metadata_cache.clear()
    _metadata_cache[package.file] = (version, metadata)
    return metadata


def is_internal(package: Package, code_bytes: int) -> bool:
    """Whether it is a library that comes with this program: strategies require it, no list shows it."""
    if package.origin != BUILT_IN:
        return False
    metadata = read_metadata(package, code_bytes)
    return metadata is None or metadata.is_library


def read_source(package: Package, code_bytes: int) -> str:
    """Raises Refused if the source is not a regular UTF-8 file of at most `code_bytes`."""
    path = package.file
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a pipe would block the thread
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _unusable(package, "it is not a regular file")
            content = file.read(code_bytes + 1)
    except OSError as exc:
        raise _unusable(package, exc.strerror or "it cannot be read") from exc
    if len(content) > code_bytes:
        raise _unusable(package, f"it has more than {code_bytes} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise _unusable(package, f"byte {exc.start} is not UTF-8") from exc


def _unusable(package: Package, reason: str) -> Refused:
    cures = {
        "project": "repair the file, or correct the path in the project's alc files",
        "linked": f'repair the linked file, or remove the link: alc_package(action="unlink", name="{package.name}")',
        "installed": "install it again, with force",
    }
    if caller():
        return Refused(f"Package '{package.name}' cannot be used: {reason}; tell the operator", code="bad_package")
    cure = cures.get(package.origin, "repair the file, or remove it")
    return Refused(f"Package '{package.name}' cannot be used: {package.file}: {reason}; {cure}", code="bad_package")


# ── strategies ────────────────────────────────────────────────────────────────────────────────────────────


def find_strategy(search_path: SearchPath, name: str, code_bytes: int) -> tuple[Package, str, PackageMetadata]:
    """A package that can be run, its source, and its metadata. Raises Refused: with the nearest names if there is no
    such package, or if it is a library."""
    package = search_path.find(name)
    if package is None:
        raise Refused(_unknown_strategy_text(search_path, name, code_bytes), code="unknown_strategy")
    source = read_source(package, code_bytes)
    metadata = metadata_of(source, package.language)
    if metadata.is_library:
        use = _USES[package.language.name].format(name)
        raise Refused(
            f"Package '{name}' is a library package: it has no run(ctx). Use it by {use} in code of your own, given to "
            "alc_run as code",
            code="library_package",
        )
    return package, source, metadata


def warnings_for(search_path: SearchPath, package: Package, metadata: PackageMetadata) -> list[str]:
    """The warnings of the project, and a version that differs from the one that the project declares."""
    declared = search_path.project.versions.get(package.name)
    if declared is None or metadata.version is None or declared == metadata.version:
        return list(search_path.project.warnings)
    difference = f"the project declares {package.name} {declared}, but {package.file} is {metadata.version}"
    return [*search_path.project.warnings, f"{difference}, which was run"]


def _unknown_strategy_text(search_path: SearchPath, name: str, code_bytes: int) -> str:
    sentence = f"Strategy {name[:64]!r} is not installed"
    remote = search_path.project.remotes.get(name)
    if remote is not None:
        return f"{sentence}. The project names its source; install it with: alc pkg install {remote} --name {name}"
    install = 'alc pkg install URL_OR_PATH at a terminal, or alc_package(action="install") with ALC_TOOLS=author'
    metadata = {package: read_metadata(package, code_bytes) for package in search_path.all()}
    strategies = {
        package.name: package for package, read in metadata.items() if read is not None and not read.is_library
    }
    nearest = [_with_description(strategies[near], code_bytes) for near in nearest_names(name, list(strategies))]
    likely = f"Nearest: {'; '.join(nearest)}. " if nearest else ""
    if caller():
        return f'{sentence}. {likely}All: alc_catalog(kind="strategies"). One of your own: send its text as code'
    if all(package.origin == BUILT_IN for package in strategies.values()):
        install = f"{install}; the published ones are at {PUBLISHED}"
    return f'{sentence}. {likely}{_OWN_FILE}. All: alc_catalog(kind="strategies"). To install more: {install}'


def nearest_names(name: str, names: Sequence[str]) -> list[str]:
    close = get_close_matches(name, names, n=_NEAREST_NAMES, cutoff=0.5)
    containing = [other for other in names if name and (name in other or other in name) and other not in close]
    return [*close, *containing][:_NEAREST_NAMES]


def not_found_text(kind: str, name: str, nearest: Sequence[str]) -> str:
    likely = f"; nearest: {', '.join(nearest)}" if nearest else ""
    return f'there is no {kind} {name[:64]!r}{likely}; alc_catalog(kind="{kind}s") lists all'


def _with_description(package: Package, code_bytes: int) -> str:
    metadata = read_metadata(package, code_bytes)
    description = metadata.description if metadata else ""
    return f"{package.name} ({truncate(description, _SENTENCE_DESCRIPTION_CHARS)})" if description else package.name


def truncate(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"
