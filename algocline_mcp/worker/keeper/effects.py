"""Host functions: clock, variables, modules and scenarios. Each result is recorded, and served again by a replay.

Contract: `World.perform(name, args)` returns `{result}` or `{error}`, a sentence that the strategy gets as an error. It
never raises, whatever the strategy asks for. Only the keeper calls it.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from algocline_mcp.languages import LANGUAGES
from algocline_mcp.session.records import Record
from algocline_mcp.storage.clock import now_s
from algocline_mcp.worker.keeper.environ import EnvironUnreadable

_MODULE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


class Variables(Protocol):
    """A mapping, or an Environ."""

    def get(self, name: str, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class World:
    """What the strategy of one session may read. Paths are in order of precedence."""

    language: str
    lib_paths: Sequence[Path]
    environ: Variables
    code_bytes: int
    scenario_paths: Sequence[Path] = ()
    variants: Mapping[str, str] = field(default_factory=dict)  # package -> its directory; precedes every path

    def perform(self, name: str, args: tuple[Any, ...]) -> Record:
        function = EFFECTS.get(name)
        if function is None:
            return {"error": f"there is no host function {name!r}"}
        try:
            return function(self, *args)
        except TypeError:
            return {"error": f"host function {name!r} cannot take {len(args)} such arguments"}


def lib_paths(header: Record, home_packages: Path, environ: Mapping[str, str]) -> list[Path]:
    """Returns, in order of precedence: the session's own paths, ALC_PACKAGES_PATH, the home's, upstream's."""
    chosen = [Path(path) for path in header["lib_paths"]]
    chosen += [Path(path) for path in environ.get("ALC_PACKAGES_PATH", "").split(":") if path]
    chosen.append(home_packages)
    if environ.get("HOME"):
        chosen.append(Path(environ["HOME"]) / ".algocline" / "packages")
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


def _module(world: World, name: str) -> Record:
    return _find_source(world, name, "module", world.lib_paths, LANGUAGES[world.language].module_forms)


def _scenario(world: World, name: str) -> Record:
    return _find_source(world, name, "scenario", world.scenario_paths, LANGUAGES[world.language].module_forms[:1])


def _find_source(world: World, name: Any, kind: str, roots: Sequence[Path], forms: Sequence[str]) -> Record:
    if not isinstance(name, str) or not _MODULE.fullmatch(name):
        return {"error": f"{kind} {name!r} not found: a name is letters, digits, _ and -, with dots between parts"}
    if kind == "module" and (first := name.partition(".")[0]) in world.variants:
        return _find_in_variant(world, first, name)
    files = [form.format(name.replace(".", "/")) for form in forms]
    for root in roots:
        for file in files:
            outcome = _read_source(root / file, file, world.code_bytes)
            if outcome is not None:
                return outcome
    where = ", ".join(str(path) for path in roots)
    shown = " or ".join([files[0], *("…/" + file.rpartition("/")[2] for file in files[1:])])
    return {"error": f"{kind} '{name}' not found: no {shown} in {where}"}


def _find_in_variant(world: World, package: str, name: str) -> Record:
    """Finds a module of a package that a project keeps in a directory of any name. No other directory is tried: the
    parts of a package belong together."""
    root = Path(world.variants[package])
    rest = name[len(package) + 1 :].replace(".", "/")
    for form in LANGUAGES[world.language].module_forms:
        if not rest and not form.startswith("{}/"):
            continue  # the package itself is the directory, whatever its name
        file = form.format(rest).removeprefix("/")
        outcome = _read_source(root / file, f"{package}/{file}", world.code_bytes)
        if outcome is not None:
            return outcome
    return {"error": f"variant pkg '{package}': failed to read {root}: there is no module '{name}'"}


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
