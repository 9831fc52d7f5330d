"""Where the code of a strategy comes from: the call itself, or a file that the server reads.

Contract: `read_source` reads at most one regular file, once, on a thread of its own, so that a hung file system
delays neither the event loop nor the call beyond its deadline. Refused names the path and the cure.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from algocline_mcp.errors import Refused
from algocline_mcp.host.arguments import ABSENT
from algocline_mcp.limits import Limits


@dataclass(frozen=True, slots=True)
class Source:
    """`chunk` names the code in errors. `lib_paths`: where its `require` looks first."""

    code: str
    chunk: str
    project_root: str | None
    lib_paths: tuple[str, ...]


def project_of(environ: Mapping[str, str]) -> str | None:
    """The project that this server was started for: what a setting or the host says, else the working directory, where
    that is one: hosts that belong to no project start their servers in the home of the user or at the root."""
    told = environ.get("ALC_PROJECT_ROOT") or environ.get("CLAUDE_PROJECT_DIR")
    if told:
        return os.path.abspath(os.path.expanduser(told))
    try:
        here = os.getcwd()
    except OSError:  # it was deleted
        return None
    return None if here in ("/", os.path.expanduser("~")) else here


async def read_source(code: str, code_file: str, project_root: str, *, limits: Limits) -> Source:
    """The code of exactly one of `code`, which is ABSENT or may be empty, and `code_file`."""
    code_bytes = limits.code_bytes
    if code is not ABSENT and code_file:
        raise Refused("Provide either `code` or `code_file`, not both.")
    if code is ABSENT and not code_file:
        raise Refused("Either `code` or `code_file` must be provided.")
    root = _root(project_root)
    near = (str(root),) if root is not None else ()
    if not code_file:
        _check_size("code", len(code.encode("utf-8", "replace")), code_bytes)
        return Source(code, "strategy", str(root) if root else None, near)
    path = _absolute(code_file, root)
    text = await anyio.to_thread.run_sync(
        partial(_read, path, code_bytes), abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    lib_paths = dict.fromkeys((str(path.parent), *near))
    return Source(text, path.name, str(root) if root else None, tuple(lib_paths))


def _root(project_root: str) -> Path | None:
    if not project_root:
        return None
    root = _absolute(project_root, None)
    try:
        is_directory = root.is_dir()
    except (OSError, ValueError):
        is_directory = False
    if not is_directory:
        raise Refused(f"project_root {project_root} is no directory: give the absolute path of your project")
    return root


def _absolute(path: str, root: Path | None) -> Path:
    return Path(os.path.abspath(os.path.join(root or os.getcwd(), os.path.expanduser(path))))


def _read(path: Path, code_bytes: int) -> str:
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(21, "Is a directory")
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"Failed to read {path}: it is no regular file; name a file with Lua code")
            content = file.read(code_bytes + 1)
            _check_size(str(path), max(len(content), status.st_size), code_bytes)
    except OSError as exc:
        raise Refused(
            f"Failed to read {path}: {exc.strerror} (os error {exc.errno}); check the path as this server sees it, "
            "or send the text as code"
        ) from exc
    except ValueError as exc:  # its words differ between versions of Python
        raise Refused(f"Failed to read {str(path)!r}: the path holds a null byte; check the path") from exc
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Refused(f"Failed to read {path}: byte {exc.start} is not UTF-8; save the file as UTF-8") from exc


def _check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        cure = "shorten it, or move parts into modules for require"
        raise Refused(f"{what} has {size} bytes, at most {limit}: {cure}", code="too_large")
