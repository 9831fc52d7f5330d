"""Source of a strategy: the code in the call, a file that the server reads, or an installed package.

Contract. `read_source` reads in a thread, so that a hung file system delays neither the event loop nor the call beyond
its deadline. Refused names the path and the cure.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LUA
from algocline_mcp.packages.project import NAME, find_root, project_of, read_project
from algocline_mcp.server.tool_call.arguments import ABSENT
from algocline_mcp.server.tool_call.code_file import check_size, code_directories, read_code_file
from algocline_mcp.server.tool_call.deadline import MIN_DISK_S, with_deadline


@dataclass(frozen=True, slots=True)
class Source:
    """Code and its surroundings. `chunk` names the code in errors. `require` searches `variants` (name -> directory)
    first, then `lib_paths`. `name`: of an installed strategy, else None."""

    code: str
    chunk: str
    project_root: str | None
    lib_paths: tuple[str, ...] = ()
    name: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


async def read_source(
    code: str, code_file: str, strategy: str, project_root: str, *, home: Home, limits: Limits
) -> Source:
    """Reads the one source that is given: `code` (given also where it is ""), `code_file`, or `strategy`, the name of a
    package. Raises Refused; Unreachable where the disk does not answer."""
    sources = [name for name, value in (("code", code), ("code_file", code_file), ("strategy", strategy)) if value]
    if code is not ABSENT and "code" not in sources:
        sources.insert(0, "code")
    if not sources:
        raise Refused(
            'Either `code` or `code_file` must be provided. Or `strategy`: alc_catalog(kind="strategies") lists them'
        )
    if len(sources) > 1:
        names = " or ".join(f"`{name}`" for name in sources)
        raise Refused(f"Provide either {names}, not {'both' if len(sources) == 2 else 'all of them'}.")
    if strategy:
        read = partial(_read_installed, strategy, project_root, home, limits)
    else:
        read = partial(_read_own, code, code_file, project_root, limits)
    reading = anyio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    advice = "the disk with the strategy, or with its project, hangs; nothing was started"
    return await with_deadline(max(limits.grace_s, MIN_DISK_S), reading, timeout_advice=advice)


def _read_own(code: str, code_file: str, project_root: str, limits: Limits) -> Source:
    root = _root(project_root)
    project = read_project(root or find_root(os.environ))
    near = (str(root),) if root is not None else ()
    source = Source(code, "strategy", _text(project.root), near, variants=project.variants, warnings=project.warnings)
    if not code_file:
        check_size("code", len(code.encode("utf-8", "replace")), limits.code_bytes)
        return source
    path = _absolute(code_file, root)
    # Without an argument the project is the host's, also above its working directory. "/" is nobody's project.
    projects = (project_of(os.environ), _text(project.root)) if root is None else (_text(root),)
    own = [directory for directory in projects if directory != "/"]
    text = read_code_file(path, (*own, *code_directories(os.environ)), limits.code_bytes)
    if (name := _package_name(path, text)) is not None:
        lib_paths = tuple(dict.fromkeys((str(path.parent.parent), str(path.parent), *near)))
        return replace(source, code=text, chunk=f"{name}/{path.name}", lib_paths=lib_paths, name=name)
    lib_paths = tuple(dict.fromkeys((str(path.parent), *near)))
    return replace(source, code=text, chunk=path.name, lib_paths=lib_paths)


def _package_name(path: Path, text: str) -> str | None:
    """The name of the package whose entry file this is, if it has a run(ctx): it is then run as that package."""
    from algocline_mcp.packages.metadata import metadata_of  # needed by entry files only

    name = path.parent.name
    is_entry = path.name == LUA.module_forms[-1].format("").removeprefix("/") and NAME.fullmatch(name) is not None
    return name if is_entry and not metadata_of(text).is_library else None


def _read_installed(name: str, project_root: str, home: Home, limits: Limits) -> Source:
    from algocline_mcp.packages import installed, lookup  # 5 ms of a start, needed by installed strategies only

    installed.recover(home)
    search_path = lookup.SearchPath.of(home, os.environ, _root(project_root) or find_root(os.environ))
    package, code, metadata = lookup.find_strategy(search_path, name, limits.code_bytes)
    return Source(
        code,
        f"{name}/{package.file.name}",
        _text(search_path.project.root),
        name=name,
        variants=search_path.project.variants,
        warnings=tuple(lookup.warnings_for(search_path, package, metadata)),
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else os.fspath(path)


def _root(project_root: str) -> Path | None:
    if not project_root:
        return None
    root = _absolute(project_root, None)
    try:
        is_directory = root.is_dir()
    except (OSError, ValueError):
        is_directory = False
    if not is_directory:
        raise Refused(f"project_root {project_root} is not a directory: give the absolute path of your project")
    return root


def _absolute(path: str, root: Path | None) -> Path:
    return Path(os.path.abspath(os.path.join(root or os.getcwd(), os.path.expanduser(path))))
