"""Directories that `alc config HOST --write` makes for a host's file, and that `--remove` removes again.

Contract: each directory that was made gets a mark, an empty file. A directory without a mark is never removed, empty or
not: it may be a project. Both functions raise OSError.
"""

from contextlib import suppress
from pathlib import Path

from algocline_mcp.cli.host_files import NAME

_MARK = f".made-by-{NAME}"


def make_directories(path: Path) -> None:
    """Makes `path` and its parents, as far as they are missing."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for directory in missing:
        (directory / _MARK).touch()


def remove_made_directories(path: Path) -> None:
    """Removes the marks of `path` and its parents, and those of them that had one and are empty now: a host may keep
    files of its own there."""
    for directory in (path, *path.parents):
        try:
            (directory / _MARK).unlink()
        except FileNotFoundError:
            continue
        with suppress(OSError):
            directory.rmdir()
