"""No function of alc goes on for long whatever its arguments are: not a number, infinite, huge, or of another type."""

import subprocess
import sys

import pytest

from tests.worker.engine.conformance import odd_arguments
from tests.worker.engine.conformance.languages import RUNNERS

HANG_S = 300  # of a run that takes a few seconds


@pytest.mark.slow
@pytest.mark.parametrize("language", RUNNERS)
def test_each_function_ends_at_once_with_odd_arguments(language: str) -> None:
    command = [sys.executable, "-m", odd_arguments.__name__, language]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    except subprocess.TimeoutExpired as exc:
        pytest.fail(f"alc.{(exc.stdout or b'').decode().split()[-1]} does not end")

    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == list(odd_arguments.FUNCTIONS)
