"""What a drive needs of a session, as calls of this process's own pool; and a limit that several drives share."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from algocline_mcp.answering.drive import Given, State
from algocline_mcp.answering.prompts import Answer, Answerer, Prompt, close
from algocline_mcp.errors import Refused, whole
from algocline_mcp.pool import dispatch
from algocline_mcp.session import events

WAIT_S = 45.0  # of one call; a strategy that computes longer is asked again
WITHDRAWN = "unknown_query"  # code of the refusal of answers that are no longer asked for


@dataclass(frozen=True, slots=True)
class PoolCalls:
    """`by`: who answered, where an answer does not say it. Both methods raise what the pool raises."""

    pool: dispatch.Pool
    sid: str
    by: str

    async def hand_in(self, given: Sequence[Given], *, is_waiting: bool) -> State | None:
        answers = [_answer(prompt, answer, self.by) for prompt, answer in given]
        wait_s = WAIT_S if is_waiting else 0.0
        try:
            return (await dispatch.continue_via_pool(self.pool, self.sid, answers, wait_s=wait_s)).result
        except Refused as exc:
            if exc.code != WITHDRAWN:
                raise
            return (await dispatch.status_via_pool(self.pool, self.sid, wait_s=wait_s)).result

    async def wait(self) -> State | None:
        return (await dispatch.status_via_pool(self.pool, self.sid, wait_s=WAIT_S)).result


def _answer(prompt: Prompt, answer: Answer, by: str) -> events.Answer:
    text = None if answer.text is None else whole(answer.text)
    refusal = None if text is not None else whole(answer.refusal or "no reason given")
    return events.Answer(prompt.query_id, text, refusal, answer.usage, answer.by or by)


class Bounded:
    """An answerer that answers at most `jobs` prompts at once, whichever sessions they are of."""

    def __init__(self, answerer: Answerer, jobs: int) -> None:
        self._answerer = answerer
        self._limiter = anyio.CapacityLimiter(jobs)

    async def answer(self, prompt: Prompt) -> Answer:
        async with self._limiter:
            return await self._answerer.answer(prompt)

    async def aclose(self) -> None:
        await close(self._answerer)
