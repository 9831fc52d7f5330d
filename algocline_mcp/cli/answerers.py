"""Answerers of `alc run` and `alc continue`: a person, a command, or a file.

Contract: an answerer gets the pending queries of one pause and returns its answers. If some answers are missing,
`problem` says why in a sentence. The other answers are sent all the same, so no prompt is asked twice.
"""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import anyio
import click

from algocline_mcp.cli import output
from algocline_mcp.session.results import DEFAULT_MAX_TOKENS

Query = dict[str, Any]  # {query_id, prompt, system, max_tokens, …}
_NAMED = 5  # ids in a sentence
_FORMATS = 'give a JSON list of answers, a JSON object such as {"q-0": "…"}, or a .txt with one answer a line'


@dataclass(slots=True)
class Answers:
    by_query: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    is_interrupted: bool = False


class Answerer(Protocol):
    async def answer(self, session_id: str, queries: Sequence[Query]) -> Answers: ...


def choose_answerer(command: str | None, file: str | None, jobs: int) -> Answerer:
    """`jobs`: how many of `command` run at once. Raises click.ClickException for an unusable file."""
    if command is not None:
        return Command(command, jobs)
    return AnswerFile(file) if file is not None else InteractiveAnswerer()


class InteractiveAnswerer:
    """Shows prompts on stderr, reads answers from stdin. Blank lines before an answer are skipped."""

    async def answer(self, session_id: str, queries: Sequence[Query]) -> Answers:
        done = Answers()
        # asyncio turns the first Ctrl-C into a cancellation, which a blocking read would not notice.
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            for number, query in enumerate(queries, 1):
                self._show(query, f"{number} of {len(queries)}" if len(queries) > 1 else "")
                text = self._read()
                if text is None:
                    done.problem = f"no answer to {query['query_id']}"
                    break
                done.by_query[query["query_id"]] = text
        except KeyboardInterrupt:
            done.is_interrupted = True
        finally:
            signal.signal(signal.SIGINT, previous)
        return done

    def _show(self, query: Query, position: str) -> None:
        """The prompt itself has no colours: it may be code that the person copies."""
        marks = [name for name in ("grounded", "underspecified") if query.get(name)]
        head = " · ".join(filter(None, [query["query_id"], position, *marks]))
        output.note(f"\n── {head} ──", fg="cyan", bold=True)
        if query.get("system"):
            output.note(f"[{query['system']}]", fg="yellow")
        output.note(query["prompt"])
        output.note("── answer; an empty line or Ctrl-D ends it ──", dim=True)

    def _read(self) -> str | None:
        """None at the end of input. Blocks the event loop: nothing else runs while a person thinks."""
        lines: list[str] = []
        while line := sys.stdin.readline():
            if line.strip():
                lines.append(line)
            elif lines:
                break
        return "".join(lines).removesuffix("\n") if lines else None


@dataclass(frozen=True, slots=True)
class Command:
    """Runs a shell command per prompt, `jobs` at a time."""

    command: str
    jobs: int

    async def answer(self, session_id: str, queries: Sequence[Query]) -> Answers:
        done = Answers()
        limiter = anyio.CapacityLimiter(self.jobs)

        async def one(query: Query) -> None:
            async with limiter:
                if done.problem is None:
                    await self._run(session_id, query, done)

        async with anyio.create_task_group() as group:
            for query in queries:
                group.start_soon(one, query)
        return done

    async def _run(self, session_id: str, query: Query, done: Answers) -> None:
        environment = dict(
            os.environ,
            ALC_SYSTEM=query.get("system") or "",
            ALC_QUERY_ID=query["query_id"],
            ALC_MAX_TOKENS=str(query.get("max_tokens", DEFAULT_MAX_TOKENS)),
            ALC_SESSION_ID=session_id,
        )
        try:
            # A file instead of a pipe: a command may end without reading its prompt.
            with tempfile.TemporaryFile() as prompt:
                prompt.write(query["prompt"].encode())
                prompt.seek(0)
                ended = await anyio.run_process(self.command, stdin=prompt, stderr=None, check=False, env=environment)
        except (OSError, ValueError) as exc:  # e.g. a system prompt longer than an environment may be
            done.problem = f"the command could not run for {query['query_id']}: {exc}"
            return
        if ended.returncode != 0:
            done.problem = f"the command ended with exit code {ended.returncode} for {query['query_id']}"
            return
        text = ended.stdout.decode("utf-8", "replace").rstrip("\n")
        if not text:
            done.problem = f"the command printed no answer to {query['query_id']}"
            return
        done.by_query[query["query_id"]] = text


class AnswerFile:
    """Answers from a file: by query_id if it is a JSON object, otherwise in order.

    A list knows no session: `alc continue` begins with its first answer again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._by_id: dict[str, Any] = {}
        self._is_asked: set[str] = set()
        self._in_order: list[Any] = []
        try:
            text = Path(path).read_text("utf-8-sig")
            content = text.splitlines() if path.endswith(".txt") else json.loads(text)
        except (OSError, ValueError, RecursionError) as exc:
            why = getattr(exc, "strerror", None) or exc
            raise click.ClickException(f"{path} cannot be used for --answers: {why}; {_FORMATS}") from exc
        if isinstance(content, dict):
            self._by_id = content
        elif isinstance(content, list):
            self._in_order = content[::-1]
        else:
            raise click.ClickException(f"{path} cannot be used for --answers: it holds {content!r}; {_FORMATS}")

    async def answer(self, session_id: str, queries: Sequence[Query]) -> Answers:
        done = Answers()
        for query in queries:
            query_id = query["query_id"]
            self._is_asked.add(query_id)
            if query_id in self._by_id:
                answer = self._by_id[query_id]
            elif self._in_order:
                answer = self._in_order.pop()
            else:
                done.problem = f"{self._path} has no answer to {query_id}: {query['prompt'][:200]}"
                break
            if answer == "":
                done.problem = f"the answer of {self._path} to {query_id} is empty: {query['prompt'][:200]}"
                break
            done.by_query[query_id] = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        return done

    @property
    def is_list(self) -> bool:
        return not self._by_id

    def unused(self) -> str:
        """A sentence about answers that no prompt has asked for; empty if there are none."""
        keys = [key for key in self._by_id if key not in self._is_asked]
        count = len(keys) or len(self._in_order)
        named = f": {', '.join(keys[:_NAMED])}{', …' if len(keys) > _NAMED else ''}" if keys else ""
        return f"{count} of the answers in {self._path} were not asked for{named}" if count else ""
