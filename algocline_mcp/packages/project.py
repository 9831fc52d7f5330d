"""Which packages a project declares: `alc.local.toml`, `alc.lock` and `alc.toml` at its root. Here they are only read.

Contract: a package with a path is found under its declared name, whatever its directory is called, before every
installed one; where several files name it, the first of the three wins. A file that cannot be read refuses the call. A
path that is not there, and a version that is not the installed one, is a warning. Nothing is fetched.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from algocline_mcp.errors import Refused

FILES = ("alc.local.toml", "alc.lock", "alc.toml")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # as `require` takes it
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Project:
    """`variants`: name -> absolute directory. `versions`: name -> the wanted one. `remotes`: name -> git URL."""

    root: Path | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    remotes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def project_of(environ: Mapping[str, str]) -> str | None:
    """The project that this process was started for: what a setting or the host says, else the working directory, where
    that is one: hosts that belong to no project start their servers in the home of the user or at the root."""
    start = _told(environ) or _here()
    is_none = not _told(environ) and start in ("/", os.path.expanduser("~"))
    return None if is_none else start


def find_root(environ: Mapping[str, str]) -> Path | None:
    """ALC_PROJECT_ROOT, else the nearest directory that holds one of the files, upwards from where the host says that
    its project is, or from the working directory."""
    start = _told(environ) or _here()
    if start is None or environ.get("ALC_PROJECT_ROOT"):
        return Path(start) if start else None
    while not any(os.path.isfile(os.path.join(start, name)) for name in FILES):
        if (above := os.path.dirname(start)) == start:
            return None
        start = above
    return Path(start)


def _told(environ: Mapping[str, str]) -> str | None:
    told = environ.get("ALC_PROJECT_ROOT") or environ.get("CLAUDE_PROJECT_DIR")
    return os.path.abspath(os.path.expanduser(told)) if told else None


def _here() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def read_project(root: Path | None) -> Project:
    """Raises Refused for a file that is no TOML, or says something else than it should."""
    if root is None:
        return Project()
    variants: dict[str, str] = {}
    versions: dict[str, str] = {}
    remotes: dict[str, str] = {}
    warnings = []
    for name in FILES:
        for package, source, version in _declared(root / name):
            if "path" in source and package not in variants:
                directory = os.path.abspath(root / os.path.expanduser(source["path"]))
                if os.path.isdir(directory):
                    variants[package] = directory
                else:
                    warnings.append(f"{name}: package '{package}' is skipped, there is no directory {directory}")
            if "git" in source:
                revision = f"#{source['rev']}" if "rev" in source else ""
                remotes.setdefault(package, source["git"] + revision)
            if version not in ("", "*"):
                versions.setdefault(package, version)
    return Project(root, variants, versions, remotes, tuple(warnings))


def declared_in(path: Path) -> list[str]:
    """The names of one file."""
    return [name for name, _, _ in _declared(path)]


def _declared(path: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Of one file, each package as (name, source, version); source holds `path`, or `git` and perhaps `rev`."""
    content = read_toml(path)
    if path.name == "alc.lock":
        if content and content.get("version") != 1:
            raise _unusable(path, f"unsupported version {content.get('version')!r}, expected 1")
        entries = content.get("package", [])
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise _unusable(path, "package is no array of tables")
        named = [(each.get("name"), each) for each in entries]
    else:
        table = content.get("packages", {})
        if not isinstance(table, dict):
            raise _unusable(path, "packages is no table")
        named = list(table.items())
    for name, entry in named:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise _unusable(path, f"{name!r} is no name of a package")
        yield name, *_entry(path, name, entry)


def _entry(path: Path, name: str, entry: Any) -> tuple[dict[str, str], str]:
    if isinstance(entry, str):
        return {}, entry
    if not isinstance(entry, dict):
        raise _unusable(path, f"package '{name}' is neither a version nor a table")
    source = entry.get("source", entry)
    if not isinstance(source, dict):
        raise _unusable(path, f"the source of package '{name}' is no table")
    told = {"path": source.get("path"), "git": source.get("git", source.get("url")), "rev": source.get("rev")}
    told["version"] = entry.get("version", "")
    texts = {key: value for key, value in told.items() if isinstance(value, str)}
    if any(value is not None for key, value in told.items() if key not in texts):
        raise _unusable(path, f"package '{name}' has a path, git, rev or version that is no text")
    return texts, texts.pop("version")


def read_toml(path: Path) -> dict[str, Any]:
    """Empty where there is none. Raises Refused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise _unusable(path, exc.strerror or "it cannot be read") from exc
    if len(content) > _MOST_BYTES:
        raise _unusable(path, f"it is longer than {_MOST_BYTES} bytes")
    import tomllib  # 10 ms, which only those pay who have such a file

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise _unusable(path, str(exc)) from exc


def _unusable(path: Path, why: str) -> Refused:
    return Refused(f"{path.name} load error: {why}; correct {path}, or give another project_root", code="bad_project")
