"""Packages that a project declares in `alc.local.toml`, `alc.lock` and `alc.toml` at its root. Read-only.

Contract: a declared path makes the package available under its declared name, whatever its directory is called, and
before every installed package. If several files declare a name, the first of the three files wins. A file that cannot
be parsed raises Refused. A missing directory, or another version than the installed one, is a warning. Nothing is
fetched.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from algocline_mcp.config.project_root import PROJECT_FILES, configured_root, declaring_root, working_directory
from algocline_mcp.errors import Refused
from algocline_mcp.session.owner import caller

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the names that `require` accepts
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Project:
    """`variants`: name -> absolute directory. `versions`: name -> declared version. `remotes`: name -> git URL, with
    `#REVISION` if one is declared."""

    root: Path | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    remotes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def project_of(environ: Mapping[str, str]) -> str | None:
    """Directory of the project that this process serves: from ALC_PROJECT_ROOT or the host, else the working directory.

    None if the working directory is / or the user's home: hosts without a project start their servers there; and for a
    principal, whose project is elsewhere."""
    if caller():
        return None
    configured = configured_root(environ)
    start = configured or working_directory()
    return None if not configured and start in ("/", os.path.expanduser("~")) else start


def find_root(environ: Mapping[str, str]) -> Path | None:
    """The directory whose files declare packages for this process; None if there is none, and for a principal."""
    root = None if caller() else declaring_root(environ)
    return None if root is None else Path(root)


def read_project(root: Path | None) -> Project:
    """Raises Refused for a file that is not TOML, or whose entries have another form."""
    if root is None:
        return Project()
    variants: dict[str, str] = {}
    versions: dict[str, str] = {}
    remotes: dict[str, str] = {}
    warnings = []
    for name in PROJECT_FILES:
        for package, source, version in _declarations(root / name):
            if "path" in source and package not in variants:
                directory = os.path.abspath(root / os.path.expanduser(source["path"]))
                if os.path.isdir(directory):
                    variants[package] = directory
                else:
                    warnings.append(f"{name}: package '{package}' is skipped: there is no directory {directory}")
            if "git" in source:
                revision = f"#{source['rev']}" if "rev" in source else ""
                remotes.setdefault(package, source["git"] + revision)
            if version not in ("", "*"):
                versions.setdefault(package, version)
    return Project(root, variants, versions, remotes, tuple(warnings))


def declared_names(path: Path) -> list[str]:
    """The packages that one file declares. Raises Refused."""
    return [name for name, _, _ in _declarations(path)]


def _declarations(path: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """(name, source, version) of each package in one file; `source` has `path`, or `git` and perhaps `rev`."""
    content = read_toml(path)
    if path.name == "alc.lock":
        if content and content.get("version") != 1:
            raise _unusable(path, f"unsupported version {content.get('version')!r}, expected 1")
        entries = content.get("package", [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _unusable(path, "package is not an array of tables")
        named = [(entry.get("name"), entry) for entry in entries]
    else:
        table = content.get("packages", {})
        if not isinstance(table, dict):
            raise _unusable(path, "packages is not a table")
        named = list(table.items())
    for name, entry in named:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise _unusable(path, f"{name!r} is not a package name")
        yield name, *_entry(path, name, entry)


def _entry(path: Path, name: str, entry: Any) -> tuple[dict[str, str], str]:
    if isinstance(entry, str):
        return {}, entry
    if not isinstance(entry, dict):
        raise _unusable(path, f"package '{name}' is neither a version nor a table")
    source = entry.get("source", entry)
    if not isinstance(source, dict):
        raise _unusable(path, f"the source of package '{name}' is not a table")
    values = {"path": source.get("path"), "git": source.get("git", source.get("url")), "rev": source.get("rev")}
    values["version"] = entry.get("version", "")
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    if any(value is not None for key, value in values.items() if key not in texts):
        raise _unusable(path, f"package '{name}' has a path, git, rev or version that is not a string")
    return texts, texts.pop("version")


def read_toml(path: Path) -> dict[str, Any]:
    """Empty if the file does not exist. Raises Refused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise _unusable(path, exc.strerror or "it cannot be read") from exc
    if len(content) > _MAX_BYTES:
        raise _unusable(path, f"it is longer than {_MAX_BYTES} bytes")
    import tomllib  # 10 ms, only for projects that have such a file

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise _unusable(path, str(exc)) from exc


def _unusable(path: Path, reason: str) -> Refused:
    return Refused(
        f"{path.name} load error: {reason}; correct {path}, or give another project_root", code="bad_project"
    )
