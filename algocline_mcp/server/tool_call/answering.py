"""Answers sessions in the background where the operator has set ALC_ANSWER; the host then gets their results alone.

Contract. `answered` gets the reply of a call about one session. It has the open prompts of the session answered by a
task of the pool, and returns the end of the session, or after the wait that is left `running` with progress: the task
goes on, and the next call waits on. Each answer is on disk as soon as it is there, so another server goes on after a
kill. A prompt without an answer is shown to the host, with a warning that says why: its model may answer, and the next
call about the session tries again. `stop` ends the task of a session.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from algocline_mcp.answering.choice import answerer_of
from algocline_mcp.answering.drive import UNFINISHED, Drive, State, Watcher
from algocline_mcp.answering.pool_calls import Bounded, PoolCalls
from algocline_mcp.answering.prompts import Answer, Numbering, Prompt, close
from algocline_mcp.errors import AlcError
from algocline_mcp.pool.replies import NEXT_WHILE_RUNNING, PoolReply, Progress
from algocline_mcp.session.owner import caller

if TYPE_CHECKING:
    from algocline_mcp.pool import dispatch

_ADVICE = "answer the prompts shown here with alc_continue, or call alc_status with this session_id to try again"


_Key = tuple[str, str]  # who owns the session, and its id: a guessed id must not stop what answers another's


class _Task(Watcher):
    """The answering of one session."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.began_s = anyio.current_time()
        self.end: State | None = None
        self.problem: str | None = None
        self.is_done = False
        self.changed = anyio.Event()
        self._prompts = self._answers = 0

    def asked(self, count: int) -> None:
        self._prompts += count
        self.news()

    def ended(self, prompt: Prompt, answer: Answer | None) -> None:
        self._answers += answer is not None
        self.news()

    def news(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    def progress(self) -> Progress:
        elapsed_s = anyio.current_time() - self.began_s
        return Progress(self._answers, self._prompts, "prompts answered", elapsed_s)


class Answering:
    def __init__(self, spec: str, jobs: int) -> None:
        """`spec`: the value of ALC_ANSWER, whose form has been checked."""
        self._spec = spec
        self._jobs = jobs
        self._answerer: Bounded | None = None
        self._tasks: dict[_Key, _Task] = {}

    async def answered(
        self, pool: "dispatch.Pool", reply: PoolReply, wait_s: float, on_progress: "dispatch.OnProgress"
    ) -> PoolReply:
        sid, key = reply.session_id, (caller(), reply.session_id)
        if reply.result.get("status") not in UNFINISHED:
            return reply
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = _Task()
            pool.in_background(self._run, pool, task, sid, reply.result)
        with anyio.move_on_after(wait_s):
            while not task.is_done:
                changed = task.changed
                await on_progress(task.progress())
                await changed.wait()
        return reply._replace(result=_result(sid, task, reply.result))

    def stop(self, sid: str) -> None:
        if (task := self._tasks.pop((caller(), sid), None)) is not None:
            task.scope.cancel()

    async def _run(self, pool: "dispatch.Pool", task: _Task, sid: str, state: State) -> None:
        try:
            with task.scope:
                if self._answerer is None:  # the client of a model takes seconds to import
                    self._answerer = await anyio.to_thread.run_sync(self._made)
                calls = PoolCalls(pool, sid, "ALC_ANSWER")
                drive = Drive(self._answerer, calls, Numbering(sid), jobs=self._jobs, watcher=task)
                task.end = await drive.run(state)
                task.problem = drive.problem
        except AlcError as exc:
            task.problem = str(exc)
        finally:
            if task.problem is not None:
                task.end = await self._state_now(pool, sid)
            if self._tasks.get(key := (caller(), sid)) is task:
                del self._tasks[key]
            if not self._tasks and self._answerer is not None:  # no connection outlives its use
                with suppress(Exception), anyio.move_on_after(1.0):
                    await close(self._answerer)
            task.is_done = True
            task.news()

    def _made(self) -> Bounded:
        return Bounded(answerer_of(self._spec, os.environ), self._jobs)

    async def _state_now(self, pool: "dispatch.Pool", sid: str) -> State | None:
        from algocline_mcp.pool import dispatch

        try:
            return (await dispatch.status_via_pool(pool, sid)).result
        except AlcError:
            return None


def _result(sid: str, task: _Task, before: Mapping[str, Any]) -> dict[str, Any]:
    if not task.is_done:
        progress = task.progress()
        shown = {"step": progress.step, "total": progress.total, "message": progress.message}
        elapsed = {"elapsed_s": round(progress.elapsed_s or 0.0, 1), "progress": shown}
        return {"status": "running", "session_id": sid, **elapsed, "next": NEXT_WHILE_RUNNING}
    result = dict(task.end if task.end is not None else before)
    if task.problem is not None:
        result["warnings"] = [*result.get("warnings", ()), f"{task.problem}. {_ADVICE}"]
    return result
