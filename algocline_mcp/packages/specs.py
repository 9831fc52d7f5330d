"""Runs the specs of packages: each file in a session of its own, in a home that is thrown away afterwards.

Contract: what a spec stores, writes or leaves behind is gone with that home; packages are found as in the real one.
`chosen` reads and blocks: it runs in threads. `play` always returns: what has not ended in time, or asks a question
that nobody answers, is a failure with its reason.
"""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import algocline_mcp
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.history.new_session import Strategy, header_of
from algocline_mcp.languages import LUA
from algocline_mcp.packages import lookup
from algocline_mcp.packages.catalog import PackageContext
from algocline_mcp.packages.lookup import Package
from algocline_mcp.pool.dispatch import begin_via_pool, gen_pool_sid, stop_via_pool
from algocline_mcp.pool.pool import Pool

DIRECTORY = "spec"
_AT_ONCE = 2  # they compute; nobody waits for a model
_SHOWN = 50  # failures
_INIT = f"init{LUA.suffix}"
_LIBRARY = str(Path(algocline_mcp.__file__).parent / LUA.spec_library)


@dataclass(frozen=True, slots=True)
class Spec:
    """`file`: as it is shown."""

    file: str
    source: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be run. `search_paths`: where require looks, after `variants` (name -> directory)."""

    specs: Sequence[Spec]
    search_paths: Sequence[str] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def chosen(
    place: PackageContext,
    name: str,
    *,
    spec_dir: str = DIRECTORY,
    words: str = "",
    search_paths: Sequence[str] = (),
    is_auto: bool = True,
) -> Chosen:
    """The specs of a package, which is installed under `name` or lies in the directory of that path: the files below
    its `spec_dir` whose path holds `words`. `is_auto`: what lies beside the package is found too. Raises Refused."""
    shelf = place.shelf()
    package = _package(shelf, name)
    root = package.file.parent
    directory = root / spec_dir
    if not directory.resolve().is_relative_to(root.resolve()):
        raise Refused(f"spec_dir {spec_dir!r} leaves the package: name a directory inside {root}")
    files = [path for path in files_in(directory) if words in str(path.relative_to(directory))]
    if not files:
        told = f" whose path holds {words!r}" if words else ""
        raise Refused(f"package '{package.name}' has no specs: there is no *{LUA.suffix}{told} in {directory}")
    if len(files) > place.limits.spec_files:
        sentence = f"{len(files)} spec files, at most {place.limits.spec_files}: choose some by filter"
        raise Refused(sentence, code="too_large")
    specs = [
        Spec(
            str(path.relative_to(root)),
            lookup.read_source(Package(package.name, path, package.origin), place.limits.code_bytes),
        )
        for path in files
    ]
    paths, warnings = _search_paths(place, search_paths)
    beside = [str(root.resolve().parent)] if is_auto else []
    return Chosen(
        specs,
        _each_once(paths, beside, [str(path) for path, _ in shelf.roots]),
        dict(shelf.project.variants) | {package.name: str(root)},
        [*warnings, *shelf.project.warnings],
    )


def files_in(directory: Path) -> list[Path]:
    return sorted(directory.rglob(f"*{LUA.suffix}"))


def chosen_text(place: PackageContext, spec: Spec, search_paths: Sequence[str], near: Sequence[str] = ()) -> Chosen:
    """One spec whose text is given. `near`: where else it looks, before the packages."""
    shelf = place.shelf()
    paths, warnings = _search_paths(place, search_paths)
    return Chosen(
        [spec],
        _each_once(paths, near, [str(path) for path, _ in shelf.roots]),
        dict(shelf.project.variants),
        [*warnings, *shelf.project.warnings],
    )


def _package(shelf: lookup.SearchPath, name: str) -> Package:
    package = None if os.sep in name else shelf.find(name)
    file = Path(os.path.abspath(name)) / _INIT
    if package is None and file.is_file():
        package = Package(file.parent.name, file, "given")
    if package is None:
        nearest = lookup.near(name, [each.name for each in shelf.all()])
        raise Refused(lookup.missing("package", name, nearest), code="not_found")
    if package.file.name != _INIT:
        raise Refused(f"package '{package.name}' is the file {package.file}: specs lie in a directory with {_INIT}")
    return package


def _search_paths(place: PackageContext, given: Sequence[str]) -> tuple[list[str], list[str]]:
    root = place.project_root or Path.cwd()
    found = [os.path.abspath(root / os.path.expanduser(each)) for each in given]
    missing = [each for each in found if not os.path.isdir(each)]
    return [each for each in found if each not in missing], [f"search path {each} is no directory" for each in missing]


def _each_once(*paths: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(each for some in paths for each in some))


# ── carrying out ──────────────────────────────────────────────────────────────────────────────────────────


async def play(chosen: Chosen, limits: Limits, environ: Mapping[str, str], within_s: float) -> dict[str, Any]:
    """`{passed, failed, pending, total, duration_ms, spec_files, resolved_search_paths, failures?, warnings?}`; returns
    about `within_s` after its call at the latest. A file that did not come to its end counts as one that failed."""
    began_s = time.monotonic()
    ended: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="alc", ignore_cleanup_errors=True) as directory:
        home = Home(Path(directory) / "h")
        cold = replace(limits, warmup_runs=0, standby=0)
        own = {name: value for name, value in environ.items() if name != "ALC_HOME"}
        async with Pool(home, cold, environ=own) as pool:
            deadline = anyio.current_time() + within_s
            slots = anyio.CapacityLimiter(_AT_ONCE)

            async def one(spec: Spec) -> None:
                async with slots:
                    left_s = deadline - anyio.current_time()
                    late = {"problem": f"it was not begun within {within_s:g} s"}
                    ended[spec.file] = late if left_s <= 0 else await _run(pool, chosen, spec, left_s)

            async with anyio.create_task_group() as tasks:
                for spec in chosen.specs:
                    tasks.start_soon(one, spec)
    duration_ms = round((time.monotonic() - began_s) * 1000)
    return _told(chosen, [ended[spec.file] | {"file": spec.file} for spec in chosen.specs], duration_ms)


async def _run(pool: Pool, chosen: Chosen, spec: Spec, limit_s: float) -> dict[str, Any]:
    strategy = Strategy(
        LUA.spec,
        "spec",
        {"source": spec.source, "chunk": spec.file},
        title=spec.file,
        lib_paths=(_LIBRARY, *chosen.search_paths),
        variants=chosen.variants,
    )
    sid = gen_pool_sid()
    try:
        result = (await begin_via_pool(pool, [header_of(pool.limits, strategy, sid=sid)], wait_s=limit_s)).result
    except AlcError as exc:
        result = {"status": "error", "error": str(exc)}
    finally:
        with anyio.CancelScope(shield=True), suppress(AlcError):  # whatever happened, no worker is left
            await stop_via_pool(pool, sid, "cancel")
            await pool.wait_for_exit(sid, pool.limits.leave_s)
    if result["status"] == "completed":
        found: dict[str, Any] = result["result"]
        return found
    if result["status"] == "needs_response":
        asked = (result.get("queries") or [result])[0]["prompt"]
        return {"problem": f"it asks {asked[:200]!r}: a spec gives its package an alc.llm of its own"}
    if result["status"] == "running":
        return {"problem": f"it had not ended after {limit_s:.0f} s"}
    return {"problem": result["error"]}


def _told(chosen: Chosen, files: Sequence[Mapping[str, Any]], duration_ms: int) -> dict[str, Any]:
    failures: list[dict[str, Any]] = []
    for each in files:
        found = each.get("failures")
        failures += [{"file": each["file"], **problem} for problem in (found if isinstance(found, list) else ())]
        if "problem" in each:
            failures.append({"file": each["file"], "name": None, "error": each["problem"]})
    counts = {name: sum(each.get(name, 0) for each in files) for name in ("passed", "failed", "pending")}
    counts["failed"] += sum("problem" in each for each in files)
    told: dict[str, Any] = {
        **counts,
        "total": sum(counts.values()),
        "duration_ms": duration_ms,
        "spec_files": [each["file"] for each in files],
        "resolved_search_paths": list(chosen.search_paths),
    }
    if failures:
        told["failures"] = failures[:_SHOWN]
    return told | ({"search_path_warnings": list(chosen.warnings)} if chosen.warnings else {})
