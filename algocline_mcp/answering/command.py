"""Answers of a shell command: the prompt on its stdin, the answer on its stdout."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

import anyio

from algocline_mcp.answering.prompts import Answer, NoAnswer, Prompt


@dataclass(frozen=True, slots=True)
class Command:
    """Runs `command` in a shell for each prompt. It ends with the answer, or is killed when the call is cancelled.

    Its environment is that of this process and ALC_SYSTEM, ALC_QUERY_ID, ALC_MAX_TOKENS, ALC_SESSION_ID."""

    command: str

    async def answer(self, prompt: Prompt) -> Answer:
        try:
            # A file instead of a pipe: a command may end without reading its prompt.
            with tempfile.TemporaryFile() as stdin:
                stdin.write(prompt.text.encode())
                stdin.seek(0)
                environ = {**os.environ, **_environment(prompt)}
                ended = await anyio.run_process(self.command, stdin=stdin, stderr=None, check=False, env=environ)
        except (OSError, ValueError) as exc:  # e.g. a system prompt longer than an environment may be
            raise NoAnswer(f"the command could not run for {prompt.query_id}: {exc}") from exc
        if ended.returncode != 0:
            raise NoAnswer(f"the command ended with exit code {ended.returncode} for {prompt.query_id}")
        text = ended.stdout.decode("utf-8", "replace").rstrip("\n")
        if not text.strip():
            sentence = "it must write the answer to its stdout"
            raise NoAnswer(f"the command printed no answer to {prompt.query_id}: {sentence}")
        return Answer(text=text)


def _environment(prompt: Prompt) -> Mapping[str, str]:
    return {
        "ALC_SYSTEM": prompt.system or "",
        "ALC_QUERY_ID": prompt.query_id,
        "ALC_MAX_TOKENS": str(prompt.max_tokens),
        "ALC_SESSION_ID": prompt.session_id,
    }
