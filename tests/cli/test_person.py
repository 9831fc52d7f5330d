"""A person at a real terminal: one Enter, one paste or one command is one answer."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_S = 60.0
PROGRAM = """
import anyio, json
from algocline_mcp.cli.person import Person
queries = [{"query_id": f"q-{n}", "prompt": f"prompt {n}"} for n in range(3)]
done = anyio.run(Person().answer, queries)
print(json.dumps([done.by_query, done.refused, done.problem, done.is_interrupted]))
"""


class AtTerminal:
    """The program with the terminal as stdin and stderr, and a pipe as stdout."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.terminal, side = pty.openpty()
        self.shown = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=side, stderr=side, stdout=subprocess.PIPE, env=environ
        )
        os.close(side)

    def wait_for(self, text: bytes) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        while text not in self.shown:
            ready, _, _ = select.select([self.terminal], [], [], max(0.0, deadline_s - time.monotonic()))
            assert ready, self.shown
            self.shown += os.read(self.terminal, 65536)

    def answer(self, number: int, typed: bytes) -> None:
        self.wait_for(b"prompt %d" % number)
        self.wait_for(b"\x1b[?2004h")  # the terminal is asked to mark what is pasted
        self.shown = b""
        os.write(self.terminal, typed)

    def result(self) -> str:
        assert self.process.stdout is not None
        text = self.process.stdout.read().decode()
        self.process.wait(LIMIT_S)
        return text


@pytest.fixture
def at_terminal(tmp_path: Path) -> Iterator[AtTerminal]:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'from the editor\\n' > \"$1\"\n")
    editor.chmod(0o700)
    terminal = AtTerminal(
        {
            **os.environ,
            "TERM": "xterm",
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "VISUAL": "",
            "EDITOR": str(editor),
        }
    )
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.communicate()
        os.close(terminal.terminal)


def test_a_pasted_text_of_two_paragraphs_is_one_answer(at_terminal: AtTerminal) -> None:
    at_terminal.answer(0, b"\x1b[200~one\n\ntwo\x1b[201~\r")
    at_terminal.answer(1, b"three\r")
    at_terminal.answer(2, b"//slash\r")

    assert at_terminal.result() == '[{"q-0": "one\\n\\ntwo", "q-1": "three", "q-2": "/slash"}, {}, null, false]\n'


def test_a_person_can_refuse_skip_and_write_in_an_editor(at_terminal: AtTerminal) -> None:
    at_terminal.answer(0, b"/refuse no access\r")
    at_terminal.answer(1, b"/skip\r")
    at_terminal.answer(2, b"/edit\r")

    expected = '[{"q-2": "from the editor"}, {"q-0": "no access"}, "without an answer: q-1", false]\n'
    assert at_terminal.result() == expected


@pytest.mark.parametrize(("typed", "end"), [(b"\x04", '"no answer to q-1", false'), (b"\x03", "null, true")])
def test_what_was_answered_before_the_end_is_kept(at_terminal: AtTerminal, typed: bytes, end: str) -> None:
    at_terminal.answer(0, b"one\r")
    at_terminal.answer(1, typed)

    assert at_terminal.result() == f'[{{"q-0": "one"}}, {{}}, {end}]\n'
