"""ps, stop and logs: what is unfinished here, sending it to sleep, reading what it said."""

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from algocline_mcp.cli import sessions
from algocline_mcp.pool.registry import PoolRegistry
from algocline_mcp.storage import home_setup
from tests.cli.conftest import LIMIT_S

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal


def test_ps_names_what_each_session_waits_for_and_its_worker(terminal: "Terminal") -> None:
    sid = terminal.session(title="tea or coffee")
    entry = PoolRegistry.load(terminal.home.registry).find(sid)
    assert entry is not None

    shown = terminal.alc("ps")
    head, line = shown.stdout.splitlines()
    assert head.split() == ["SESSION", "STATUS", "WAITS", "FOR", "WORKER", "AGE", "LANGUAGE", "TITLE"]
    assert line.split()[:4] == [sid, "needs_response", "q-0", str(entry.pid)]
    assert line.endswith("s  lua       tea or coffee")

    (line_json,) = json.loads(terminal.alc("ps", "--json").stdout)["sessions"]
    assert (line_json["session_id"], line_json["pid"], line_json["pending"]) == (sid, entry.pid, ["q-0"])
    assert 0 <= line_json["age_s"] < 60


def test_ps_says_where_nothing_is_unfinished_and_makes_no_home(terminal: "Terminal") -> None:
    shown = terminal.alc("ps")

    assert shown.stdout == "no session is unfinished; start one with: alc run FILE\n"
    assert not terminal.home.root.exists()


def _wait_until_archived(terminal: "Terminal", sid: str) -> None:
    """The worker of a session that has ended moves the journal a moment later."""
    deadline_s = time.monotonic() + LIMIT_S
    while not terminal.home.finished_journal(sid).exists():
        assert time.monotonic() < deadline_s, "the journal was not archived"
        time.sleep(0.005)


def test_ps_with_all_lists_finished_sessions_after_the_unfinished(terminal: "Terminal") -> None:
    done = terminal.session("return 1", title="done")
    failed = terminal.session('error("no")', title="failed")
    cancelled = terminal.session(title="cancelled")
    terminal.alc("stop", cancelled, "--cancel")
    waiting = terminal.session(title="waiting")
    for sid in (done, failed, cancelled):
        _wait_until_archived(terminal, sid)

    plain, table = terminal.alc("ps"), terminal.alc("ps", "--all")
    assert [line.split()[0] for line in plain.stdout.splitlines()[1:]] == [waiting]
    rows = [line.split() for line in table.stdout.splitlines()[1:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        (waiting, "needs_response", "waiting"),
        (cancelled, "cancelled", "cancelled"),
        (failed, "error", "failed"),
        (done, "completed", "done"),
    ]
    listed = json.loads(terminal.alc("ps", "--all", "--json").stdout)
    assert (listed["active_sessions"], listed["finished_sessions"]) == (1, 3)


def test_ps_with_all_says_where_there_is_no_session(terminal: "Terminal") -> None:
    assert terminal.alc("ps", "--all").stdout == "no session is here; start one with: alc run FILE\n"


def test_ps_says_how_many_it_does_not_show() -> None:
    line = {"session_id": "p-1", "status": "running", "worker": "none", "pid": None, "title": "t"}

    assert "and 4 older sessions" in sessions.table({"active_sessions": 5, "sessions": [line]})
    assert "older" not in sessions.table({"active_sessions": 1, "sessions": [line]})


def test_ps_shows_no_pid_of_a_worker_that_was_killed(terminal: "Terminal") -> None:
    sid = terminal.session()
    entry = PoolRegistry.load(terminal.home.registry).find(sid)
    assert entry is not None
    entry.identity.signal(signal.SIGKILL)
    with entry.identity.open_pidfd() as pidfd:
        if pidfd is not None:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)

    (line,) = json.loads(terminal.alc("ps", "--json").stdout)["sessions"]
    assert (line["pid"], line["worker"]) == (None, "none")
    home_setup.remove_leftovers(terminal.home)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min"), (7200, "2 h"), (200000, "2 d")]
)
def test_ages_have_one_unit(seconds: float, text: str) -> None:
    assert sessions._age(seconds) == text


def test_stop_sends_the_worker_away_and_the_session_goes_on(terminal: "Terminal") -> None:
    sid = terminal.session()

    stopped = terminal.alc("stop", sid)
    assert stopped.exit_code == 0
    assert stopped.stdout.endswith(f"alc continue {sid}\n")
    (line,) = json.loads(terminal.alc("ps", "--json").stdout)["sessions"]
    assert (line["worker"], line["pid"], line["status"]) == ("none", None, "needs_response")
    assert terminal.answer(sid, ("q-0", "a")) == sid


def test_stop_with_cancel_ends_it_for_good(terminal: "Terminal") -> None:
    sid = terminal.session()

    assert terminal.alc("stop", sid, "--cancel").stdout.startswith(f"session {sid} is cancelled")
    assert json.loads(terminal.alc("ps", "--json").stdout)["sessions"] == []
    assert terminal.alc("stop", sid).stdout.startswith(f"session {sid} is cancelled")


def test_stop_with_delete_leaves_nothing(terminal: "Terminal") -> None:
    sid = terminal.session()

    assert terminal.alc("stop", sid, "--delete").stdout == f"session {sid} is deleted\n"
    assert list(terminal.home.sessions.rglob(f"*{sid}*")) == []
    assert terminal.alc("ps").stdout.startswith("no session is unfinished")


def test_stop_of_a_completed_session_says_that_it_was_over(terminal: "Terminal") -> None:
    sid = terminal.session("return 1")

    assert terminal.alc("stop", sid).stdout == f"session {sid} had already ended: completed\n"


def test_logs_show_notes_in_order_and_the_stderr_of_the_worker(terminal: "Terminal") -> None:
    sid = terminal.session(
        'alc.log("warn", "careful") alc.progress(1, 2, "half") print("said") local a = alc.llm("?") error("no " .. a)'
    )
    terminal.home.stderr(sid).write_text("the worker said this\n")
    terminal.answer(sid, ("q-0", "way"))

    lines = terminal.alc("logs", sid).stdout.splitlines()
    assert [line.split(None, 2)[2] for line in lines[:3]] == [
        "warn      careful",
        "progress  1/2 half",
        "info      said",
    ]
    assert "no way" in lines[3]
    assert lines[3].split()[2] == "error"
    assert lines[-2:] == [
        f"── stderr of its worker ({terminal.home.stderr(sid)}) ──",
        "the worker said this",
    ]


def test_logs_take_an_id_and_no_path(terminal: "Terminal") -> None:
    sid = terminal.session("return 1")

    shown = terminal.alc("logs", f"finished/{sid}")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "not found" in shown.stderr


def test_logs_of_a_quiet_session_say_so_on_stderr(terminal: "Terminal") -> None:
    sid = terminal.session("return 1")

    shown = terminal.alc("logs", sid)
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", f"session {sid} has no log lines\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_that_completes_is_answered_and_no_server_starts(shell: str) -> None:
    environment = dict(os.environ, _ALC_COMPLETE=f"{shell}_complete", COMP_WORDS="alc con", COMP_CWORD="1")
    environment |= {"COMP_CWORD": "con"} if shell == "fish" else {}

    done = subprocess.run(
        [sys.executable, "-m", "algocline_mcp"], env=environment, input="", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "config" in done.stdout
    assert "continue" in done.stdout
    assert "doctor" not in done.stdout
