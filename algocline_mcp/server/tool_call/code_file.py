"""Reading of the file in `code_file`.

Contract. The model chooses the path, and what is read can be shown to it. So only what looks like a strategy is read: a
regular file, after links are resolved, with the suffix of the language, below the project or a directory of
ALC_CODE_DIRS, whose text compiles. Everything else is refused with one sentence; nothing of it is kept. `/proc`, keys
and notes are thereby out of reach, also through a link inside the project. Blocks on the disk.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from algocline_mcp.errors import Refused
from algocline_mcp.languages import LUA
from algocline_mcp.server.tool_call import compiler

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW  # a pipe without a writer would block for ever


def code_directories(environ: Mapping[str, str]) -> list[str]:
    """The directories of ALC_CODE_DIRS, absolute."""
    return [os.path.expanduser(path) for path in environ.get("ALC_CODE_DIRS", "").split(":") if path[:1] in ("/", "~")]


def read_code_file(path: Path, directories: Iterable[str | os.PathLike[str] | None], code_bytes: int) -> str:
    """The text of a strategy below one of `directories`. Raises Refused with the cure."""
    text = _read(_allowed(path, directories), code_bytes)
    if (error := compiler.syntax_error(path.name, text)) is not None:
        raise Refused(f"{path} does not compile: {error}; nothing was started: correct the file", code="bad_code")
    return text


def _allowed(path: Path, directories: Iterable[str | os.PathLike[str] | None]) -> str:
    real = os.path.realpath(path)
    roots = [os.path.realpath(directory) for directory in directories if directory]
    if not any(os.path.commonpath((root, real)) == root for root in roots):
        where = f" ({', '.join(roots)})" if roots else ""
        raise Refused(
            f"Failed to read {path}: it lies outside the project{where}; give project_root, send the text as code, or "
            "name its directory in ALC_CODE_DIRS of this server"
        )
    if not real.endswith(LUA.suffix):
        raise Refused(f"Failed to read {path}: the name of a strategy ends with {LUA.suffix}; rename the file")
    return real


def _read(path: str, code_bytes: int) -> str:
    try:
        fd = os.open(path, _FLAGS)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(21, "Is a directory")
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"Failed to read {path}: not a regular file; name a file with Lua code")
            content = file.read(code_bytes + 1)
            check_size(path, max(len(content), status.st_size), code_bytes)
    except OSError as exc:
        raise Refused(
            f"Failed to read {path}: {exc.strerror} (os error {exc.errno}); check the path as this server sees it, "
            "or send the text as code"
        ) from exc
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Refused(f"Failed to read {path}: byte {exc.start} is not UTF-8; save the file as UTF-8") from exc


def check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        cure = "shorten it, or move parts into modules for require"
        raise Refused(f"{name} has {size} bytes, at most {limit}: {cure}", code="too_large")
