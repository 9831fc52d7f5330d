"""The fixture `escaped`: engines run Python where a strategy begins with `--python`, see escaped/sitecustomize.py."""

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
        return own(home, environ) | {"PYTHONPATH": os.fspath(Path(__file__).parent / "escaped")}

    monkeypatch.setattr(spawn, "worker_environment", environment)
