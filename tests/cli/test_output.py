"""What reaches a terminal is harmless, and what reaches anything else is unchanged."""

import ast
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import algocline_mcp.cli
from algocline_mcp.cli.database import db
from algocline_mcp.cli.evaluate import evaluate
from algocline_mcp.cli.main import alc
from algocline_mcp.cli.output import cleaned
from algocline_mcp.cli.packages import pkg
from algocline_mcp.cli.token import token

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

FOLDER = Path(algocline_mcp.cli.__file__).parent
ATTACKS = {
    "OSC 52 sets the clipboard": ("\x1b]52;c;cm0gLXJmIH4=\x07", r"\u001b]52;c;cm0gLXJmIH4=\u0007"),
    "CSI moves the cursor up": ("a\x1b[1A\x1b[2Kb", r"a\u001b[1A\u001b[2Kb"),
    "CSI in one C1 byte": ("\x9b31m", r"\u009b31m"),
    "OSC in one C1 byte": ("\x9d0;title\x9c", r"\u009d0;title\u009c"),
    "DCS": ("\x1bP$q\x1b\\", r"\u001bP$q\u001b\\"[:-1]),
    "BEL": ("\a", r"\u0007"),
    "backspace": ("no\b\byes", r"no\u0008\u0008yes"),
    "carriage return overwrites the line": ("rm -rf ~\rls", r"rm -rf ~\u000dls"),
    "form feed and vertical tab": ("\f\v", r"\u000c\u000b"),
    "NUL and DEL": ("\0\x7f", r"\u0000\u007f"),
    "shift out selects another character set": ("\x0e", r"\u000e"),
    "override of the direction": ("user\u202e nimda", r"user\u202e nimda"),
    "isolates": ("\u2066a\u2069", r"\u2066a\u2069"),
    "marks of direction": ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
    "line separators": ("\u2028\u2029\x85", r"\u2028\u2029\u0085"),
    "zero width": ("pass\u200bword\ufeff\u2060", r"pass\u200bword\ufeff\u2060"),
    "tags": ("\U000e0041", r"\udb40\udc41"),
    "half of a surrogate pair": ("\udcff", r"\udcff"),
}
HARMLESS = {
    "lines and tabs": "a\n\tb\n",
    "text of any language": "Größe 東京 नमस्ते שלום مرحبا",
    "joiners": "می‌خواهم 👩‍👩‍👧",
    "box": "── ✓ ═",
    "backslash": r"\n \u001b",
}


@pytest.mark.parametrize(("text", "shown"), ATTACKS.values(), ids=ATTACKS)
def test_what_commands_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert cleaned(text) == shown


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_what_is_harmless_stays(text: str) -> None:
    assert cleaned(text) == text


def test_lines_of_windows_stay_lines() -> None:
    assert cleaned("a\r\nb") == "a\nb"


@pytest.mark.parametrize(("text", "shown"), ATTACKS.values(), ids=ATTACKS)
def test_json_that_is_cleaned_means_the_same(text: str, shown: str) -> None:
    assert json.loads(cleaned(json.dumps({"k": text}, ensure_ascii=False))) == {"k": text}


def test_every_unsafe_code_point_of_the_first_two_blocks_is_escaped() -> None:
    for code in range(0x100):
        is_control = code < 0x20 or 0x7F <= code < 0xA0 or code == 0xAD
        assert (cleaned(chr(code)) == chr(code)) is (not is_control or chr(code) in "\n\t"), hex(code)


# ── nothing else writes ───────────────────────────────────────────────────────────────────────────────────

_WRITERS = {"echo", "secho", "echo_via_pager", "prompt", "confirm", "pause", "progressbar", "style"}


def _writes(path: Path) -> list[str]:
    lines = []
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Name("click"), attr=name) if name in _WRITERS:
                lines.append(f"{path.name}:{node.lineno} click.{name}")
            case ast.Attribute(value=ast.Name("sys"), attr="stdout" | "stderr" | "__stdout__" | "__stderr__" as name):
                lines.append(f"{path.name}:{node.lineno} sys.{name}")
            case ast.Name("print"):
                lines.append(f"{path.name}:{node.lineno} print")
            case ast.ImportFrom(module="click" | "sys", names=names):
                lines += [
                    f"{path.name}:{node.lineno} {each.name}" for each in names if each.name in {*_WRITERS, "stdout"}
                ]
    return lines


def test_only_the_output_module_writes_to_the_terminal() -> None:
    modules = [path for path in FOLDER.rglob("*.py") if path.name != "output.py"]

    assert [line for path in modules for line in _writes(path)] == []
    assert _writes(FOLDER / "output.py")  # the search finds what it looks for


def test_every_command_has_raw() -> None:
    groups = (alc, pkg, evaluate, db, token)
    commands = [command for group in groups for command in group.commands.values() if command not in groups]

    assert [command.name for command in commands if "--raw" not in [o for p in command.params for o in p.opts]] == []


# ── real terminals ────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = "".join(text for text, _ in ATTACKS.values() if not any("\ud800" <= char <= "\udfff" for char in text))
STRATEGY = (
    """alc.log("info", ctx.x) alc.progress(1, 2, ctx.x) local a = alc.llm(ctx.x, {system = ctx.x}) error(ctx.x)"""
)
OBEYED = ("\x1b]", "\x1b[1A", "\x1bP", "\a", "\b", "\0", "\x9b", "\x9d", "\u202e", "\u2066", "\u200b", "~\rls")


def _at_terminal(*arguments: str, stdin: str = "", stdout: int | None = None) -> str:
    """All that `alc` writes to a real terminal: stderr, and stdout unless it is given."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "algocline_mcp", *arguments],
            stdin=subprocess.PIPE,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
        )
    finally:
        os.close(slave)
    assert process.stdin is not None
    process.stdin.write(stdin.encode())
    process.stdin.close()
    output = b""
    with suppress(OSError), os.fdopen(master, "rb", buffering=0) as terminal:  # EIO: the last writer has ended
        while chunk := terminal.read(65536):
            output += chunk
    process.wait(60)
    return output.decode()


@pytest.fixture
def hostile(terminal: "Terminal") -> str:
    """A session at its first prompt, of a title, a log and a prompt that attack the terminal."""
    return terminal.session(STRATEGY, title=HOSTILE, ctx={"x": HOSTILE})


@pytest.mark.parametrize(
    "arguments",
    [("ps",), ("ps", "--json"), ("logs", "SID"), ("show", "SID"), ("show", "SID", "--html"), ("stop", "SID")],
)
def test_commands_on_a_hostile_session_leave_the_terminal_alone(hostile: str, arguments: tuple[str, ...]) -> None:
    shown = _at_terminal(*[hostile if argument == "SID" else argument for argument in arguments])

    assert r"\u001b]52" in shown or hostile in shown
    assert [text for text in OBEYED if text in shown] == []


@pytest.mark.slow
def test_a_run_at_the_terminal_leaves_the_terminal_alone(hostile: str) -> None:
    shown = _at_terminal("continue", hostile, stdin="an answer\n\n")

    assert r"\u001b]52;c;" in shown
    assert [text for text in OBEYED if text in shown] == []


def test_errors_that_repeat_an_argument_leave_the_terminal_alone(terminal: "Terminal", tmp_path: Path) -> None:
    bad = HOSTILE.replace("\0", "")
    for arguments in (("pkg", "show", bad), ("pkg", "install", bad), (bad,), ("show", bad), ("run", f"{bad}.lua")):
        shown = _at_terminal(*arguments)

        assert [text for text in OBEYED if text in shown] == [], arguments
        assert r"\u001b]52" in shown or r"\x1b]52" in shown, arguments


def test_raw_sends_what_was_written(hostile: str) -> None:
    shown = _at_terminal("logs", hostile, "--raw")

    assert "\x1b]52;c;" in shown


def test_a_pipe_gets_what_was_written(hostile: str, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        shown = _at_terminal("logs", hostile, stdout=file.fileno())

    assert shown == ""
    assert HOSTILE in (tmp_path / "out").read_bytes().decode()


def test_output_in_an_encoding_that_lacks_a_character_is_escaped(terminal: "Terminal") -> None:
    sid = terminal.session('alc.log("info", "→") alc.llm("x")')
    command = [sys.executable, "-m", "algocline_mcp", "logs", sid]

    ended = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=True)

    assert rb"\u2192" in ended.stdout
