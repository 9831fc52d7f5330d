"""Arbitrary Python in an engine reaches nothing; each attack has a control that succeeds without the confinement."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from algocline_mcp.config.sandbox import probe
from tests.attacks import engine_attacks as attacks
from tests.attacks.python_needs import NEEDS

HOST = probe({})
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not HOST.seccomp, reason="this kernel takes no seccomp filter")
DENIED = {"EPERM", "RuntimeError: can't start new thread"}
THROUGH = {"reached", "ended"}  # ended: another program runs in its place


def outcomes(mode: str, directory: Path) -> dict[str, str]:
    command = [sys.executable, "-m", "tests.attacks.engine_attacks", mode, str(directory)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    outcome: dict[str, str] = json.loads(ended.stdout)
    return outcome


def test_no_attack_gets_through_a_death_ends_at_once_and_python_has_what_it_needs(tmp_path: Path) -> None:
    outcome = outcomes("standard", tmp_path)
    needs = {name: outcome.pop(name) for name in NEEDS}
    deaths = {name: outcome.pop(name) for name in attacks.DEATHS}

    assert needs == dict.fromkeys(NEEDS, "reached")
    assert deaths == dict.fromkeys(attacks.DEATHS, "ended")
    assert list(outcome) == list(attacks.ATTACKS)
    assert {name: error for name, error in outcome.items() if error not in DENIED} == {}
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert left == dict.fromkeys(("id_rsa", "other.journal", "victim", "renamed", "removed"), b"x" * 16)
    assert not os.path.lexists(tmp_path / "symlinked")


def test_every_attack_gets_through_without_the_confinement(tmp_path: Path) -> None:
    outcome = outcomes("off", tmp_path)

    failed = {name: error for name, error in outcome.items() if error not in THROUGH}
    assert {name: error for name, error in failed.items() if name not in {**attacks.PERHAPS, **attacks.DEATHS}} == {}
    assert outcome["execute"] == "ended"


@pytest.mark.skipif(HOST.landlock_abi < 6, reason="Landlock of this kernel has no scopes")
def test_landlock_alone_holds_files_ports_abstract_sockets_and_signals(tmp_path: Path) -> None:
    """The second layer, should a call slip through the first."""
    outcome = outcomes("paths", tmp_path)

    held = {**attacks.FILES, **attacks.CONNECTIONS, **attacks.SIGNALS, "execute": attacks.PROCESSES["execute"]}
    assert {name: outcome[name] for name in held if outcome[name] not in ("EACCES", "EPERM")} == {}
