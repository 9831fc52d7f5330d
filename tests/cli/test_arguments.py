"""Ids that are shortened or left out, and what a shell completes in their place."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from algocline_mcp.cli import run as run_module
from algocline_mcp.cli.arguments import entry_file
from algocline_mcp.cli.main import alc
from algocline_mcp.config.home import Home
from algocline_mcp.storage import journal_lines
from tests.cli.test_timeline import STORY

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

HEADER = STORY[0]
FIRST, SECOND = "p-18c2f0a1b2c3d4e5-00000000aaaabbbb", "p-18c2f0a1b2c3ffff-00000000ccccbbbb"


def _write_journals(home: Home) -> None:
    home.finished.mkdir(parents=True)
    for path, sid in ((home.journal(FIRST), FIRST), (home.finished_journal(SECOND), SECOND)):
        path.write_bytes(journal_lines.encode({**HEADER, "sid": sid, "title": f"title of {sid[-8:]}"}, 0))


def _completed(*words: str) -> list[str]:
    """What a shell gets for the last of `words`."""
    return [
        item.value for item in ShellComplete(alc, {}, "alc", "_ALC_COMPLETE").get_completions([*words[:-1]], words[-1])
    ]


@pytest.mark.parametrize(
    "part", [FIRST, "p-18c2f0a1b2c3d", "aaaabbbb", "abbbb"], ids=["whole", "beginning", "end", "short end"]
)
@pytest.mark.parametrize("command", ["logs", "export", "show"])
def test_an_id_may_be_its_beginning_or_end(terminal: "Terminal", tmp_path: Path, command: str, part: str) -> None:
    _write_journals(terminal.home)
    target = [str(tmp_path / "out")] if command == "export" else []

    done = terminal.alc(command, part, *target)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("command", ["logs", "stop", "continue", "branch", "show", "export", "verify"])
@pytest.mark.parametrize("part", ["p-18c2f0", "bbbb"])
def test_an_id_that_fits_several_sessions_names_them(terminal: "Terminal", command: str, part: str) -> None:
    _write_journals(terminal.home)

    done = terminal.alc(command, part)
    assert done.exit_code == 2
    assert f"{part} fits 2 sessions, give more of it" in done.stderr
    assert f'{FIRST} "title of aaaabbbb"' in done.stderr
    assert f'{SECOND} "title of ccccbbbb"' in done.stderr


@pytest.mark.parametrize(
    "part", ["bbb", "p-1", "zzzzzz", "f0a1b2c3"], ids=["too short", "too short too", "none", "middle"]
)
def test_what_shortens_no_id_is_not_found(terminal: "Terminal", part: str) -> None:
    _write_journals(terminal.home)

    done = terminal.alc("stop", part, "--delete")
    assert done.exit_code == 1
    assert f"Session '{part}' not found" in done.stderr
    assert terminal.home.journal(FIRST).exists()
    assert terminal.home.finished_journal(SECOND).exists()


def test_stop_takes_the_end_of_an_id(terminal: "Terminal") -> None:
    sid = terminal.session()

    assert terminal.alc("stop", sid[-8:], "--delete").stdout == f"session {sid} is deleted\n"


def test_continue_without_an_id_takes_the_session_that_ps_lists_first(
    terminal: "Terminal", monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.session(title="older")
    newer = terminal.session(title="newer")
    damaged = terminal.home.journal("p-ffffffffffffffff-0123456789abcdef")
    damaged.write_bytes(b"no journal\n")
    played: list[str | None] = []

    def play(start: object, sid: str | None, *_: object, **__: object) -> int:
        played.append(sid)
        return 0

    monkeypatch.setattr(run_module, "play", play)

    done = terminal.alc("continue")
    assert (done.exit_code, played) == (0, [newer])
    assert f"alc: session {newer} (newer)" in done.stderr
    damaged.unlink()


def test_continue_without_an_id_says_where_nothing_is_unfinished(terminal: "Terminal") -> None:
    done = terminal.alc("continue")

    assert done.exit_code == 1
    assert "no session is unfinished here: start one with alc run FILE" in done.stderr


@pytest.mark.parametrize(
    ("command", "sids"),
    [
        ("continue", [FIRST]),
        ("stop", [FIRST]),
        ("verify", [FIRST]),
        ("show", [SECOND, FIRST]),
        ("logs", [SECOND, FIRST]),
        ("branch", [SECOND, FIRST]),
        ("export", [SECOND, FIRST]),
    ],
)
def test_a_shell_completes_the_ids_that_a_command_takes(terminal: "Terminal", command: str, sids: list[str]) -> None:
    _write_journals(terminal.home)

    assert _completed(command, "p-") == sids
    assert _completed(command, "x") == []


def test_a_title_reaches_the_shell_in_one_harmless_line(terminal: "Terminal") -> None:
    terminal.home.sessions.mkdir(parents=True)
    record = {**HEADER, "sid": FIRST, "title": "a\nb \x1b]52;c;x\x07"}
    terminal.home.journal(FIRST).write_bytes(journal_lines.encode(record, 0))

    (item,) = ShellComplete(alc, {}, "alc", "_ALC_COMPLETE").get_completions(["show"], "p-")
    assert item.help == "a b \\u001b]52;c;x\\u0007"


def test_a_shell_completes_files_and_names_of_strategies(
    terminal: "Terminal", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "panel.lua").touch()
    for name in ("panel_of_three", "cot"):
        (terminal.home.packages / name).mkdir(parents=True)
        (terminal.home.packages / name / "init.lua").write_text("return {}")

    assert _completed("run", "pan") == ["pan", "panel.lua", "panel_of_three"]
    assert _completed("run", "./pan") == ["./pan"]
    assert _completed("run", "alc_") == ["alc_"], "libraries of the built-in strategies are nothing to run"


def test_a_home_that_cannot_be_read_completes_nothing(terminal: "Terminal", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALC_HOME")
    monkeypatch.delenv("HOME")

    assert _completed("show", "p-") == []
    assert _completed("run", "") == [""]


def test_a_directory_with_a_package_is_that_package_unless_a_session_knows_the_name(
    terminal: "Terminal", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("vote", "mine", "other", "empty"):
        (tmp_path / name).mkdir()
    for name in ("vote/__init__.py", "mine/__init__.py", "other/init.lua"):
        (tmp_path / name).write_text("x = 1\n")

    files = {
        text: entry_file(text) for text in ("vote", "./vote", "mine", "other/", "empty", "gone", "mine/__init__.py")
    }
    assert files == {
        "vote": None,
        "./vote": "vote/__init__.py",
        "mine": "mine/__init__.py",
        "other/": "other/init.lua",
        "empty": None,
        "gone": None,
        "mine/__init__.py": None,
    }
