"""Files whose texts become values of `ctx`, named by `ctx_files` of alc_run.

Contract. The model chooses the paths, and what is read can be shown to it. So a file is read only below the project of
the host, a directory of ALC_CODE_DIRS, or `project_root` where that holds a project (.git, or a file that declares
packages), after links are resolved, and only where no part of its path below begins with a dot: keys and passwords lie
in such files, also where a project is somebody's home. `/proc` is out of reach thereby. The texts are recorded with
ctx: a replay reads no file.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from algocline_mcp.config.limits import Limits
from algocline_mcp.config.project_root import PROJECT_FILES
from algocline_mcp.errors import Refused
from algocline_mcp.packages.project import find_root, project_of
from algocline_mcp.server.tool_call.code_file import code_directories
from algocline_mcp.server.tool_call.deadline import MIN_DISK_S, with_deadline
from algocline_mcp.server.tool_call.text_file import read_text, root_above

_MARKS = (".git", *PROJECT_FILES)
_SHORTEN = "name a part of it, or raise ALC_CTX_BYTES of this server"


async def read_files(paths: Mapping[str, str], project_root: str, limits: Limits) -> dict[str, str]:
    """The texts by name, together at most `ctx_bytes`. Raises Refused; Unreachable where the disk does not answer."""
    if not paths:
        return {}
    read = partial(_read_all, paths, project_root, limits.ctx_bytes)
    reading = anyio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    advice = "the disk with the files of ctx_files hangs; nothing was started"
    return await with_deadline(max(limits.grace_s, MIN_DISK_S), reading, timeout_advice=advice)


def _read_all(paths: Mapping[str, str], project_root: str, max_bytes: int) -> dict[str, str]:
    root = Path(os.path.abspath(os.path.expanduser(project_root))) if project_root else None
    start = root or project_of(os.environ) or find_root(os.environ) or os.getcwd()
    directories = _directories(root)
    texts: dict[str, str] = {}
    left = max_bytes
    for name, path in paths.items():
        real = os.path.realpath(os.path.join(start, os.path.expanduser(path)))
        _check_place(name, path, real, directories)
        texts[name] = read_text(real, left, content="text", shorten=_SHORTEN)
        left -= len(texts[name].encode())
    return texts


def _directories(root: Path | None) -> list[str]:
    """The directories whose files may be read, resolved. "/" is nobody's project."""
    projects = [project_of(os.environ), find_root(os.environ)]
    if root is not None and any((root / mark).exists() for mark in _MARKS):
        projects.append(os.fspath(root))
    named = [os.path.realpath(directory) for directory in (*projects, *code_directories(os.environ)) if directory]
    return [directory for directory in dict.fromkeys(named) if directory != "/"]


def _check_place(name: str, path: str, real: str, directories: list[str]) -> None:
    root = root_above(real, directories)
    if root is None:
        where = f" ({', '.join(directories)})" if directories else ""
        raise Refused(
            f"ctx_files.{name}: {path} lies outside the project{where}; give a path below it, give project_root, or "
            "name its directory in ALC_CODE_DIRS of this server. Nothing was started"
        )
    if any(part.startswith(".") for part in Path(real).relative_to(root).parts):
        raise Refused(
            f"ctx_files.{name}: {path} is a hidden file, which is not read because keys lie in such files; "
            "send its text in ctx if it is harmless. Nothing was started"
        )
