"""Answers the open prompts of one session until it ends, `jobs` at once.

Contract. `Drive.run` starts from a state (the flat result of a tool) and returns when the session has ended, when a
call has failed, or when a prompt has no answer (`problem`); then no further prompt is begun, and those that are under
way are still answered and handed in. Each answer is handed in as soon as it is there, by a call that waits for nothing:
what a model was paid for is on disk before anything else happens, also where the drive is cancelled meanwhile. While
prompts are open, one call at most waits for what the strategy asks next. A prompt is begun once.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from algocline_mcp.answering.prompts import Answer, Answerer, NoAnswer, Numbering, Prompt

State = Mapping[str, Any]
Given = tuple[Prompt, Answer]
_RESENDS = 5  # of answers that were not taken, because the session was just being revived
UNFINISHED = ("needs_response", "accepted", "running")  # statuses of a session that goes on


class Calls(Protocol):
    """What a drive needs of a session. Both return None where the call failed, which has been reported."""

    async def hand_in(self, given: Sequence[Given], *, is_waiting: bool) -> State | None:
        """The state at once, or with `is_waiting` at the next pause."""

    async def wait(self) -> State | None:
        """The state at the next pause, or `running` after a while."""


class Watcher:
    """Learns what a drive does. This one does nothing."""

    def asked(self, count: int) -> None:
        """The session asks `count` new prompts."""

    def begin(self, prompt: Prompt, position: str) -> None:
        """`position`: such as "2 of 3", among the prompts of a pause."""

    def ended(self, prompt: Prompt, answer: Answer | None) -> None:
        """`answer`: None where there is none."""


class Drive:
    def __init__(
        self, answerer: Answerer, calls: Calls, numbering: Numbering, *, jobs: int, watcher: Watcher | None = None
    ) -> None:
        self.problem: str | None = None
        self._answerer = answerer
        self._calls = calls
        self._numbering = numbering
        self._watcher = watcher or Watcher()
        self._limiter = anyio.CapacityLimiter(jobs)
        self._sending = anyio.Lock()
        self._seen: set[str] = set()
        self._open = 0  # prompts that are begun, or wait for their turn
        self._ready: list[Given] = []
        self._latest: State | None = None
        self._has_failed = False
        self._is_waiting = False
        self._must_wait_again = False

    async def run(self, state: State) -> State | None:
        """The last state; None after a call that failed. Raises what the calls raise."""
        next_state: State | None = state
        while True:
            try:
                async with anyio.create_task_group() as group:
                    self._see(group, next_state)
            except BaseExceptionGroup as errors:
                raise _first_of(errors) from errors
            if self._has_failed or self.problem is not None or not self._is_unfinished():
                return None if self._has_failed else self._latest
            next_state = await self._calls.wait()
            if next_state is not None and self._is_stuck(next_state):
                self.problem = "the session still waits for prompts that were answered; go on with it to try again"

    def _is_unfinished(self) -> bool:
        return self._latest is None or self._latest.get("status") in UNFINISHED

    def _is_stuck(self, state: State) -> bool:
        """Nothing is left to do, and the session waits for answers."""
        queries = queries_of(state)
        return bool(queries) and not _is_computing(state) and all(key in self._seen for key in queries)

    def _see(self, group: TaskGroup, state: State | None) -> None:
        """Begins the prompts of `state` that are new."""
        if state is None:
            self._has_failed = True
            return
        if self._is_unfinished():  # a reply that comes late does not hide the end
            self._latest = state
        for refused in state.get("refused", ()):
            if not _is_settled(refused["reason"]):
                self.problem = self.problem or f"{refused['query_id']}: {refused['reason']}"
        new = [query for query_id, query in queries_of(state).items() if query_id not in self._seen]
        if new:
            self._watcher.asked(len(new))
        for number, query in enumerate(new, 1):
            self._seen.add(query["query_id"])
            self._open += 1
            group.start_soon(self._answer, group, self._numbering.prompt(query), f"{number} of {len(new)}")
        if _is_computing(state):
            self._must_wait_again = self._is_waiting
            if self._open and not self._is_waiting:
                self._is_waiting = True
                group.start_soon(self._wait, group)

    async def _answer(self, group: TaskGroup, prompt: Prompt, position: str) -> None:
        try:
            async with self._limiter:
                if self.problem is not None or self._has_failed:
                    return
                answer = await self._watched(prompt, position)
                self._ready.append((prompt, answer))
        except NoAnswer as exc:
            self.problem = self.problem or str(exc)
            return
        finally:
            self._open -= 1
        with anyio.CancelScope(shield=True):
            await self._hand_in(group)

    async def _watched(self, prompt: Prompt, position: str) -> Answer:
        answer = None
        self._watcher.begin(prompt, position)
        try:
            answer = await self._answerer.answer(prompt)
            return answer
        finally:
            self._watcher.ended(prompt, answer)

    async def _hand_in(self, group: TaskGroup) -> None:
        """Hands in what is ready, unless another task has done so meanwhile."""
        async with self._sending:
            given, self._ready = self._ready, []
            if not given:
                return
            state = await self._calls.hand_in(given, is_waiting=False)
            for _ in range(_RESENDS):
                if state is None or not state.get("not_taken"):
                    break
                state = await self._calls.hand_in(given, is_waiting=True)
        self._see(group, state)

    async def _wait(self, group: TaskGroup) -> None:
        is_computing = True
        while is_computing:
            self._must_wait_again = False
            state = await self._calls.wait()
            is_computing = state is not None and (_is_computing(state) or self._must_wait_again)
            self._is_waiting = is_computing
            self._see(group, state)


def queries_of(state: State) -> dict[str, Mapping[str, Any]]:
    """The open queries of a state by their id."""
    if state.get("status") != "needs_response":
        return {}
    return {query["query_id"]: query for query in state.get("queries") or [state]}


def _is_settled(reason: str) -> bool:
    """Somebody else was first, or the strategy asks the prompt no longer: the session goes on without the answer."""
    return reason.startswith("already responded to ") or " is no longer asked" in reason


def _is_computing(state: State) -> bool:
    return state.get("status") == "running" or bool(state.get("running"))


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
