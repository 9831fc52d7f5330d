"""Scenarios of a home: files of cases in Lua for alc.eval; listed, shown, and installed from git or a directory.

Contract: as packages/card_install. A scenario that exists already is skipped. All but `install_scenarios` block on the
disk.
"""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.packages.install import BoundedCopy, fetched_source, in_thread
from algocline_mcp.packages.lookup import Package, nearest_names, read_source
from algocline_mcp.packages.project import NAME

_SUFFIX = ".lua"


def listed(home: Home) -> dict[str, Any]:
    """`{scenarios: [{name, path, size_bytes}], failures: [{name, reason}]}`."""
    scenarios: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for file in _files_in(home.scenarios):
        try:
            size = file.stat().st_size
        except OSError as exc:
            failures.append({"name": file.stem, "reason": exc.strerror or "it cannot be read"})
        else:
            scenarios.append({"name": file.stem, "path": os.fspath(file), "size_bytes": size})
    return {"scenarios": scenarios, "failures": failures}


def shown(home: Home, limits: Limits, name: str) -> dict[str, Any]:
    """`{name, path, content}`. Raises Refused."""
    file = home.scenarios / f"{name}{_SUFFIX}"
    if not NAME.fullmatch(name) or not file.exists():
        nearest = nearest_names(name, [known.stem for known in _files_in(home.scenarios)])
        likely = f"; nearest: {', '.join(nearest)}" if nearest else ""
        sentence = f"Scenario '{name[:64]}' not found at {home.scenarios}{likely}: alc_scenario_list lists all"
        raise Refused(sentence, code="not_found")
    return {
        "name": name,
        "path": os.fspath(file),
        "content": read_source(Package(name, file, "placed"), limits.code_bytes),
    }


async def install_scenarios(
    home: Home, limits: Limits, source: str, *, fetch_s: float | None = None, environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """`{installed, skipped, failures, source, commit?}`. Raises Refused if the source has no scenario."""
    async with fetched_source(home, limits, source, fetch_s=fetch_s, environ=environ) as (staging, checkout, record):
        report = await in_thread(partial(_copy, home, limits, checkout, staging.path))
    return report | {key: value for key, value in record.items() if key != "installed_at"}


def _copy(home: Home, limits: Limits, checkout: Path, staging: Path) -> dict[str, Any]:
    report: dict[str, list[Any]] = {"installed": [], "skipped": [], "failures": []}
    root = checkout / "scenarios" if (checkout / "scenarios").is_dir() else checkout
    try:
        copy = BoundedCopy(Path(os.path.realpath(checkout)), limits)
        for file in _files_in(root):
            target = home.scenarios / file.name
            if not NAME.fullmatch(file.stem):
                report["failures"].append({"name": file.stem, "reason": "a name has letters, digits and _ alone"})
            elif target.exists():
                report["skipped"].append(file.stem)
            else:
                copy.file(copy.resolve(file), staging / file.name)
                home.scenarios.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.replace(staging / file.name, target)
                report["installed"].append(file.stem)
    except OSError as exc:
        raise StorageFailed(f"cannot copy {exc.filename}: {exc.strerror}; correct that, then try again") from exc
    if not any(report.values()):
        sentence = f"the source has no scenario: there is no *{_SUFFIX}, also not in scenarios/; check the address"
        raise Refused(sentence, code="no_scenario")
    return report


def _files_in(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob(f"*{_SUFFIX}") if not path.name.startswith("."))
