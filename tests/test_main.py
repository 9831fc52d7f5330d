"""The terminal: `alc run` as a host of its own, over the real server and stdio."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from algocline_mcp import __version__
from algocline_mcp.__main__ import unsupported

LIMIT_S = 60.0  # two starts of the SDK, on a machine that has other things to do too
PLAN = json.dumps({"pauses": [["one", "two"], ["three"]]})


class Terminal:
    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self.environment = environment

    def file(self, name: str, text: str) -> str:
        (self.directory / name).write_text(text)
        return name

    def alc(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "algocline_mcp", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=self.environment,
            timeout=LIMIT_S,
            check=False,
        )


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Terminal:
    return Terminal(tmp_path, environment)


def _responses(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return {item["id"]: item["response"] for item in json.loads(done.stdout)}


@pytest.mark.slow
def test_a_command_answers_every_prompt_with_its_role(terminal: Terminal) -> None:
    plan = terminal.file("plan.lua", PLAN)

    done = terminal.alc("run", plan, "--exec", 'printf "%s as %s: " "$ALC_QUERY_ID" "$ALC_SYSTEM"; cat')
    assert _responses(done) == {
        "q-0": "q-0 as role q-0: one",
        "q-1": "q-1 as role q-1: two",
        "q-2": "q-2 as role q-2: three",
    }
    assert "session p-" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '["A", {"b": 1}, "C"]'),
        ("a.json", '{"q-2": "C", "q-0": "A", "q-1": {"b": 1}}'),
        ("a.txt", 'A\n{"b": 1}\nC\n'),
    ],
)
def test_a_file_answers_in_order_or_by_query_id(terminal: Terminal, name: str, content: str) -> None:
    plan, sheet = terminal.file("plan.lua", PLAN), terminal.file(name, content)

    assert _responses(terminal.alc("run", plan, "--answers", sheet)) == {"q-0": "A", "q-1": '{"b": 1}', "q-2": "C"}


@pytest.mark.slow
def test_a_person_answers_with_several_lines(terminal: Terminal) -> None:
    plan = terminal.file("plan.lua", PLAN)

    done = terminal.alc("run", plan, stdin="\nfirst\nline two\n\nsecond\n\nthird")
    assert _responses(done) == {"q-0": "first\nline two", "q-1": "second", "q-2": "third"}
    assert "[role q-2]\nthree" in done.stderr


@pytest.mark.slow
def test_pairs_become_ctx_as_json_or_text(terminal: Terminal) -> None:
    plan = terminal.file("plan.lua", "echo")

    done = terminal.alc("run", plan, "n=3", "list=[1, 2]", "task=a = b", "empty=", "--title", "mine")
    started = json.loads(done.stdout)
    assert started["ctx"] == {"n": 3, "list": [1, 2], "task": "a = b", "empty": ""}
    assert started["title"] == "mine"
    assert started["chunk"] == "plan.lua"
    assert "registry.json: disk full" in done.stderr


@pytest.mark.slow
def test_a_strategy_that_failed_is_told_on_stderr_with_exit_code_1(terminal: Terminal) -> None:
    plan = terminal.file("plan.lua", '{"status": "error", "error": "plan.lua:1: broken"}')

    done = terminal.alc("run", plan)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: plan.lua:1: broken" in done.stderr
    assert "go on with" not in done.stderr


@pytest.mark.slow
def test_an_error_of_the_session_that_can_go_on_says_how(terminal: Terminal) -> None:
    plan = terminal.file("plan.lua", '{"status": "error", "error": "died", "error_code": "crash_loop"}')

    done = terminal.alc("run", plan)
    assert done.returncode == 1
    assert "go on with: alc continue p-1-" in done.stderr


@pytest.mark.slow
def test_a_refused_call_is_shown_with_exit_code_1(terminal: Terminal) -> None:
    (terminal.directory / "binary.lua").write_bytes(b"\xff")

    done = terminal.alc("run", "binary.lua")
    assert done.returncode == 1
    assert f"Failed to read {terminal.directory / 'binary.lua'}: byte 0 is not UTF-8; save the file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--exec", 'test "$ALC_QUERY_ID" = q-0 && echo A'], "the command ended with exit code 1 for q-1"),
        (["--answers", "short.json"], "short.json has no answer to q-1: two"),
    ],
)
def test_answers_that_run_out_leave_the_session_waiting_and_say_how_to_go_on(
    terminal: Terminal, options: list[str], sentence: str
) -> None:
    plan = terminal.file("plan.lua", PLAN)
    terminal.file("short.json", '["A"]')

    done = terminal.alc("run", plan, *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert f"alc continue p-1-0123456789abcdef {options[0]} " in done.stderr


@pytest.mark.slow
def test_an_unknown_session_is_refused(terminal: Terminal) -> None:
    done = terminal.alc("continue", "p-5-0123456789abcdef")

    assert done.returncode == 1
    assert "Session p-5-0123456789abcdef not found: start one with alc run\n" in done.stderr
    assert "go on with" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_while_it_waits_for_an_answer_says_how_to_go_on(terminal: Terminal) -> None:
    plan = terminal.file("plan.lua", PLAN)
    process = subprocess.Popen(
        [sys.executable, "-m", "algocline_mcp", "run", plan],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=terminal.directory,
        env=terminal.environment,
    )
    assert process.stderr is not None
    assert any("Ctrl-D ends it" in line for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "alc continue p-1-0123456789abcdef" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run"], "Missing argument 'FILE|NAME'"),
        (["run", "x.lua", "novalue"], "'novalue' is not KEY=VALUE"),
        (["run", "x.lua", "--jobs", "2"], "--jobs belongs to --exec"),
        (["run", "x.lua", "--exec", "cat", "--answers", "a.json"], "--exec or --answers, not both"),
        (["run", "x.lua", "--wait", "-1"], "--wait"),
        (["swerve"], "No such command 'swerve'"),
    ],
)
def test_a_wrong_command_line_is_told_before_anything_starts(
    terminal: Terminal, arguments: list[str], sentence: str
) -> None:
    done = terminal.alc(*arguments)

    assert done.returncode == 2
    assert sentence in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("content", ["3", "{", ""])
def test_a_file_of_answers_that_cannot_be_used_is_told(terminal: Terminal, content: str) -> None:
    plan, sheet = terminal.file("plan.lua", PLAN), terminal.file("a.json", content)

    done = terminal.alc("run", plan, "--answers", sheet)
    assert done.returncode == 1
    assert "a.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_shows_examples(terminal: Terminal, arguments: list[str]) -> None:
    done = terminal.alc(*arguments)

    assert done.returncode == 0
    assert "Examples:\n    alc" in done.stdout


def test_the_version_is_told(terminal: Terminal) -> None:
    assert terminal.alc("--version").stdout == f"alc {__version__}\n"


@pytest.mark.parametrize(
    ("platform", "version", "sentence"),
    [
        ("win32", (3, 14, 0), "WSL 2"),
        ("linux", (3, 10, 4), "needs Python 3.11 or newer, and this is Python 3.10.4"),
        ("darwin", (3, 11, 0), None),
    ],
)
def test_systems_that_cannot_run_it_are_told_so(platform: str, version: tuple[int, ...], sentence: str | None) -> None:
    sentence_shown = unsupported(platform, version)

    assert (sentence is None) == (sentence_shown is None)
    assert sentence is None or sentence in str(sentence_shown)


def test_the_worker_is_reached_without_the_sdk(terminal: Terminal) -> None:
    """The executable decides by argv alone: importing it imports nothing heavy."""
    script = (
        "import sys, algocline_mcp.__main__, algocline_mcp.worker.keeper.main; "
        "heavy = {'mcp', 'anyio', 'pydantic', 'portalocker', 'click'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )

    done = subprocess.run([sys.executable, "-c", script], env=terminal.environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
