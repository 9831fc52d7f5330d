"""The other files in examples/: a driver that runs, configurations that hosts can read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from algocline_mcp.cli import hosts
from algocline_mcp.config.home import Home

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_the_driver_plays_a_strategy_through_the_official_client(home: Home) -> None:
    command = [sys.executable, str(EXAMPLES / "drive.py"), str(EXAMPLES / "panel.lua"), "task=Ship?"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    assert state["status"] == "completed"
    assert state["result"]["doubt"] == "An answer to: Reviewers said:"


@pytest.mark.parametrize("name", list(hosts.HOSTS))
def test_the_configuration_of_each_host_is_what_alc_config_shows(name: str) -> None:
    (path,) = EXAMPLES.glob(f"hosts/{name}.*")
    host = hosts.HOSTS[name]

    assert path.read_text() == host.form.show(host.fields(hosts.Entry("/absolute/path/to/alc")))
