"""Tests of the paths of a home."""

import os
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home

DIRECTORIES = ("state", "pool", "sessions", "finished", "cards", "scenarios", "log", "packages")
FILES = ("state_database", "registry", "registry_lock")


@pytest.mark.parametrize("name", DIRECTORIES + FILES)
def test_path_without_a_session_id_is_made_once(name: str) -> None:
    home = Home(Path("/home"))

    assert getattr(home, name) is getattr(home, name)
    assert os.fspath(getattr(home, name)).startswith("/home/")


def test_home_equals_another_home_of_the_same_root_whatever_was_asked_of_either() -> None:
    home, other = Home(Path("/home")), Home(Path("/home"))

    assert home.pool == Path("/home/state/pool")
    assert home == other
    assert hash(home) == hash(other)
