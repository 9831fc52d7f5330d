"""The demo keeps its promise and leaves nothing; the doctor finds what is wrong and names the cure."""

import itertools
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from algocline_mcp.cli import demo, doctor
from algocline_mcp.config.home import Home
from algocline_mcp.config.sandbox import Sandbox
from algocline_mcp.errors import Unreachable
from algocline_mcp.pool import dispatch
from tests.rig.processes import processes_of

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal


LIMIT_S = 60.0
README = Path(__file__).parents[2] / "README.md"


def _masked(text: str) -> str:
    """Without what differs from one demo to the next: times, pids, ids."""
    text = re.sub(r"^ *[\d.]+ s ", "T ", text, flags=re.MULTILINE)
    text = re.sub(r"\bp-[0-9a-f]+", "SID", text)
    return re.sub(r"(process|server|worker) \d+", r"\1 PID", text)


@pytest.mark.slow
def test_demo_kills_its_server_and_worker_loses_nothing_and_leaves_nothing(
    terminal: "Terminal", monkeypatch: pytest.MonkeyPatch
) -> None:
    roots: list[str] = []
    make = tempfile.mkdtemp

    def make_and_note(**options: str) -> str:
        roots.append(make(**options))
        return roots[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_note)

    shown = terminal.alc("demo")
    assert shown.exit_code == 0, shown.output
    in_readme = re.findall(r"<!-- demo -->\n```text\n\$ alc demo\n(.*?)```", README.read_text(), re.DOTALL)
    assert [_masked(shown.stdout)] == [_masked(text) for text in in_readme], "README shows another demo"
    server, worker = re.findall(r"KILL -9 +server (\d+) and worker (\d+)", shown.stdout)[0]
    assert len({server, worker, *re.findall(r"new (?:server|worker), process (\d+)", shown.stdout)}) == 4
    assert not os.path.exists(roots[0])
    deadline_s = time.monotonic() + LIMIT_S
    while left := processes_of(Path(roots[0])):
        assert time.monotonic() < deadline_s, left  # what stood by learns of the end by its closed socket
    assert not terminal.home.root.exists(), "it worked in the user's own home"


@pytest.mark.parametrize("lost", ["asked", "answer", "kept", None])
def test_demo_checks_its_promise_and_does_not_only_print_it(home: Home, lost: str | None) -> None:
    said: list[str] = []
    play = demo.Demo(home, said.append, 0.0)
    play.asked = list(demo.ANSWERS)[: 3 if lost == "asked" else 4]
    *verdicts, doubt = demo.ANSWERS.values()
    result = {"verdicts": verdicts[: 2 if lost == "answer" else 3], "doubt": doubt}

    code = play.end({"status": "completed", "result": result}, lost != "kept")
    assert code == (1 if lost else 0)
    assert ("nothing was lost" in said[-1]) == (lost is None)


def test_demo_that_breaks_off_says_what_to_do_and_leaves_nothing(
    terminal: "Terminal", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo.Server, "start", _never)

    shown = terminal.alc("demo")
    assert shown.exit_code == 1
    assert "run alc doctor" in shown.stdout.splitlines()[-1]


@pytest.fixture
def patience(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no problem of the home."""
    monkeypatch.setenv("ALC_FORK_START_S", "60")
    monkeypatch.setenv("ALC_LEAVE_S", "60")
    monkeypatch.setattr(doctor, "_WORKER_S", 2 * LIMIT_S)


@pytest.mark.slow
@pytest.mark.usefixtures("patience")
def test_doctor_finds_all_well_and_leaves_no_session(terminal: "Terminal", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    shown = terminal.alc("doctor")
    assert shown.exit_code == 0, shown.stdout
    lines = shown.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:-2]] == ["ok"] * (len(lines) - 2)
    assert lines[-1] == "no problem found"
    for what in (
        "Python",
        "parts",
        "PATH",
        "hosts",
        "home",
        "file system",
        "room",
        "fork server",
        "sandbox",
        "worker",
        "registry",
    ):
        assert any(line[9:].startswith(what) for line in lines), what
    assert [*terminal.home.sessions.glob("*.journal"), *terminal.home.finished.glob("*")] == []


@pytest.mark.parametrize(
    ("level", "reached", "seen", "is_problem"),
    [
        ("standard: seccomp", "", "standard: seccomp; an engine that tried to get out reached nothing", False),
        ("off", "open a file", "off; a strategy that breaks out of Lua could: open a file", False),
        ("standard: none; missing: seccomp", "open a file", "out of Lua could: open a file", False),
        ("strict: seccomp", "open a file", "strict: seccomp, and yet an engine could: open a file", True),
    ],
)
def test_doctor_says_what_an_engine_could_reach(level: str, reached: str, seen: str, is_problem: bool) -> None:
    finding = doctor._judge_sandbox(level, reached)

    assert seen in finding.seen
    assert (finding.cure is not None) == is_problem


def test_doctor_tells_a_sandbox_that_cannot_be_tried(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CANARY_S", 0.0)

    finding = doctor._sandbox(home, os.environ)

    assert "timed out" in finding.seen
    assert finding.cure == "set ALC_SANDBOX=off to run strategies without it"


def test_doctor_names_another_alc_in_path(tmp_path: Path) -> None:
    other = tmp_path / "alc"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)

    finding = doctor._in_path({"PATH": f"/nowhere:{tmp_path}"})
    assert str(other) in finding.seen
    assert "absolute path" in str(finding.cure)


@pytest.mark.slow
@pytest.mark.usefixtures("patience")
def test_doctor_tells_a_home_that_others_can_read(terminal: "Terminal") -> None:
    terminal.home.root.mkdir()
    terminal.home.root.chmod(0o755)

    shown = terminal.alc("doctor")
    assert shown.exit_code == 1
    assert f"→ chmod 700 {terminal.home.root}" in shown.stdout
    assert shown.stdout.endswith("1 problem found\n")


@pytest.mark.parametrize(
    ("settings", "seen", "cure"),
    [
        ({"ALC_HOME": "/proc/none"}, "cannot hold sessions", "set ALC_HOME elsewhere"),
        ({"ALC_SPAWN": "magic"}, "neither fork nor exec", "correct it or unset it"),
        ({"ALC_WAIT_S": "soon"}, "'soon'", "correct it or unset it"),
        ({"ALC_KEEP": "some"}, "is not one of all, result, none", "correct it or unset it"),
        ({"ALC_TOOLS": "all"}, "is not a set of tools", "set it to one of core, author, full"),
    ],
)
def test_doctor_names_the_cure_and_stops_there(home: Home, settings: dict[str, str], seen: str, cure: str) -> None:
    last = list(doctor.findings({**os.environ, **settings}))[-1]

    assert seen in last.seen
    assert cure in str(last.cure)


@pytest.mark.slow
def test_doctor_tells_a_registry_that_was_damaged_until_it_is_taken_away(terminal: "Terminal") -> None:
    sid = terminal.session()
    terminal.home.registry.write_bytes(b"\0" * 300)

    shown = terminal.alc("doctor")
    assert shown.exit_code == 1
    (aside,) = terminal.home.pool.glob("registry.json.corrupt-*")
    assert re.search(
        rf"PROBLEM  registry +1 set aside as damaged, and replaced: {aside}\n +→ nothing is lost", shown.stdout
    )
    assert sid in terminal.home.registry.read_text()
    aside.unlink()
    again = terminal.alc("doctor")
    assert (again.exit_code, "registry      1 live worker listed" in again.stdout) == (0, True), again.stdout


def test_doctor_tells_a_setting_that_has_no_effect(home: Home) -> None:
    settings = {"ALC_POOLMAX": "3", "ALC_MY_TOKEN": "x", "ALC_CARD_SINKS": "file:///tmp/a | /tmp/b"}
    findings = doctor.findings({**os.environ, **settings})

    problems = [
        str(finding)
        for finding in itertools.takewhile(lambda finding: finding.what != "socket path", findings)
        if finding.cure
    ]
    assert len(problems) == 2
    assert re.search(r"ALC_POOLMAX is no setting\s+→ write ALC_POOL_MAX, or unset it", problems[0])
    assert re.search(r"names '/tmp/b', which gets no copies\s+→ write file:///", problems[1])


def test_doctor_tells_a_worker_that_cannot_be_started(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_WORKER_S", 0.0)
    monkeypatch.setattr(dispatch, "run_via_pool", _hangs)

    (last,) = [each for each in doctor.findings({**os.environ, "ALC_SPAWN": "exec"}) if each.what == "worker"]
    assert "no answer within" in last.seen
    assert "ulimit" in str(last.cure)


async def _hangs(*args: object, **options: object) -> None:
    raise TimeoutError


def _never(home: Home) -> None:
    raise Unreachable("the server ended without an answer")


@pytest.mark.parametrize(
    ("has", "said"),
    [
        (Sandbox("standard", True, 7, True), "in CPython 3.N and Lua 5.5"),
        (Sandbox("standard", True, 7, False), "in Lua 5.5 alone: Python strategies run where the kernel confines them"),
        (Sandbox("off", True, 7, True), "in CPython 3.N and Lua 5.5; Python is confined by nothing here"),
        (Sandbox("standard", is_python_trusted=True), "in CPython 3.N and Lua 5.5; Python is confined by nothing here"),
    ],
)
def test_doctor_says_in_which_languages_strategies_run(has: Sandbox, said: str) -> None:
    finding = doctor._languages(has)

    assert finding.seen.startswith(said.replace("3.N", f"3.{sys.version_info.minor}"))
    assert finding.cure is None
