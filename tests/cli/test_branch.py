"""`alc branch`: the terminal's alc_branch, with a real server and real workers where sessions run."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from algocline_mcp.cli import run as run_module
from algocline_mcp.cli.start import Start
from tests.rig.stdio_home import StdioHome

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

BROKEN = """
local first = alc.llm("first " .. ctx.task)
local second = alc.llm("second " .. first)
return first .. second .. #ctx.items
"""
FIXED = BROKEN.replace("#ctx.items", 'alc.llm("third")')
GONE = "p-18c2f0a1b2c3d4e5-0123456789abcdef"


def _command_named(text: str) -> list[str]:
    """The words of the command that a failed run names."""
    return shlex.split(text.partition("then run alc ")[2].partition(": a new session")[0])


@pytest.mark.slow
def test_a_failed_run_names_the_command_that_keeps_its_answers(stdio_home: StdioHome, tmp_path: Path) -> None:
    file, answers = tmp_path / "my idea.lua", tmp_path / "answers.json"
    file.write_text(BROKEN)
    answers.write_text('["A", "B", "C"]')

    failed = stdio_home.alc("run", str(file), "task=tea", "--answers", str(answers))
    command = _command_named(failed.stderr)
    sid = command[1]
    assert failed.returncode == 1
    assert command == ["branch", sid, str(file), "items=…", "--answers", str(answers)]
    assert "(not given: ctx.items)" in failed.stderr

    file.write_text(FIXED)
    branched = stdio_home.alc(*[word for word in command if word != "items=…"])
    assert (branched.returncode, branched.stdout) == (0, "ABC\n"), branched.stderr
    assert f"alc: answers of {sid} that it has so far: 2\n" in branched.stderr
    assert "asked for" not in branched.stderr  # the list counts from q-0, and the old session had used two of it

    file.write_text(BROKEN)
    given = stdio_home.alc("branch", sid[-8:], str(file), 'items=["x"]', "--exec", "false")
    assert (given.returncode, given.stdout) == (0, "AB1\n"), given.stderr


@pytest.mark.slow
def test_a_branch_is_answered_by_a_command_a_person_or_later(stdio_home: StdioHome, tmp_path: Path) -> None:
    file = tmp_path / "idea.lua"
    file.write_text(BROKEN)
    sid = _command_named(stdio_home.alc("run", str(file), "task=tea", "--exec", "echo A").stderr)[1]
    file.write_text(FIXED)

    dry = stdio_home.alc("branch", sid, str(file), "--dry-run")
    several = stdio_home.alc("branch", sid, str(file), "-n", "2")
    answered = [stdio_home.alc("continue", branch, "--exec", "echo C") for branch in several.stdout.split()]
    other = stdio_home.alc("branch", sid, "--at", "q-1", "--response", "other", "items=[1]", "--exec", "false")
    stopped = stdio_home.alc("branch", sid, str(file), "--exec", "false")

    asks = [{"query_id": "q-2", "prompt": "third"}]
    assert json.loads(dry.stdout) == {"shared": 2, "asks": asks}
    assert [(done.returncode, done.stdout) for done in answered] == [(0, "AAC\n"), (0, "AAC\n")]
    assert (other.returncode, other.stdout) == (0, "Aother1\n"), other.stderr
    assert stopped.returncode == 1
    branch = stopped.stderr.partition("alc: session ")[2].split()[0]
    assert f"go on with: alc continue {branch} --exec false\n" in stopped.stderr
    assert stdio_home.alc("stop", branch, "--cancel").returncode == 0


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Start]:
    starts: list[Start] = []

    def play(start: Start, *_: object, **__: object) -> int:
        starts.append(start)
        return 0

    monkeypatch.setattr(run_module, "play", play)
    return starts


@pytest.mark.parametrize(
    ("words", "arguments", "strategy"),
    [
        ([], {}, "FILE"),
        (["my idea.lua"], {"code_file": "my idea.lua"}, "'my idea.lua'"),
        (["n=2"], {"ctx": {"task": "tea", "n": 2}}, "FILE"),
        (["a=b.lua", "task=x"], {"code_file": "a=b.lua", "ctx": {"task": "x", "n": 1}}, "a=b.lua"),
        (["a=b.lua"], {"code_file": "a=b.lua"}, "a=b.lua"),
        (["--at", "q-0"], {"at": "q-0"}, "FILE"),
        (["--at", "q-0", "--response", ""], {"at": "q-0", "response": ""}, "FILE"),
        (["-n", "3", "--dry-run"], {"n": 3, "dry_run": True}, "FILE"),
    ],
)  # fmt: skip
def test_words_become_the_arguments_of_the_tool(
    terminal: "Terminal", starts: list[Start], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: list[str], arguments: dict[str, Any], strategy: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("my idea.lua", "a=b.lua"):
        (tmp_path / name).write_text("return 1")
    sid = terminal.session(ctx={"task": "tea", "n": 1})
    if "code_file" in arguments:
        arguments = arguments | {"code_file": str(tmp_path / arguments["code_file"])}

    done = terminal.alc("branch", sid[-8:], *words)
    assert done.exit_code == 0, done.stderr
    assert starts == [Start("alc_branch", {"session_id": sid, "n": None, "dry_run": False} | arguments, strategy)]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([], 2, "Missing argument 'SID'. alc ps lists the unfinished sessions"),
        ([GONE, "--response", "x"], 2, "--response is the answer to the prompt of --at: give --at QUERY_ID too."),
        ([GONE, "nowhere.lua"], 1, "nowhere.lua is not a file: give the path of a strategy"),
        ([GONE, "--rounds", "2"], 2, "A value for ctx is written without dashes: rounds=…"),
        ([GONE, "-n", "0"], 2, "0 is not in the range x>=1"),
        ([GONE, "x=1"], 1, f"Session '{GONE}' not found"),
        ([GONE, "x=1", "x=2"], 2, "x is given twice"),
        ([GONE, "x=1", "y.lua"], 2, "'y.lua' is not KEY=VALUE"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(
    terminal: "Terminal", starts: list[Start], words: list[str], code: int, sentence: str
) -> None:
    done = terminal.alc("branch", *words)

    assert (done.exit_code, starts) == (code, [])
    assert sentence in " ".join(done.stderr.split())
