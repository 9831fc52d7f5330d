"""`python strategy.py task=…`: runs a strategy in this process, where a debugger sees it, and asks at the terminal.

Contract: `KEY=VALUE` as `alc run` reads it; prompts and logs go to stderr, the result to stdout, a text as it is and
anything else as JSON; exit code 1 if
the strategy failed or an answer is missing, 2 for wrong arguments. Nothing is kept: `alc run` is for that.
"""

import asyncio
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from alc.desk.model import Answerer, NoAnswer, use
from algocline_mcp.cli.pairs import context_of, stdin_readers
from algocline_mcp.worker.engine.python.api.refused import assert_refusals_seen
from algocline_mcp.worker.engine.python.exceptions import Refused
from algocline_mcp.worker.engine.python.results import to_json
from algocline_mcp.worker.engine.python.session import current

_HINT = "── answer; an empty line ends it, /refuse REASON gives none ──"
Run = Callable[[dict[str, Any]], Any]


def run_at_desk(run: Run) -> None:
    @click.command(help="Runs this strategy. KEY=VALUE are the values of ctx.")
    @click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
    @click.option("--exec", "command", metavar="CMD", help="A command that answers: prompt on stdin, answer on stdout.")
    @click.option("--answers", metavar="FILE", help="File that answers: a JSON list, or a .txt with one answer a line.")
    def command_line(pairs: tuple[str, ...], command: str | None, answers: str | None) -> None:
        if command is not None and answers is not None:
            raise click.UsageError("--exec and --answers are given: give one of them.")
        readers = stdin_readers(pairs)
        if readers and command is None and answers is None and not sys.stdin.isatty():
            sentence = f"{readers[0]} takes standard input, which would have to give the answers too"
            raise click.UsageError(f"{sentence}: give --exec or --answers, or the path of a file.")
        result = play(run, context_of(pairs), _answerer(command, answers))
        click.echo(result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, indent=2))

    command_line()


def play(run: Run, ctx: dict[str, Any], answerer: Answerer) -> Any:
    """The result as a JSON value. Raises what the strategy raises, except a missing answer."""
    try:
        with use(answerer, on_log=lambda level, message: click.echo(f"{level}: {message}", err=True)):
            current().ctx.update(ctx)
            result = run(ctx)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
            assert_refusals_seen()
            return to_json(result)
    except NoAnswer as exc:
        raise click.ClickException(str(exc)) from exc


def _answerer(command: str | None, answers: str | None) -> Answerer:
    if command is not None:
        return Command(command)
    return AnswerFile(answers) if answers is not None else Person()


class Command:
    """Runs a shell command for each prompt."""

    def __init__(self, command: str) -> None:
        self._command = command

    def answer(self, query: Mapping[str, Any]) -> str:
        environment = dict(os.environ, ALC_SYSTEM=query.get("system") or "")
        ended = subprocess.run(
            self._command,
            shell=True,
            input=query["prompt"].encode(),
            stdout=subprocess.PIPE,
            env=environment,
            check=False,
        )
        answer: str = ended.stdout.decode("utf-8", "replace").rstrip("\n")
        if ended.returncode != 0 or not answer.strip():
            why = f"ended with exit code {ended.returncode}" if ended.returncode else "printed no answer"
            raise NoAnswer(f"the command {why} for: {query['prompt'][:200]}")
        return answer


class AnswerFile:
    """Answers from a file: a list in the order of the prompts, or by query id: q-0, q-1 and so on."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._asked = 0
        try:
            text = Path(path).read_text("utf-8-sig")
            content = text.splitlines() if path.endswith(".txt") else json.loads(text)
        except (OSError, ValueError) as exc:
            raise click.ClickException(f"{path} cannot be used for --answers: {exc}") from exc
        if not isinstance(content, dict | list):
            raise click.ClickException(f"{path} cannot be used for --answers: give a JSON list or object of answers")
        by_id = content if isinstance(content, dict) else {f"q-{i}": answer for i, answer in enumerate(content)}
        self._answers: dict[str, Any] = by_id

    def answer(self, query: Mapping[str, Any]) -> str:
        query_id = f"q-{self._asked}"
        self._asked += 1
        answer: Any = self._answers.get(query_id)
        if answer is None or answer == "":
            raise NoAnswer(f"{self._path} has no answer to {query_id}: {query['prompt'][:200]}")
        text: str = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        return text


class Person:
    """Shows each prompt on stderr and reads the lines of the answer."""

    def answer(self, query: Mapping[str, Any]) -> str | Refused:
        if query.get("system"):
            click.echo(f"[{query['system']}]", err=True)
        click.echo(f"{query['prompt']}\n{_HINT}", err=True)
        lines: list[str] = []
        while line := sys.stdin.readline():
            if line.strip():
                lines.append(line)
            elif lines:
                break
        answer = "".join(lines).removesuffix("\n")
        if answer.startswith("/refuse "):
            reason = answer.removeprefix("/refuse ").strip()
            return Refused(reason, reason)
        if not answer:
            raise NoAnswer(f"no answer to: {query['prompt'][:200]}")
        return answer
