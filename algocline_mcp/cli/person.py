"""A person who answers `alc run` and `alc continue`: shows each prompt on stderr and reads the answer.

Contract: at a terminal, Enter sends the answer; a pasted text is one answer whatever lines it has (bracketed paste);
a line that begins with a slash is a command of COMMANDS, two slashes send one. Through a pipe, answers are separated by
empty lines. The terminal is left as it was, also after Ctrl-C.
"""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio.to_thread
import click

from algocline_mcp.cli import output
from algocline_mcp.cli.answerers import Answers, Query

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

COMMANDS = """\
  Enter            sends the answer; a pasted text is one answer
  Alt+Enter        begins a new line
  /edit            opens $VISUAL or $EDITOR for the answer
  /refuse REASON   gives no answer; the strategy learns the reason
  /skip            leaves this prompt for later
  /help            shows this
  Ctrl-D           stops; the session is kept
  //text           sends /text"""
_HINT = "── Enter sends; /edit, /refuse REASON, /skip, /help ──"
_PIPED_HINT = "── answer; an empty line or Ctrl-D ends it ──"


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    pass


class Person:
    def __init__(self) -> None:
        self._session: PromptSession[str] | None = None
        if sys.stdin.isatty() and output.screen().isatty():
            self._session = _prompt_session()

    async def answer(self, queries: Sequence[Query]) -> Answers:
        done, skipped = Answers(), list[str]()
        # asyncio turns the first Ctrl-C into a cancellation, which a blocking read would not notice.
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            for number, query in enumerate(queries, 1):
                self._show(query, f"{number} of {len(queries)}" if len(queries) > 1 else "")
                answer = await self._ask()
                if answer is None:
                    done.problem = f"no answer to {query['query_id']}"
                    break
                if isinstance(answer, Skip):
                    skipped.append(query["query_id"])
                elif isinstance(answer, Refusal):
                    done.refused[query["query_id"]] = answer.reason
                else:
                    done.by_query[query["query_id"]] = answer
        except KeyboardInterrupt:
            done.is_interrupted = True
        finally:
            signal.signal(signal.SIGINT, previous)
        if skipped and done.problem is None:
            done.problem = f"without an answer: {', '.join(skipped)}"
        return done

    def _show(self, query: Query, position: str) -> None:
        """The prompt itself has no colours: it may be code that the person copies."""
        marks = [name for name in ("grounded", "underspecified") if query.get(name)]
        head = " · ".join(filter(None, [query["query_id"], position, *marks]))
        output.note(f"\n── {head} ──", fg="cyan", bold=True)
        if query.get("system"):
            output.note(f"[{query['system']}]", fg="yellow")
        output.note(query["prompt"])
        output.note(_HINT if self._session else _PIPED_HINT, dim=True)

    async def _ask(self) -> str | Refusal | Skip | None:
        """None at the end of input. Asks again where there is nothing to send."""
        while self._session is not None:
            try:
                answer = await self._of_line(await self._session.prompt_async("> "))
            except EOFError:
                return None
            if answer is not None:
                return answer
        return _read_piped()

    async def _of_line(self, line: str) -> str | Refusal | Skip | None:
        """The answer that `line` is or asks for; None: the person is asked again."""
        if not line.strip():
            return None
        if not line.startswith("/") or line.startswith("//") or "\n" in line:
            return line[1:] if line.startswith("//") else line
        command, _, rest = line.partition(" ")
        if command == "/edit":
            text = await anyio.to_thread.run_sync(lambda: click.edit(rest, extension=".md"))
            return text.removesuffix("\n") if text and text.strip() else None
        if command == "/refuse" and rest.strip():
            return Refusal(rest.strip())
        if command == "/skip":
            return Skip()
        if command not in ("/help", "/refuse"):
            output.note(f"{command} is no command; //… sends a text that begins with a slash")
        output.note(COMMANDS, dim=True)
        return None


def _prompt_session() -> "PromptSession[str]":
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input import create_input
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.output import create_output

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    # On stderr, because stdout is the result and may be a file.
    return PromptSession(input=create_input(sys.stdin), output=create_output(output.screen()), key_bindings=keys)


def _read_piped() -> str | None:
    """The lines up to an empty line; blank lines before them are skipped."""
    lines: list[str] = []
    while line := sys.stdin.readline():
        if line.strip():
            lines.append(line)
        elif lines:
            break
    return "".join(lines).removesuffix("\n") if lines else None
