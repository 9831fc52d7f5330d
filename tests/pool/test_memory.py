"""Available memory as the kernel and control groups of both versions show it."""

from pathlib import Path

import pytest

from algocline_mcp.pool.memory import available_bytes

MACHINE = {"proc/meminfo": "MemTotal: 4096 kB\nMemAvailable:    1000 kB\nBuffers: 1 kB\n"}
V2 = {"proc/self/cgroup": "0::/a/b\n"}
V1 = {"proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/a\n0::/\n"}


def group(path: str, limit: str, usage: str, stat: str = "") -> dict[str, str]:
    where = f"sys/fs/cgroup/{path}"
    return {f"{where}/memory.max": limit, f"{where}/memory.current": usage, f"{where}/memory.stat": stat}


def group_v1(path: str, limit: str, usage: str, stat: str = "") -> dict[str, str]:
    where = f"sys/fs/cgroup/memory/{path}"
    return {
        f"{where}/memory.limit_in_bytes": limit,
        f"{where}/memory.usage_in_bytes": usage,
        f"{where}/memory.stat": stat,
    }


CASES: dict[str, tuple[dict[str, str], int | None]] = {
    "a machine without groups": (MACHINE, 1_024_000),
    "no such files": ({}, None),
    "a kernel without the line": ({"proc/meminfo": "MemTotal: 1 kB\n"}, None),
    "a group without a limit": (MACHINE | V2 | group("a/b", "max", "5"), 1_024_000),
    "a group with a limit": (MACHINE | V2 | group("a/b", "5000", "2000"), 3_000),
    "cache of files can be given back": (
        MACHINE | V2 | group("a/b", "5000", "2000", "anon 7\ninactive_file 500\n"),
        3_500,
    ),
    "a group above has the limit": (
        MACHINE | V2 | group("a/b", "max", "5") | group("a", "900", "100"),
        800,
    ),
    "a container shows its group as the root": (MACHINE | V2 | group("", "700", "100"), 600),
    "a group over its limit": (MACHINE | V2 | group("a/b", "10", "20"), 0),
    "version 1": (MACHINE | V1 | group_v1("a", "8000", "1000", "total_inactive_file 5\n"), 7_005),
    "version 1 without a limit": (MACHINE | V1 | group_v1("a", "9223372036854771712", "1"), 1_024_000),
}


@pytest.mark.parametrize("name", CASES)
def test_the_least_of_machine_and_groups_is_available(tmp_path: Path, name: str) -> None:
    files, available = CASES[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert available_bytes(tmp_path) == available
