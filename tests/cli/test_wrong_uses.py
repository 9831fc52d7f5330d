"""Wrong uses, and the one sentence that each gets: it names the thing and says what to do.

Each message was read; what stands here is the part that must not get lost.
"""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from algocline_mcp.__main__ import unsupported
from algocline_mcp.cli.answering_options import Chosen
from algocline_mcp.cli.demo import Server
from algocline_mcp.cli.session_run import SessionRun
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.errors import HomeUnusable, Refused
from algocline_mcp.pool import dispatch, spawn

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

GONE = "p-18c2f0a1b2c3d4e5-0123456789abcdef"
CURES = re.compile(
    r"set |correct |free |repair |give |start with|did you mean|write for example|install it|run it under|"
    r"is not one of|Try 'alc|save |alc ps",
    re.IGNORECASE,
)


def _sentence(text: str) -> str:
    """The message, after the checks that hold for all: one line, a cure, nothing of our insides."""
    message = " ".join(text[max(0, text.find("Error: ")) :].split())
    assert len(message) < 500
    assert CURES.search(text), f"no cure: {text}"
    for noise in ("Traceback", "Errno", "pydantic", "/algocline_mcp/"):
        assert noise not in text
    return message


def _file(directory: Path) -> str:
    path = directory / "file"
    path.touch()
    return str(path)


# ── the terminal ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("home_below", "sentence"),
    [
        (lambda directory: None, "neither ALC_HOME nor HOME is set: set ALC_HOME to a directory for sessions"),
        (_file, "/file: Not a directory; repair it or set ALC_HOME elsewhere"),
        (lambda directory: "/proc/none", "ALC_HOME=/proc/none cannot hold sessions: /proc/none: No such file"),
    ],
    ids=["no home", "a file as home", "a home that cannot be made"],
)
def test_a_home_that_does_not_work(
    terminal: "Terminal",
    monkeypatch: pytest.MonkeyPatch,
    home_below: Callable[[Path], str | None],
    sentence: str,
) -> None:
    monkeypatch.delenv("ALC_HOME")
    chosen = home_below(terminal.home.root.parent)
    if chosen is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("ALC_HOME", chosen)

    done = terminal.alc("stop", GONE)
    assert done.exit_code == 1
    assert sentence in _sentence(done.stderr)


def test_a_full_home(terminal: "Terminal", monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("algocline_mcp.storage.journal.os.write", full)

    done = terminal.alc("stop", GONE)
    monkeypatch.undo()
    assert done.exit_code == 1
    assert "No space left on device; free or repair that disk, or set ALC_HOME elsewhere" in _sentence(done.stderr)


def test_a_disk_that_takes_half_a_record(terminal: "Terminal", monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.session("return 1")
    monkeypatch.setattr("algocline_mcp.storage.journal.os.write", lambda fd, content: len(content) // 2)

    with pytest.raises(HomeUnusable, match="cannot hold sessions: the disk is full: free some space for"):
        terminal.session("return 2")
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("ALC_WAIT_S", "soon", "ALC_WAIT_S='soon' is not a number of at least 0: correct it or unset it"),
        ("ALC_STRIKES", "1.5", "ALC_STRIKES='1.5' is not a whole number of at least 0: correct it or unset it"),
    ],
)
def test_a_setting_that_is_no_number(
    terminal: "Terminal", monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)

    assert sentence in _sentence(terminal.alc("ps").stderr)
    assert spawn.start_early(os.environ) is None, "its fork server would tell it a second time"


@pytest.mark.parametrize("command", ["stop", "logs"])
@pytest.mark.parametrize("sid", ["nonsense", GONE, "../../etc/passwd", ""])
def test_an_id_of_no_session(terminal: "Terminal", command: str, sid: str) -> None:
    done = terminal.alc(command, sid)

    assert done.exit_code == 1
    assert _sentence(done.stderr) == (
        f"Error: Session {sid!r} not found, and no session is unfinished here: start with alc run"
    )


def test_a_wrong_id_where_sessions_wait_names_them(terminal: "Terminal") -> None:
    sid = terminal.session(title="tea")

    assert f'Unfinished here: {sid} "tea" (waits for q-0)' in terminal.alc("logs", "nonsense").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "nowhere.lua"], 1, "nowhere.lua is not a file: give the path of a strategy"),
        (["run", "."], 1, "is not a file: give the path of a strategy"),
        (["run", "x.lua", "task"], 2, "'task' is not KEY=VALUE: write for example task='a text'"),
        (["run", "x.lua", "Ship it?"], 2, "'Ship it?' is not KEY=VALUE: write for example task='Ship it?'"),
        (["run", "x.lua", "--exec", "a", "--answers", "b"], 2, "give --exec or --answers, not both"),
        (["run", "x.lua", "--model", "openai:a", "--answers", "b"], 2, "give --model or --answers, not both"),
        (["run", "x.lua", "--model", "openai:a", "--exec", "b"], 2, "give --model or --exec, not both"),
        (["run", "x.lua", "--base-url", "http://x"], 2, "--base-url belongs to --model"),
        (["run", "x.lua", "--prices", "p.json"], 2, "--prices belongs to --model"),
        (["run", "x.lua", "--exec", "a", "--jobs", "0"], 2, "Invalid value for '--jobs'"),
        (["run", "x.lua", "--anwers", "a.json"], 2, "No such option '--anwers'. Did you mean '--answers'?"),
        (["run"], 2, "Missing argument 'FILE|NAME'"),
        (["rum", "x.lua"], 2, "No such command 'rum'. Did you mean 'run'?"),
        (["config", "emacs"], 2, "'emacs' is not one of 'claude-desktop', 'claude-code', 'vscode', 'cursor', 'codex'"),
        (["config", "emacs"], 2, "'goose'. alc config alone shows an entry for any host."),
        (["x.lua", "task=a b"], 2, "x.lua is a strategy: write alc run x.lua 'task=a b'"),
        (["config", "--write"], 2, "name the host: claude-desktop, claude-code"),
        (["config", "codex", "--write", "--remove"], 2, "give --write or --remove, not both"),
        (["stop", GONE, "--cancel", "--delete"], 2, "give --cancel or --delete, not both"),
        (["run", "x.lua", "=y"], 2, "'=y' has no name before the =: write for example task=y"),
        (["run", "x.lua", "a=1", "a=2"], 2, "a is given twice: give it once, several values as a='["),
        (["run", "x.lua", "--task=y"], 2, "No such option '--task'. A value for ctx is written without dashes: task=…"),
        (["run", "x.lua", "--answer=y"], 2, "No such option '--answer'. (Did you mean one of: '--answers'"),
        (["logs"], 2, "Missing argument 'SID'. alc ps lists the unfinished sessions, alc ps --all the newest finished"),
        (["stop"], 2, "Missing argument 'SID'. alc ps lists the unfinished sessions"),
        (["show", "p-1"], 2, "'p-1' is not a session id: alc ps lists the unfinished sessions"),
        (["export", GONE], 1, "not found, and no session is unfinished here: start with alc run"),
        (
            ["import", "nowhere"],
            1,
            "nowhere cannot be read: No such file or directory; give a file that alc export wrote",
        ),
        (
            ["config", "codex", "--write", "--file", "/proc/none/x"],
            1,
            "nothing was changed: correct that, or paste by hand",
        ),
    ],
)
def test_a_wrong_command_line(terminal: "Terminal", arguments: list[str], code: int, sentence: str) -> None:
    done = terminal.alc(*arguments)

    assert done.exit_code == code
    assert sentence in _sentence(done.stderr)


@pytest.mark.parametrize("sheet", ["nowhere.json", "."])
def test_answers_that_are_no_file(terminal: "Terminal", tmp_path: Path, sheet: str) -> None:
    strategy = tmp_path / "x.lua"
    strategy.touch()

    done = terminal.alc("run", str(strategy), "--answers", sheet)
    assert f"{sheet} cannot be used for --answers: " in _sentence(done.stderr)


# ── a model, through a host ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("alc_run", {}, "Either `code` or `code_file` must be provided."),
        ("alc_run", {"cod": "return 1"}, 'alc_run has no argument "cod" (did you mean code?)'),
        ("alc_run", {"code": "return 1", "ctx": "x"}, "ctx is a string that is not JSON: give an object"),
        ("alc_run", {"code_file": "/nowhere/x.lua"}, "Failed to read /nowhere/x.lua: it lies outside the project"),
        ("alc_continue", {"response": "x"}, "alc_continue needs session_id: its arguments are session_id, response"),
        ("alc_continue", {"session_id": GONE, "response": "x"}, f"Session '{GONE}' not found"),
        ("alc_continue", {"session_id": GONE}, "Either 'response' or 'responses' must be provided"),
        (
            "alc_stop",
            {"session_id": GONE, "mode": "kill"},
            "use hibernate (the session can go on later), cancel",
        ),
    ],
)
def test_a_wrong_call_of_a_tool(server: Server, tool: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused) as refusal:
        server.call(tool, **arguments)

    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_answer_to_a_session_that_is_over(server: Server) -> None:
    sid = server.call("alc_run", code="return 1", wait_s=50)["session_id"]

    with pytest.raises(Refused, match="unknown query_id: q-0; nothing is pending: the session is finished"):
        server.call("alc_continue", session_id=sid, response="x", query_id="q-0")


def test_a_strategy_that_is_no_lua(server: Server) -> None:
    state = server.call("alc_run", code="def main(): pass", language="lua", wait_s=50)

    assert state["status"] == "error"
    assert state["error"].startswith("strategy:1: syntax error near 'main'")


# ── the wrong machine ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("platform", "version", "cure"),
    [
        ("win32", (3, 14, 0), "run it under WSL 2 or in a Linux container"),
        ("linux", (3, 10, 14), "install it with a newer Python"),
    ],
)
def test_a_system_or_a_python_that_will_not_do(platform: str, version: tuple[int, ...], cure: str) -> None:
    sentence = unsupported(platform, version)

    assert sentence is not None
    assert cure in _sentence(sentence)


@pytest.mark.parametrize(
    ("hint", "advice"),
    [
        ("(not given: ctx.task)", "alc: give it: task=…\n"),
        ("(not given: ctx.a, ctx.b)\nstack traceback:\n\tx.lua:3: in local 'f'", "alc: give it: a=… b=…\n"),
        ("(the nearest names are: alc.llm)", ""),
    ],
)
def test_a_value_that_the_engine_misses_is_named_as_it_is_written_here(
    capsys: pytest.CaptureFixture[str], hint: str, advice: str
) -> None:
    run = SessionRun(None, None, Chosen(command="cat").answerer(), 1.0)

    assert run._end({"status": "error", "error": f"x.lua:4: attempt to index a nil value (local 'x') {hint}"}) == 1
    assert capsys.readouterr().err.endswith(f"{hint}\n{advice}")


async def _refuse(*args: object, **options: object) -> None:
    raise Refused("nothing here, look at alc_status(); start with alc_run; then restart this server")


def test_a_person_reads_the_names_of_commands_not_of_tools(
    terminal: "Terminal", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "stop_via_pool", _refuse)

    assert terminal.alc("stop", GONE).stderr == "Error: nothing here, look at alc ps; start with alc run\n"
    assert at_terminal("gone [not_found]") == "gone"
