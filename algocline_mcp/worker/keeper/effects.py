"""Host functions: clock, variables, modules and scenarios. Each result is recorded, and served again by a replay.

Contract: `World.perform(name, args)` returns `{result}` or `{error}`, a sentence that the strategy gets as an error. It
never raises, whatever the strategy asks for. Only the keeper calls it.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from algocline_mcp.config.home import BUILT_IN_PACKAGES
from algocline_mcp.languages import LANGUAGES, LUA, PYTHON, Language
from algocline_mcp.session.records import Record
from algocline_mcp.storage.clock import now_s
from algocline_mcp.worker.keeper.environ import EnvironUnreadable

_MODULE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_PACKAGE = re.compile(r"[A-Za-z0-9_]+")  # what alc.fork and alc.call take


class Variables(Protocol):
    """A mapping, or an Environ."""

    def get(self, name: str, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class World:
    """What one stream of a session may read. Paths are in order of precedence."""

    language: str  # of the stream
    lib_paths: Sequence[Path]
    environ: Variables
    code_bytes: int
    scenario_paths: Sequence[Path] = ()
    variants: Mapping[str, str] = field(default_factory=dict)  # package -> its directory; precedes every path
    names_directories: bool = True  # in errors; to a principal those of the machine are not shown

    def perform(self, name: str, args: tuple[Any, ...]) -> Record:
        function = EFFECTS.get(name)
        if function is None:
            return {"error": f"there is no host function {name!r}"}
        try:
            return function(self, *args)
        except TypeError:
            return {"error": f"host function {name!r} cannot take {len(args)} such arguments"}


def lib_paths(header: Record, home_packages: Path, environ: Mapping[str, str]) -> list[Path]:
    """Returns, in order of precedence: the session's own paths, ALC_PACKAGES_PATH, the home's, upstream's, built in."""
    chosen = [Path(path) for path in header["lib_paths"]]
    chosen += [Path(path) for path in environ.get("ALC_PACKAGES_PATH", "").split(":") if path]
    chosen.append(home_packages)
    if environ.get("HOME"):
        chosen.append(Path(environ["HOME"]) / ".algocline" / "packages")
    chosen.append(BUILT_IN_PACKAGES)
    return chosen


def scenario_paths(home_scenarios: Path, environ: Mapping[str, str]) -> list[Path]:
    """Returns, in order of precedence: the home's scenarios, upstream's."""
    user = environ.get("HOME")
    return [home_scenarios, *([Path(user) / ".algocline" / "scenarios"] if user else ())]


def allowed_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a strategy may read: ALC_ENV_ALLOW lists their names, separated by commas."""
    names = [name.strip() for name in environ.get("ALC_ENV_ALLOW", "").split(",")]
    return {name: environ[name] for name in names if name in environ}


def _time(world: World) -> Record:
    return {"result": now_s()}


def _env(world: World, name: str) -> Record:
    try:
        return {"result": world.environ.get(name)}
    except EnvironUnreadable as exc:
        return {"error": str(exc)}


def _module(world: World, name: Any) -> Record:
    """`{source, chunk}`; and `language` for a package in Python that code in Lua requires. A module in the stream's own
    language precedes, wherever it is."""
    if not isinstance(name, str) or not _MODULE.fullmatch(name):
        return _misnamed("module", name)
    own = LANGUAGES[world.language]
    for path, chunk, _ in _module_files(world, name, (own,)):
        outcome = _read_source(path, chunk, world.code_bytes)
        if outcome is not None:
            return outcome
    return _foreign(world, name, own) or _no_module(world, name, own)


def _foreign(world: World, name: str, own: Language) -> Record | None:
    """A package in another language. Its parts are not for others."""
    if not _PACKAGE.fullmatch(name):
        return None
    others = [language for language in LANGUAGES.values() if language is not own]
    for path, chunk, language in _module_files(world, name, others):
        outcome = _read_source(path, chunk, world.code_bytes)
        if outcome is None or "error" in outcome:
            continue
        if own is LUA:
            return {"result": outcome["result"] | {"language": language.name}}
        return {"error": f"{name} is a package in Lua, which cannot be imported: alc.call('{name}', ctx) runs it"}
    return None


def _no_module(world: World, name: str, own: Language) -> Record:
    first = name.partition(".")[0]
    if first not in world.variants:
        return _not_found(world, "module", name, world.lib_paths, own.module_forms)
    return {"error": f"variant pkg '{first}': failed to read {world.variants[first]}: there is no module '{name}'"}


def language_of_package(world: World, name: str) -> str:
    """The language of the package that alc.fork runs: Lua first, then Python, in each directory in order. The stream's
    own language where there is none: its engine then says so."""
    if _PACKAGE.fullmatch(name):
        for path, _, language in _module_files(world, name, (LUA, PYTHON)):
            if os.path.lexists(path):
                return language.name
    return world.language


def _module_files(world: World, name: str, languages: Sequence[Language]) -> Iterator[tuple[Path, str, Language]]:
    """Files that a module may be, each with its chunk and its language."""
    if (package := name.partition(".")[0]) in world.variants:
        yield from _variant_files(Path(world.variants[package]), package, name, languages)
        return
    for root in world.lib_paths:
        for language in languages:
            for form in language.module_forms:
                file = form.format(name.replace(".", "/"))
                yield root / file, file, language


def _variant_files(
    root: Path, package: str, name: str, languages: Sequence[Language]
) -> Iterator[tuple[Path, str, Language]]:
    """Files of a package that a project keeps in a directory of any name. No other directory is tried: the parts of a
    package belong together."""
    rest = name[len(package) + 1 :].replace(".", "/")
    for language in languages:
        for form in language.module_forms:
            if rest or form.startswith("{}/"):  # the package itself is the directory, whatever its name
                file = form.format(rest).removeprefix("/")
                yield root / file, f"{package}/{file}", language


def _scenario(world: World, name: Any) -> Record:
    """Scenarios are written in Lua, whatever the language of the strategy."""
    if not isinstance(name, str) or not _MODULE.fullmatch(name):
        return _misnamed("scenario", name)
    form = LUA.module_forms[0]
    file = form.format(name.replace(".", "/"))
    for root in world.scenario_paths:
        outcome = _read_source(root / file, file, world.code_bytes)
        if outcome is not None:
            return outcome
    return _not_found(world, "scenario", name, world.scenario_paths, (form,))


def _misnamed(kind: str, name: Any) -> Record:
    return {"error": f"{kind} {name!r} not found: a name is letters, digits, _ and -, with dots between parts"}


def _not_found(world: World, kind: str, name: str, roots: Sequence[Path], forms: Sequence[str]) -> Record:
    files = [form.format(name.replace(".", "/")) for form in forms]
    shown = " or ".join([files[0], *("…/" + file.rpartition("/")[2] for file in files[1:])])
    where = f"in {', '.join(map(str, roots))}" if world.names_directories else f"among the {kind}s of this server"
    return {"error": f"{kind} '{name}' not found: no {shown} {where}"}


def _read_source(path: Path, chunk: str, max_bytes: int) -> Record | None:
    """None where there is no such file. A file that exists but cannot be used is an error: no other file is tried."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold the keeper
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        return {"error": f"module file {chunk} cannot be read: {exc.strerror}"}
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return {"error": f"module file {chunk} is not a regular file"}
    try:
        with os.fdopen(fd, "rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as exc:
        return {"error": f"module file {chunk} cannot be read: {exc.strerror}"}
    if len(content) > max_bytes:
        return {"error": f"module file {chunk} is longer than {max_bytes} bytes"}
    try:
        return {"result": {"source": content.decode("utf-8"), "chunk": chunk}}
    except UnicodeDecodeError as exc:
        return {"error": f"module file {chunk} is not UTF-8: {exc}"}


EFFECTS: dict[str, Callable[..., Record]] = {"time": _time, "env": _env, "module": _module, "scenario": _scenario}
