"""Runs the specs of packages, each file in a session of its own and in a temporary home.

Contract: everything that a spec stores or writes is removed with the temporary home; packages are found as in the real
home. `select_specs` and `select_text` block on the disk: call them in a thread. `run_specs` always returns: a file that
does not end in time, or that asks a prompt, is a failure with its reason.
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
from algocline_mcp.languages import LANGUAGES, LUA, Language, language_of_file
from algocline_mcp.packages import freeze, lookup
from algocline_mcp.packages.catalog import PackageContext
from algocline_mcp.packages.lookup import Package
from algocline_mcp.packages.scaffold import DIRECTORY as DIRECTORY
from algocline_mcp.pool.dispatch import begin_via_pool, gen_pool_sid, stop_via_pool
from algocline_mcp.pool.pool import Pool

_PARALLEL = 2  # specs compute, they do not wait for a model
_MAX_FAILURES = 50  # in one report
_ROOT = Path(algocline_mcp.__file__).parent
_SUFFIXES = " or ".join(f"*{language.suffix}" for language in LANGUAGES.values())


@dataclass(frozen=True, slots=True)
class Spec:
    """`file`: the name in reports. `surroundings`: of a frozen session, what its header has."""

    file: str
    source: str
    language: Language = LUA
    surroundings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpecRun:
    """Specs, and where their `require` looks: in `variants` (name -> directory), then in `search_paths`."""

    specs: Sequence[Spec]
    search_paths: Sequence[str] = ()
    variants: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def select_specs(
    context: PackageContext,
    name: str,
    *,
    spec_dir: str = DIRECTORY,
    words: str = "",
    search_paths: Sequence[str] = (),
    is_auto: bool = True,
) -> SpecRun:
    """The specs of a package: the files below its `spec_dir` whose path contains `words`. `name`: a package name, or
    the path of a package's directory. `is_auto`: `require` finds the neighbours of that directory. Raises Refused."""
    search_path = context.search_path()
    package = package_of(search_path, name)
    root = package.file.parent
    directory = root / spec_dir
    if not directory.resolve().is_relative_to(root.resolve()):
        raise Refused(f"spec_dir {spec_dir!r} leaves the package: name a directory inside {root}")
    files = [path for path in files_in(directory) if words in str(path.relative_to(directory))]
    if not files:
        condition = f" whose path contains {words!r}" if words else ""
        raise Refused(f"package '{package.name}' has no specs: there is no {_SUFFIXES}{condition} in {directory}")
    if len(files) > context.limits.spec_files:
        sentence = f"{len(files)} spec files, at most {context.limits.spec_files}: select fewer with filter"
        raise Refused(sentence, code="too_large")
    specs = [
        Spec(
            str(path.relative_to(root)),
            lookup.read_source(Package(package.name, path, package.origin), context.limits.code_bytes),
            language_of_file(path.name) or LUA,
            _surroundings(path, context.limits.inherited_bytes),
        )
        for path in files
    ]
    paths, warnings = _search_paths(context, search_paths)
    neighbours = [str(root.resolve().parent)] if is_auto else []
    return SpecRun(
        specs,
        _unique(paths, neighbours, [str(path) for path, _ in search_path.roots]),
        dict(search_path.project.variants) | {package.name: str(root)},
        [*warnings, *search_path.project.warnings],
    )


def files_in(directory: Path) -> list[Path]:
    """Spec files of every language."""
    return sorted(path for path in directory.rglob("*") if language_of_file(path.name) is not None)


def select_text(context: PackageContext, spec: Spec, search_paths: Sequence[str], near: Sequence[str] = ()) -> SpecRun:
    """One spec from its text. `near`: directories where `require` looks before the packages."""
    search_path = context.search_path()
    paths, warnings = _search_paths(context, search_paths)
    return SpecRun(
        [spec],
        _unique(paths, near, [str(path) for path, _ in search_path.roots]),
        dict(search_path.project.variants),
        [*warnings, *search_path.project.warnings],
    )


def package_of(search_path: lookup.SearchPath, name: str) -> Package:
    """By its name, or the path of its directory. Raises Refused."""
    package = None if os.sep in name else search_path.find(name)
    file = lookup.entry_of(Path(os.path.abspath(name)))
    if package is None and file.is_file():
        package = Package(file.parent.name, file, "given")
    if package is None:
        nearest = lookup.nearest_names(name, [package.name for package in search_path.all()])
        raise Refused(lookup.not_found_text("package", name, nearest), code="not_found")
    if package.file.name != (entry := package.language.entry_file()):
        raise Refused(f"package '{package.name}' is the file {package.file}: specs lie in a directory with {entry}")
    return package


def _surroundings(path: Path, max_bytes: int) -> Mapping[str, Any]:
    """Of a spec that was frozen, from the file beside it. Raises Refused."""
    file = path.with_suffix(freeze.SURROUNDINGS)
    try:
        with open(file, "rb") as opened:
            content = opened.read(max_bytes + 1)
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise Refused(f"{file} cannot be read: {exc.strerror}; repair it") from exc
    try:
        return freeze.header_fields(content[:max_bytes].decode())
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise Refused(f"{file} does not hold what alc test --from wrote: remove both files, and freeze again") from exc


def _search_paths(context: PackageContext, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Absolute directories, and a warning for each path that is not a directory."""
    root = context.project_root or Path.cwd()
    absolute = [os.path.abspath(root / os.path.expanduser(path)) for path in paths]
    missing = [path for path in absolute if not os.path.isdir(path)]
    warnings = [f"search path {path} is not a directory" for path in missing]
    return [path for path in absolute if path not in missing], warnings


def _unique(*groups: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(path for group in groups for path in group))


# ── running ───────────────────────────────────────────────────────────────────────────────────────────────


async def run_specs(run: SpecRun, limits: Limits, environ: Mapping[str, str], within_s: float) -> dict[str, Any]:
    """`{passed, failed, pending, total, duration_ms, spec_files, resolved_search_paths, failures?,
    search_path_warnings?}`, within
    about `within_s`. A file that does not run to its end counts as one failed case."""
    began_s = time.monotonic()
    outcomes: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="alc", ignore_cleanup_errors=True) as directory:
        home = Home(Path(directory) / "h")
        cold = replace(limits, warmup_runs=0, standby=0)
        own = {name: value for name, value in environ.items() if name != "ALC_HOME"}
        async with Pool(home, cold, environ=own) as pool:
            deadline = anyio.current_time() + within_s
            slots = anyio.CapacityLimiter(_PARALLEL)

            async def run_file(spec: Spec) -> None:
                async with slots:
                    left_s = deadline - anyio.current_time()
                    if left_s > 0:
                        outcomes[spec.file] = await _run_file(pool, run, spec, left_s)
                    else:
                        outcomes[spec.file] = {"problem": f"it was not started within {within_s:g} s"}

            async with anyio.create_task_group() as tasks:
                for spec in run.specs:
                    tasks.start_soon(run_file, spec)
    duration_ms = round((time.monotonic() - began_s) * 1000)
    return _report(run, [outcomes[spec.file] | {"file": spec.file} for spec in run.specs], duration_ms)


async def _run_file(pool: Pool, run: SpecRun, spec: Spec, limit_s: float) -> dict[str, Any]:
    """`{passed, failed, pending, failures}` of a file that ran to its end, else `{problem}`."""
    strategy = Strategy(
        spec.language.spec,
        "spec",
        {"source": spec.source, "chunk": spec.file},
        title=spec.file,
        lib_paths=(str(_ROOT / spec.language.spec_library), *run.search_paths),
        variants=run.variants,
        language=spec.language.name,
    )
    sid = gen_pool_sid()
    try:
        header = header_of(pool.limits, strategy, sid=sid) | dict(spec.surroundings)
        result = (await begin_via_pool(pool, header, wait_s=limit_s)).result
    except AlcError as exc:
        result = {"status": "error", "error": str(exc)}
    finally:
        with anyio.CancelScope(shield=True), suppress(AlcError):  # no worker is left, also after a cancellation
            await stop_via_pool(pool, sid, "cancel")
            await pool.wait_for_exit(sid, pool.limits.leave_s)
    if result["status"] == "completed":
        counts: dict[str, Any] = result["result"]
        return counts
    if result["status"] == "needs_response":
        prompt = (result.get("queries") or [result])[0]["prompt"]
        return {"problem": f"it asks {prompt[:200]!r}: a spec must give its package an alc.llm of its own"}
    if result["status"] == "running":
        return {"problem": f"it had not ended after {limit_s:.0f} s"}
    return {"problem": result["error"]}


def _report(run: SpecRun, outcomes: Sequence[Mapping[str, Any]], duration_ms: int) -> dict[str, Any]:
    failures: list[dict[str, Any]] = []
    for outcome in outcomes:
        cases = outcome.get("failures")
        failures += [{"file": outcome["file"], **case} for case in (cases if isinstance(cases, list) else ())]
        if "problem" in outcome:
            failures.append({"file": outcome["file"], "name": None, "error": outcome["problem"]})
    counts = {name: sum(outcome.get(name, 0) for outcome in outcomes) for name in ("passed", "failed", "pending")}
    counts["failed"] += sum("problem" in outcome for outcome in outcomes)
    report: dict[str, Any] = {
        **counts,
        "total": sum(counts.values()),
        "duration_ms": duration_ms,
        "spec_files": [outcome["file"] for outcome in outcomes],
        "resolved_search_paths": list(run.search_paths),
    }
    if failures:
        report["failures"] = failures[:_MAX_FAILURES]
    return report | ({"search_path_warnings": list(run.warnings)} if run.warnings else {})
