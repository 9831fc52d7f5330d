"""Has an answer that does not fit the schema of its prompt corrected by whoever gave it.

Contract: as alc_continue does for a host (session/misfits.py): the same prompt goes back with the reason, at most
REFUSALS times, and the strategy asks no new one. What still does not fit is given as it is, with a warning: the
strategy deals with it. A refusal, and an answer of more than CHECKED_BYTES characters, are given unchecked. `usage` and
`cost` are the sums of all attempts. An attempt without an answer leaves the prompt open.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from algocline_mcp.answering.prompts import Answer, Answerer, Prompt, close
from algocline_mcp.session.misfits import CHECKED_BYTES, REFUSALS, problem_of

_QUOTED_CHARS = 2000  # of an answer that is shown to whoever gave it


class Correcting:
    def __init__(self, inner: Answerer) -> None:
        self._inner = inner

    async def answer(self, prompt: Prompt) -> Answer:
        answer = await self._inner.answer(prompt)
        for _ in range(REFUSALS):
            problem = _problem(prompt, answer)
            if problem is None:
                return answer
            again = await self._inner.answer(
                replace(prompt, text=_with_reason(prompt.text, answer.text or "", problem))
            )
            answer = _summed(answer, again)
        return _warned(prompt, answer)

    async def aclose(self) -> None:
        await close(self._inner)


def _problem(prompt: Prompt, answer: Answer) -> str | None:
    schema = prompt.options.get("schema")
    if answer.text is None or not isinstance(schema, Mapping) or len(answer.text) > CHECKED_BYTES:
        return None
    return problem_of(answer.text, schema)


def _with_reason(text: str, answer: str, problem: str) -> str:
    shown = answer if len(answer) <= _QUOTED_CHARS else f"{answer[:_QUOTED_CHARS]}…"
    quoted = f"Your answer to this was:\n<answer>\n{shown}\n</answer>"
    request = "Answer the request above again, in the form that it asks for."
    return f"{text}\n\n{quoted}\n\nIt does not fit: {problem.rstrip('.')}. {request}"


def _summed(before: Answer, answer: Answer) -> Answer:
    """`answer`, with what it and the one before have cost together."""
    usage = Counter(before.usage or {}) + Counter(answer.usage or {})
    costs = [cost for cost in (before.cost, answer.cost) if cost is not None]
    return replace(answer, usage=dict(usage) or None, cost=sum(costs) if costs else None)


def _warned(prompt: Prompt, answer: Answer) -> Answer:
    if (problem := _problem(prompt, answer)) is None:
        return answer
    warning = f"the answer to {prompt.query_id} does not fit its schema, after {REFUSALS + 1} attempts: {problem}"
    return replace(answer, warning=f"{answer.warning}; {warning}" if answer.warning else warning)
