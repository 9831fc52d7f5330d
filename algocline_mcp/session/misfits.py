"""Answers that do not fit the schema of their prompt: whether one is refused, so that the model which wrote it corrects
it without a new prompt. Pure.

Contract: only an answer of a caller that can correct it is checked (`Continue.is_checked`). A query refuses at most
REFUSALS answers; the next one is taken as it is, and the strategy deals with it. Each refusal is counted by a record of
kind `misfit`, so that a kill gives no further one. One call checks at most CHECKED_BYTES of its answers, because the
keeper does nothing else meanwhile: 256 KiB took 11 ms as JSON, and 0.45 s as the worst text that was tried. A longer
answer is taken unchecked, and read by the strategy, whose engine has a limit of processor time.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from algocline_mcp.answers.fit import misfit
from algocline_mcp.session.digests import answer_size, json_size

if TYPE_CHECKING:
    from algocline_mcp.session.state import Session

REFUSALS = 2  # of one query
_PROBLEM_CHARS = 2_000  # of a sentence, which may name a choice or a property of the schema
CHECKED_BYTES = 256 << 10  # of the answers of one call, with their schemas
_MARK = " does not fit: "


def problem_of(text: str, schema: Mapping[str, Any]) -> str | None:
    """Where a whole answer does not fit, in a sentence of limited length; None where it fits."""
    problem = misfit(text, schema)
    if problem is not None and len(problem) > _PROBLEM_CHARS:
        problem = f"{problem[:_PROBLEM_CHARS]}…"
    return problem


def is_misfit(reason: str) -> bool:
    """Whether the reason of a refusal is one of AnswerCheck: the same prompt waits for a corrected answer."""
    return _MARK in reason


class AnswerCheck:
    """Of the answers of one call."""

    def __init__(self, session: "Session", *, is_on: bool) -> None:
        self._session = session
        self._left_bytes = CHECKED_BYTES if is_on else 0

    def refusal(self, query_id: str, item: Mapping[str, Any]) -> str | None:
        """Why the answer to a pending query is not taken; None where it is."""
        schema = self._session.pending[query_id].get("schema")
        if not self._left_bytes or not isinstance(schema, Mapping) or "response" not in item:
            return None
        if self._session.misfits.get(query_id, 0) >= REFUSALS:
            return None
        self._left_bytes -= answer_size(item) + json_size(schema)
        if self._left_bytes < 0:
            self._left_bytes = 0
            return None
        problem = problem_of(item["response"], schema)
        return None if problem is None else f"the answer to {query_id}{_MARK}{problem}. {query_id} stays open"
