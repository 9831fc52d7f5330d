"""Sources of difference, each in processes of other addresses, environments, zones, directories and histories."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.pool.spawn import PYTHON_OPTIONS, worker_environment
from tests.worker.engine.python.determinism.sources import SOURCES

pytestmark = pytest.mark.slow
_HERE = Path(__file__).parent
_ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Australia/Adelaide", "Asia/Kolkata")
_NOT_COVERED = {"id", "hash of an object", "set of functions"} | (
    {"hash of None"} if sys.version_info < (3, 12) else set()
)
_LIMIT_S = 60.0


def _outer(number: int, directory: Path) -> dict[str, str]:
    """The environment of a server."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TZ": _ZONES[number],
        "PYTHONHASHSEED": str(100 + number),
        "ALC_PADDING": "x" * 1111 * number,
    }


def _run(
    number: int, directory: Path, *, mode: str = "measured", seed: int = 7, changes: Mapping[str, str] | None = None
) -> dict[str, str]:
    directory = directory / f"directory-{number}"
    directory.mkdir(exist_ok=True)
    outer = _outer(number, directory)
    env = outer if mode == "plain" else worker_environment(Home(directory), outer) | dict(changes or {})
    options = () if mode == "plain" else PYTHON_OPTIONS
    done = subprocess.run(
        [sys.executable, *options, str(_HERE / "probe.py"), str(_HERE / "sources.py"), str(seed), str(number), mode],
        env=env,
        cwd=directory,
        stdout=subprocess.PIPE,
        timeout=_LIMIT_S,
        check=True,
    )
    texts: dict[str, str] = json.loads(done.stdout)
    return texts


def _equal(runs: list[dict[str, str]]) -> set[str]:
    return {name for name in SOURCES if len({run[name] for run in runs}) == 1}


def test_all_covered_sources_are_equal_in_all_processes(tmp_path: Path) -> None:
    runs = [_run(number, tmp_path) for number in range(5)]

    assert len(SOURCES) >= 44
    assert SOURCES.keys() - _equal(runs) <= _NOT_COVERED, {
        name: [run[name][:300] for run in runs] for name in SOURCES.keys() - _equal(runs) - _NOT_COVERED
    }


def test_no_source_that_is_covered_raises(tmp_path: Path) -> None:
    texts = _run(0, tmp_path)

    assert [text for text in texts.values() if "Error: " in text.partition("\n")[0]] == []


def test_without_the_measures_most_sources_differ(tmp_path: Path) -> None:
    runs = [_run(number, tmp_path, mode="plain") for number in range(4)]

    assert len(_equal(runs)) <= 20


def test_another_seed_gives_other_random_numbers(tmp_path: Path) -> None:
    runs = [_run(0, tmp_path), _run(0, tmp_path, seed=8)]

    names = ("random.random", "random.seed()", "Random()", "SystemRandom", "secrets", "uuid4", "uuid1", "os.urandom")
    assert set(names) <= SOURCES.keys() - _equal(runs)


def test_another_hash_seed_gives_another_order_of_texts(tmp_path: Path) -> None:
    runs = [_run(0, tmp_path), _run(0, tmp_path, changes={"PYTHONHASHSEED": "7"})]

    assert {"hash of a text", "set of texts"} <= SOURCES.keys() - _equal(runs)


def test_random_hashes_are_a_problem_and_those_of_a_worker_are_none(tmp_path: Path) -> None:
    program = "from algocline_mcp.worker.engine.python import determinism; print(determinism.problem())"
    env = worker_environment(Home(tmp_path), _outer(1, tmp_path))
    texts = {
        options: subprocess.run(
            [sys.executable, *options, "-c", program], env=env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        for options in (PYTHON_OPTIONS, ("-I",))
    }

    assert texts[PYTHON_OPTIONS] == "None\n"
    assert "the hashes of strings are random" in texts[("-I",)]
