"""A drive answers the prompts of a session: in parallel, each once, each handed in at once."""

from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from algocline_mcp.answering.drive import Drive, Given, State
from algocline_mcp.answering.prompts import Answer, NoAnswer, Numbering, Prompt

LIMIT_S = 60.0


class Batch:
    """A session that asks `sizes[0]` prompts at once, then `sizes[1]`, and so on, and then completes."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = [*sizes]
        self.answers: dict[str, str] = {}
        self.calls: list[list[str]] = []
        self.is_taking = True
        self._asked = 0
        self.pending: list[str] = []
        self._ask()

    def _ask(self) -> None:
        if self.sizes:
            size = self.sizes.pop(0)
            self.pending = [f"q-{self._asked + number}" for number in range(size)]
            self._asked += size

    def state(self) -> State:
        if not self.pending:
            return {"status": "completed", "result": len(self.answers)}
        queries = [{"query_id": query_id, "prompt": f"prompt {query_id}"} for query_id in self.pending]
        return {"status": "needs_response", **(queries[0] if len(queries) == 1 else {"queries": queries})}

    async def hand_in(self, given: Sequence[Given], *, is_waiting: bool) -> State | None:
        await anyio.lowlevel.checkpoint()
        self.calls.append([prompt.query_id for prompt, _ in given])
        if not self.is_taking and not is_waiting:
            return {**self.state(), "not_taken": True}
        for prompt, answer in given:
            assert prompt.query_id not in self.answers, "handed in twice"
            self.answers[prompt.query_id] = str(answer.text)
            self.pending.remove(prompt.query_id)
        if self.pending:
            return {"status": "accepted", "remaining": len(self.pending)}
        self._ask()
        return {"status": "running"}

    async def wait(self) -> State | None:
        await anyio.lowlevel.checkpoint()
        return self.state()


class Echo:
    def __init__(self, *bad: str) -> None:
        self.prompts: list[str] = []
        self.running = self.peak = 0
        self._bad = bad

    async def answer(self, prompt: Prompt) -> Answer:
        self.prompts.append(prompt.query_id)
        self.running += 1
        self.peak = max(self.peak, self.running)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        self.running -= 1
        if prompt.query_id in self._bad:
            raise NoAnswer(f"nothing for {prompt.query_id}")
        return Answer(text=f"<{prompt.text}>")


def drive(session: Batch, answerer: Any, jobs: int = 3) -> tuple[State | None, str | None]:
    async def run() -> tuple[State | None, str | None]:
        with anyio.fail_after(LIMIT_S):
            one = Drive(answerer, session, Numbering(), jobs=jobs)
            return await one.run(session.state()), one.problem

    return anyio.run(run)


@pytest.mark.parametrize("jobs", [1, 3, 20])
def test_as_many_prompts_are_answered_at_once_as_jobs_allows(jobs: int) -> None:
    session, answerer = Batch(7), Echo()

    state, problem = drive(session, answerer, jobs)

    assert (state, problem) == ({"status": "completed", "result": 7}, None)
    assert answerer.peak == min(jobs, 7)
    assert session.answers == {f"q-{n}": f"<prompt q-{n}>" for n in range(7)}


def test_each_prompt_of_several_rounds_is_answered_once() -> None:
    session, answerer = Batch(1, 5, 1, 9), Echo()

    assert drive(session, answerer)[0] == {"status": "completed", "result": 16}
    assert sorted(answerer.prompts) == sorted(f"q-{n}" for n in range(16))


def test_after_a_prompt_without_an_answer_none_is_begun_and_those_under_way_are_handed_in() -> None:
    session, answerer = Batch(9), Echo("q-1")

    _, problem = drive(session, answerer)

    assert problem == "nothing for q-1"
    assert set(answerer.prompts) - {"q-1"} == set(session.answers)
    assert len(session.answers) < 8


def test_an_answer_that_the_session_did_not_take_yet_is_sent_again() -> None:
    session, answerer = Batch(1), Echo()
    session.is_taking = False

    assert drive(session, answerer)[0] == {"status": "completed", "result": 1}
    assert (session.calls, answerer.prompts) == ([["q-0"], ["q-0"]], ["q-0"])


def test_an_answer_is_handed_in_although_the_drive_is_cancelled_meanwhile() -> None:
    session, begun, taken = Batch(2), anyio.Event(), anyio.Event()

    class Slow:
        async def answer(self, prompt: Prompt) -> Answer:
            if prompt.query_id == "q-1":
                await anyio.sleep_forever()
            return Answer(text="paid for")

    async def hand_in(given: Sequence[Given], *, is_waiting: bool) -> State | None:
        begun.set()
        await anyio.lowlevel.checkpoint()
        await taken.wait()
        return await Batch.hand_in(session, given, is_waiting=is_waiting)

    async def run() -> None:
        with anyio.fail_after(LIMIT_S):
            async with anyio.create_task_group() as group:
                group.start_soon(Drive(Slow(), session, Numbering(), jobs=2).run, session.state())
                await begun.wait()
                group.cancel_scope.cancel()
                taken.set()

    session.hand_in = hand_in  # type: ignore[method-assign]  # of this session alone
    anyio.run(run)
    assert session.answers == {"q-0": "paid for"}


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        ("already responded to query_id: q-0 with another text; the first answer stands: go on", None),
        ("q-0 is no longer asked: its alc.fork has failed", None),
        ("the answer has 9 bytes, at most 8", "q-0: the answer has 9 bytes, at most 8"),
    ],
)
def test_an_answer_that_is_wanted_no_longer_ends_no_drive(reason: str, problem: str | None) -> None:
    session = Batch(1, 1)

    async def hand_in(given: Sequence[Given], *, is_waiting: bool) -> State | None:
        state = dict(await Batch.hand_in(session, given, is_waiting=is_waiting) or {})
        is_first = given[0][0].query_id == "q-0"
        return state | ({"refused": [{"query_id": "q-0", "reason": reason}]} if is_first else {})

    session.hand_in = hand_in  # type: ignore[method-assign]  # of this session alone
    state, refusal = drive(session, Echo())
    assert refusal == problem
    assert (state or {}).get("status") == ("completed" if problem is None else "running")


def test_what_a_call_raises_ends_the_drive() -> None:
    session = Batch(3)

    async def hand_in(given: Sequence[Given], *, is_waiting: bool) -> State | None:
        raise ConnectionError("gone")

    session.hand_in = hand_in  # type: ignore[method-assign]  # of this session alone
    with pytest.raises(ConnectionError, match="gone"):
        drive(session, Echo())


def test_the_nth_prompt_with_the_same_text_has_the_occurrence_n_whatever_comes_again() -> None:
    numbering = Numbering()
    asked = [("q-0", "a", 9), ("q-1", "a", 9), ("q-2", "a", 8), ("q-1", "a", 9), ("q-3", "a", 9)]

    prompts = [numbering.prompt({"query_id": key, "prompt": text, "max_tokens": n}) for key, text, n in asked]

    assert [(prompt.index, prompt.occurrence) for prompt in prompts] == [(0, 0), (1, 1), (2, 0), (1, 1), (3, 2)]
    assert len({prompt.digest for prompt in prompts}) == 2


def test_a_query_of_a_journal_and_the_same_one_as_a_host_sees_it_have_one_digest() -> None:
    stored = {"id": "q-0", "prompt": "p", "system": None, "max_tokens": 1024, "grounded": False, "digest": "d", "t": 1}
    shown = {"query_id": "q-0", "prompt": "p", "t": 1}
    alone = {"status": "needs_response", "session_id": "p-1", "warnings": ["w"], **shown}

    digests = {Numbering().prompt(query).digest for query in (stored, shown, alone)}

    assert len(digests) == 1
