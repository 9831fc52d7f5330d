"""The directory whose files declare packages, by the settings and the working directory. Needs `os` alone."""

import os
from collections.abc import Mapping

PROJECT_FILES = ("alc.local.toml", "alc.lock", "alc.toml")  # the first that declares a package wins


def declaring_root(environ: Mapping[str, str]) -> str | None:
    """ALC_PROJECT_ROOT, else the nearest directory with one of the files, searched upwards from the host's project
    directory (CLAUDE_PROJECT_DIR) or from the working directory; None if there is no such directory."""
    start = configured_root(environ) or working_directory()
    if start is None or environ.get("ALC_PROJECT_ROOT"):
        return start
    while not any(os.path.isfile(os.path.join(start, name)) for name in PROJECT_FILES):
        if (parent := os.path.dirname(start)) == start:
            return None
        start = parent
    return start


def configured_root(environ: Mapping[str, str]) -> str | None:
    """ALC_PROJECT_ROOT or that of the host, absolute."""
    path = environ.get("ALC_PROJECT_ROOT") or environ.get("CLAUDE_PROJECT_DIR")
    return os.path.abspath(os.path.expanduser(path)) if path else None


def working_directory() -> str | None:
    """None where it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None
