"""The fixture `escaped`: engines run Python where a strategy begins with `--python`, see escaped/sitecustomize.py.

Without the confinement by the kernel: the keeper has to hold against such an engine by itself."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.pool import spawn


@pytest.fixture
def escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    own = spawn.worker_environment

    def environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
        own_path = os.fspath(Path(__file__).parent / "escaped")
        return own(home, environ) | {"PYTHONPATH": own_path, "ALC_SANDBOX": "off"}

    monkeypatch.setattr(spawn, "worker_environment", environment)
