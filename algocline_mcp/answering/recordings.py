"""Recorded answers: a file with one JSON object a line, for each prompt and its answer.

Contract. A recorded answer belongs to its prompt by the digest of the prompt with its options, and by occurrence: the
n-th time that a session asks the same it gets the n-th answer, so no answer serves two prompts. Of several epochs, the
k-th gets the answers of the k-th recorded session that asked the prompt: which one it gets depends neither on the order
in which epochs ask nor on kills. Each line is written as a whole as soon as the answer is there. A line that was cut by
the end of its writer is passed over.
"""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from algocline_mcp.answering.prompts import Answer, Answerer, NoAnswer, Prompt, close
from algocline_mcp.errors import Refused
from algocline_mcp.session.digests import query_digest

_SHOWN = 200  # characters of a prompt in a sentence
_BY = "recording"


class Recording:
    """Answers by digest and occurrence, and by recorded session."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, int], Answer] = {}
        self._by_session: dict[str, dict[str, list[Answer]]] = {}  # digest -> session, in the order of the file

    def add(self, prompt: Prompt, answer: Answer) -> None:
        self._answers[prompt.digest, prompt.occurrence] = answer

    def get(self, prompt: Prompt) -> Answer | None:
        if prompt.epoch is None:
            return self._answers.get((prompt.digest, prompt.occurrence))
        sessions = [*self._by_session.get(prompt.digest, {}).values()]
        answers = sessions[prompt.epoch] if prompt.epoch < len(sessions) else []
        return answers[prompt.occurrence] if prompt.occurrence < len(answers) else None

    @classmethod
    def read(cls, path: str) -> "Recording":
        """Raises Refused for a file that is no recording."""
        recording, counts = cls(), Counter[str]()
        try:
            lines = Path(path).read_text("utf-8-sig").split("\n")
        except (OSError, ValueError) as exc:
            raise Refused(f"{path} cannot be used for --answers: {getattr(exc, 'strerror', None) or exc}") from exc
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                digest = _digest(record)
                answer, session = _answer(record), str(record.get("session_id"))
                recording._answers[digest, counts[digest]] = answer
                recording._by_session.setdefault(digest, {}).setdefault(session, []).append(answer)
                counts[digest] += 1
            except (ValueError, KeyError, TypeError, RecursionError) as exc:
                if number < len(lines):  # the last line has no end: its writer was killed
                    cure = "a recording is written by --record FILE; other answers are JSON or .txt"
                    raise Refused(f"{path} cannot be used for --answers: line {number} is no record; {cure}") from exc
        return recording


def _digest(record: dict[str, Any]) -> str:
    """Of the prompt; computed anew where it has a label, which digests of before counted."""
    digest = str(record["digest"])
    options = record.get("options")
    if not isinstance(options, dict) or "label" not in options:
        return digest
    return query_digest({**options, **{key: record[key] for key in ("prompt", "system", "max_tokens")}})


def _answer(record: dict[str, Any]) -> Answer:
    text, refusal = record.get("response"), record.get("refuse")
    if not isinstance(text if refusal is None else refusal, str):
        raise ValueError("neither a response nor a refusal")
    return Answer(text=text if refusal is None else None, refusal=refusal, usage=record.get("usage"), by=_BY)


class Recorded:
    """Answers from `recording`; what it does not have, `otherwise` answers."""

    def __init__(self, recording: Recording, otherwise: Answerer | None, name: str) -> None:
        self._recording = recording
        self._otherwise = otherwise
        self._name = name

    async def answer(self, prompt: Prompt) -> Answer:
        answer = self._recording.get(prompt)
        if answer is not None:
            return replace(answer, by=_BY, cost=None)  # of this process: it was counted when it was given
        if self._otherwise is None:
            times = f", asked for the {prompt.occurrence + 1}. time" if prompt.occurrence else ""
            times += f" in epoch {prompt.epoch + 1}" if prompt.epoch else ""
            raise NoAnswer(f"{self._name} has no answer to {prompt.query_id}{times}: {prompt.text[:_SHOWN]}")
        return await self._otherwise.answer(prompt)

    async def aclose(self) -> None:
        if self._otherwise is not None:
            await close(self._otherwise)


class Remembering:
    """Adds each answer of `inner` to `recording`, and to the file of `path` if there is one."""

    def __init__(self, inner: Answerer, recording: Recording | None, path: str | None) -> None:
        """Raises Refused for a file that cannot be written."""
        self._inner = inner
        self._recording = recording
        self._path = path
        if path is not None:
            try:
                _append(path, b"")
            except OSError as exc:
                raise Refused(f"{path} cannot be used for --record: {exc.strerror}; give another file") from exc

    async def answer(self, prompt: Prompt) -> Answer:
        answer = await self._inner.answer(prompt)
        if self._recording is not None:
            self._recording.add(prompt, answer)
        if self._path is not None:
            try:
                _append(self._path, json.dumps(_record(prompt, answer)).encode() + b"\n")
            except OSError as exc:
                # The answer counts: its session is not to end because a copy could not be written.
                warning = f"{self._path} lacks the answer to {prompt.query_id}: {exc.strerror}"
                return Answer(text=answer.text, refusal=answer.refusal, usage=answer.usage, cost=answer.cost,
                              by=answer.by, warning=warning)  # fmt: skip
        return answer

    async def aclose(self) -> None:
        await close(self._inner)


def _record(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    given = {"response": answer.text} if answer.text is not None else {"refuse": answer.refusal}
    more = {"usage": dict(answer.usage) if answer.usage else None, "cost": answer.cost, "by": answer.by}
    asked = {"prompt": prompt.text, "system": prompt.system, "max_tokens": prompt.max_tokens}
    names = {"session_id": prompt.session_id, "query_id": prompt.query_id, "digest": prompt.digest}
    return {**names, **asked, **({"options": dict(prompt.options)} if prompt.options else {}), **given} | {
        key: value for key, value in more.items() if value is not None
    }


def _append(path: str, line: bytes) -> None:
    """Only the user may read a new file. A line behind one that was cut begins a new one."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size and line and os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(fd, line)
    finally:
        os.close(fd)
