"""The file of --out, which gets the result of a run.

Contract, as of curl and httpie: an existing file is replaced. It is replaced in one step, under its own permissions, so
it holds the old content or the whole result; behind a link the file it leads to. What is not a regular file (a pipe,
/dev/stderr) is written to. `check` finds before the first prompt what would fail after the last.
"""

import os
from pathlib import Path

import click

from algocline_mcp.storage.files import mode_of, replace_atomically


def check(path: str) -> None:
    """Raises click.UsageError where the file cannot be written."""
    target = Path(os.path.realpath(path))
    directory = target.parent
    reason: str | None
    if target.is_dir():
        reason = "it is a directory"
    elif not directory.is_dir():
        reason = f"there is no directory {directory}"
    elif _is_other(target):
        reason = None if os.access(target, os.W_OK) else "you may not write to it"
    else:
        reason = None if os.access(directory, os.W_OK | os.X_OK) else f"you may not write into {directory}"
    if reason is not None:
        raise click.UsageError(f"--out {path} cannot be written: {reason}; give another file. Nothing was started.")


def write(path: str, text: str) -> None:
    """Raises OSError; the file is as before then."""
    target, content = Path(os.path.realpath(path)), text.encode("utf-8", "replace")
    if _is_other(target):
        with open(target, "wb") as file:
            file.write(content)
        return
    os.umask(mask := os.umask(0o077))
    replace_atomically(target, content, is_durable=True, mode=mode_of(target, 0o666 & ~mask))


def _is_other(target: Path) -> bool:
    """It exists, and a rename would put a file in the place of a device or a pipe."""
    return target.exists() and not target.is_file()
