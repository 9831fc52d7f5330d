"""Answerers of `alc run` and `alc continue`: a command or a file; a person is in `person.py`.

Contract: an answerer gets the pending queries of one pause and returns its answers. If some answers are missing,
`problem` says why in a sentence. The other answers are sent all the same, so no prompt is asked twice. `begin` comes
first, with the ids of all queries that the session has asked so far, in order. `leftover` is asked at the end.
"""

import json
import os
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
    refused: dict[str, str] = field(default_factory=dict)
    """Query id -> the reason."""
    problem: str | None = None
    is_interrupted: bool = False


class Answerer(Protocol):
    def begin(self, asked: Sequence[str]) -> None: ...

    async def answer(self, session_id: str, queries: Sequence[Query]) -> Answers: ...

    def leftover(self) -> str | None:
        """A sentence about answers that no prompt asked for."""


def choose_answerer(command: str | None, file: str | None, jobs: int) -> Answerer:
    """`jobs`: how many of `command` run at once. Raises click.ClickException for an unusable file."""
    if command is not None:
        return Command(command, jobs)
    if file is not None:
        return AnswerFile(file)
    from algocline_mcp.cli.person import Person  # only a person waits for what it imports

    return Person()


@dataclass(frozen=True, slots=True)
class Command:
    """Runs a shell command per prompt, `jobs` at a time, and says which prompt it has begun to answer."""

    command: str
    jobs: int

    def begin(self, asked: Sequence[str]) -> None:
        pass

    def leftover(self) -> str | None:
        return None

    async def answer(self, session_id: str, queries: Sequence[Query]) -> Answers:
        done = Answers()
        limiter = anyio.CapacityLimiter(self.jobs)

        async def one(number: int, query: Query) -> None:
            async with limiter:
                if done.problem is None:
                    # Not as progress, which a line of the command's own stderr would be appended to.
                    output.note(f"… answering {query['query_id']} ({number} of {len(queries)})")
                    await self._run(session_id, query, done)

        async with anyio.create_task_group() as group:
            for number, query in enumerate(queries, 1):
                group.start_soon(one, number, query)
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
        answer = ended.stdout.decode("utf-8", "replace").rstrip("\n")
        if not answer.strip():
            done.problem = (
                f"the command printed no answer to {query['query_id']}: it must write the answer to its stdout"
            )
            return
        done.by_query[query["query_id"]] = answer


class AnswerFile:
    """Answers from a file: by query id if it is a JSON object, otherwise one for each prompt of the session in order.

    The first of a list belongs to the first prompt that the session ever asked, also where `alc continue` goes on.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._places: dict[str, int] = {}  # query id -> its place in the order of asking
        self._used: set[str | int] = set()
        try:
            text = Path(path).read_text("utf-8-sig")
            content = text.splitlines() if path.endswith(".txt") else json.loads(text)
        except (OSError, ValueError, RecursionError) as exc:
            why = getattr(exc, "strerror", None) or exc
            raise click.ClickException(f"{path} cannot be used for --answers: {why}; {_FORMATS}") from exc
        if not isinstance(content, dict | list):
            raise click.ClickException(f"{path} cannot be used for --answers: it holds {content!r}; {_FORMATS}")
        self._content: dict[str | int, Any] = content if isinstance(content, dict) else dict(enumerate(content))
        self._is_list = isinstance(content, list)

    def begin(self, asked: Sequence[str]) -> None:
        self._places = {query_id: place for place, query_id in enumerate(asked)}

    async def answer(self, session_id: str, queries: Sequence[Query]) -> Answers:
        done = Answers()
        for query in queries:
            query_id = query["query_id"]
            place = self._places.setdefault(query_id, len(self._places))
            key = place if self._is_list else query_id
            if key not in self._content:
                done.problem = f"{self._path} has no answer to {query_id}: {query['prompt'][:200]}"
                break
            answer = self._content[key]
            if answer == "":
                done.problem = f"the answer of {self._path} to {query_id} is empty: {query['prompt'][:200]}"
                break
            self._used.add(key)
            done.by_query[query_id] = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        return done

    def leftover(self) -> str | None:
        """Answers for prompts of before count as used: they were, by the command that began the session."""
        last = len(self._places)
        keys = [key for key in self._content if key not in self._used and not (self._is_list and int(key) < last)]
        if not keys:
            return None
        named = "" if self._is_list else f": {', '.join(map(str, keys[:_NAMED]))}{', …' if len(keys) > _NAMED else ''}"
        return f"{len(keys)} of the {len(self._content)} answers in {self._path} were not asked for{named}"
