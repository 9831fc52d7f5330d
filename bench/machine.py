"""The machine of the figures: a table without its machine says nothing."""

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("algocline-mcp", "mcp", "lupa", "anyio", "pydantic", "langgraph", "langgraph-checkpoint-sqlite", "dbos")


def describe(root: Path) -> dict[str, str]:
    """`root`: where the homes of this run lie."""
    facts = {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "file system": file_system(root),
    }
    return facts | {name: version for name in _PACKAGES if (version := _version(name))}


def file_system(path: Path) -> str:
    """Its type, such as ext4; "unknown" where the system does not list its mounts in /proc."""
    file_system, longest = "unknown", 0
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return file_system
    for line in mounts:
        _, point, kind, *_ = line.split()
        if path.is_relative_to(point) and len(point) >= longest:
            file_system, longest = kind, len(point)
    return file_system


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
