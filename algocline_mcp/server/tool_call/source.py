"""Source of a strategy: the code in the call, a file that the server reads, or an installed package.

Contract. `read_source` reads in a thread, so that a hung file system delays neither the event loop nor the call beyond
its deadline. Refused names the path and the cure.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LANGUAGES, LUA, Language
from algocline_mcp.packages.project import NAME, find_root, project_of, read_project
from algocline_mcp.server.tool_call.arguments import ABSENT
from algocline_mcp.server.tool_call.code_file import check_size, code_directories, read_code_file
from algocline_mcp.server.tool_call.deadline import MIN_DISK_S, with_deadline
from algocline_mcp.session.owner import caller

if TYPE_CHECKING:
    from algocline_mcp.package_inputs import Form


@dataclass(frozen=True, slots=True)
class Source:
    """Code and its surroundings. `chunk` names the code in errors. `require` searches `variants` (name -> directory)
    first, then `lib_paths`. `name`: of an installed strategy, else None."""

    code: str
    chunk: str
    project_root: str | None
    language: Language
    lib_paths: tuple[str, ...] = ()
    name: str | None = None
    inputs: Mapping[str, "Form"] = field(default_factory=dict)  # that the package declares
    variants: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """The arguments of a call that choose the source. `preferred`: the language of a bare text that parses in two."""

    code: str = ABSENT
    code_file: str = ABSENT
    strategy: str = ABSENT
    project_root: str = ABSENT
    language: str | None = None
    preferred: Language = LUA


async def read_source(chosen: Chosen, *, home: Home, limits: Limits) -> Source:
    """Reads the one source that is given: `code` (given also where it is ""), `code_file`, or `strategy`, the name of a
    package. Raises Refused; Unreachable where the disk does not answer."""
    sources = [name for name in ("code", "code_file", "strategy") if getattr(chosen, name)]
    if chosen.code is not ABSENT and "code" not in sources:
        sources.insert(0, "code")
    if not sources:
        own = "`code` must be provided" if caller() else "Either `code` or `code_file` must be provided"
        raise Refused(f'{own}. Or `strategy`: alc_catalog(kind="strategies") lists them')
    if len(sources) > 1:
        names = " or ".join(f"`{name}`" for name in sources)
        raise Refused(f"Provide either {names}, not {'both' if len(sources) == 2 else 'all of them'}.")
    read = partial(_read_installed, chosen, home, limits) if chosen.strategy else partial(_read_own, chosen, limits)
    reading = anyio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    advice = "the disk with the strategy, or with its project, hangs; nothing was started"
    return await with_deadline(max(limits.grace_s, MIN_DISK_S), reading, timeout_advice=advice)


def check_inputs(source: Source, ctx: Mapping[str, Any]) -> None:
    """Raises Refused for inputs that the package needs and `ctx` does not give, before anything is started."""
    if not source.inputs:
        return
    from algocline_mcp.package_inputs import InputError, changes, forms_of, how_to_give  # 0.5 ms of a start

    try:
        changes(source.name or "", forms_of(source.inputs), ctx)
    except InputError as exc:
        raise Refused(f"{exc}: give {how_to_give(exc.inputs)}", code="bad_input") from exc


def _read_own(chosen: Chosen, limits: Limits) -> Source:
    root = _root(chosen.project_root)
    project = read_project(root or find_root(os.environ))
    near = (str(root),) if root is not None else ()
    surroundings = partial(
        Source, project_root=_text(project.root), variants=project.variants, warnings=project.warnings
    )
    if not chosen.code_file:
        check_size("code", len(chosen.code.encode("utf-8", "replace")), limits.code_bytes)
        return surroundings(chosen.code, "strategy", language=_language_of(chosen), lib_paths=near)
    path = _absolute(chosen.code_file, root)
    # Without an argument the project is the host's, also above its working directory. "/" is nobody's project.
    projects = (project_of(os.environ), _text(project.root)) if root is None else (_text(root),)
    own = [directory for directory in projects if directory != "/"]
    text, language = read_code_file(path, (*own, *code_directories(os.environ)), limits.code_bytes)
    _check_language(chosen, path.name, language)
    if (package := _package_of(path, text, language)) is not None:
        name, inputs = package
        lib_paths = tuple(dict.fromkeys((str(path.parent.parent), str(path.parent), *near)))
        chunk = f"{name}/{path.name}"
        return surroundings(text, chunk, language=language, lib_paths=lib_paths, name=name, inputs=inputs)
    lib_paths = tuple(dict.fromkeys((str(path.parent), *near)))
    return surroundings(text, path.name, language=language, lib_paths=lib_paths)


def _language_of(chosen: Chosen) -> Language:
    """Of a bare text."""
    if chosen.language is not None:
        return LANGUAGES[chosen.language]
    from algocline_mcp.server.tool_call.compiler import language_of

    return language_of(chosen.code, chosen.preferred)


def _check_language(chosen: Chosen, name: str, language: Language) -> None:
    """Raises Refused where the call names another language than the file or package has."""
    if chosen.language not in (None, language.name):
        raise Refused(f"{name} is written in {language.name}, not in {chosen.language}: leave language out")


def _package_of(path: Path, text: str, language: Language) -> tuple[str, Mapping[str, "Form"]] | None:
    """Name and inputs of the package whose entry file this is, if it has a run(ctx): it is then run as that package."""
    from algocline_mcp.packages.metadata import metadata_of  # needed by entry files only

    name = path.parent.name
    is_entry = path.name == language.entry_file() and NAME.fullmatch(name) is not None
    metadata = metadata_of(text, language) if is_entry else None
    return None if metadata is None or metadata.is_library else (name, metadata.inputs)


def _read_installed(chosen: Chosen, home: Home, limits: Limits) -> Source:
    from algocline_mcp.packages import installed, lookup  # 5 ms of a start, needed by installed strategies only

    installed.recover(home)
    search_path = lookup.SearchPath.of(home, os.environ, _root(chosen.project_root) or find_root(os.environ))
    package, code, metadata = lookup.find_strategy(search_path, chosen.strategy, limits.code_bytes)
    _check_language(chosen, package.name, package.language)
    return Source(
        code,
        f"{package.name}/{package.file.name}",
        _text(search_path.project.root),
        package.language,
        name=package.name,
        inputs=metadata.inputs,
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
