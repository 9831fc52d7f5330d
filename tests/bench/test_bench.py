"""The benchmark runs, and every row it promises has figures. How fast anything is does not matter here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).parent.parent.parent / "bench" / "run.py"
LIMIT_S = 900.0
# The alternatives need packages that no test may depend on.
PARTS = {
    "first_prompt": "first prompt",
    "step": "step",
    "last_step": "last step",
    "languages": "languages",
    "memory": "growth",
    "many": "many on disk",
    "burst": "burst",
    "continues": "burst of continues",
    "revival": "revival",
    "startup": "start",
    "idle": "idle",
    "idle_server": "idle server",
    "cluster": "cluster",
}
ROWS = {
    "first prompt": 6,
    "step": 9,
    "last step": 4,
    "languages": 14,
    "growth": 8,
    "many on disk": 4,
    "burst": 7,
    "burst of continues": 2,
    "revival": 4,
    "start": 13,
    "idle": 1,
    "idle server": 1,
    "cluster": 13,
}
ROUGH = "available memory lost"  # only there where the machine has less than before
MAY_LACK = ("no tmpfs to write to", "PostgreSQL is not installed")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc"),
    pytest.mark.skipif(os.environ.get("ALC_THOROUGH") != "1", reason="half a minute; ALC_THOROUGH=1 runs it"),
]


def run(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *arguments, "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def check(row: dict[str, Any]) -> None:
    if row["reason"]:
        assert row["reason"].startswith(MAY_LACK), row
        return
    assert row["n"] > 0, row
    assert row["median"] > 0 or row["unit"] == "switches", row
    assert row["p99"] is None or row["p99"] >= row["median"], row
    assert all(each["ratio"] is None or each["ratio"] > 0 for each in row["comparisons"]), row


def test_every_part_has_all_its_rows_with_positive_figures(tmp_path: Path) -> None:
    ended = run(tmp_path, "--quick", "--only", ",".join(PARTS))

    assert ended.returncode == 0, ended.stderr
    assert "left behind" not in ended.stderr
    assert "FIRST PROMPT" in ended.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    rows = [row for row in results["rows"] if not row["name"].startswith(ROUGH)]
    expected = ROWS | ({"cluster": 1} if any(row["reason"].startswith(MAY_LACK[1]) for row in rows) else {})
    assert {part: sum(row["part"] == part for row in rows) for part in PARTS.values()} == expected
    assert len({(row["part"], row["name"]) for row in rows}) == len(rows)
    for row in rows:
        check(row)
    machine = results["machine"]
    assert all(machine[name] for name in ("cpu", "cores", "load", "system", "python", "file system", "mcp", "lupa"))


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
def test_an_unknown_part_is_a_wrong_command_line(tmp_path: Path) -> None:
    ended = run(tmp_path, "--only", "nonsense")

    assert ended.returncode == 2, ended.stderr
    assert "no part 'nonsense'" in ended.stderr
