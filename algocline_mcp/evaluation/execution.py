"""Carries out a run: each part in its session, its prompts answered, until all have ended.

Contract. `carry_out` asks no prompt whose answer is on disk: a session that exists goes on where it stands. A prompt
without an answer leaves its session open, and the others go on; after `MAX_FAILURES` in a row nothing more is begun,
because then nobody answers at all. What is under way when the process is killed, at most `jobs` prompts, is asked again
by the next one. Parts that have ended are handed to `on_row` at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from algocline_mcp.answering.drive import Drive, State, Watcher
from algocline_mcp.answering.pool_calls import WAIT_S, PoolCalls
from algocline_mcp.answering.prompts import Answerer, Numbering
from algocline_mcp.errors import AlcError
from algocline_mcp.evaluation.answer_text import text_of
from algocline_mcp.evaluation.plan import Part, Plan
from algocline_mcp.history.new_session import Strategy, header_of
from algocline_mcp.history.reader import records_of
from algocline_mcp.pool import dispatch
from algocline_mcp.pool.pool import Pool
from algocline_mcp.session.records import Record

MAX_FAILURES = 5
BY = "alc eval"
_ENDED = ("completed", "error", "cancelled")

Row = dict[str, Any]


class Unanswered(AlcError):
    """A session stays open because a prompt of it has no answer."""

    code = "unanswered"


@dataclass(slots=True)
class Sessions:
    """Runs sessions under given ids."""

    pool: Pool
    answerer: Answerer
    jobs: int
    watcher: Watcher = field(default_factory=Watcher)

    async def finish(self, sid: str, strategy: Strategy, epoch: int | None = None) -> State:
        """The last state of the session, begun unless it exists. `epoch`: of a part that runs several times. Raises
        Unanswered, or the error of the pool."""
        numbering = Numbering(sid, epoch)
        if self._exists(sid):
            numbering.begin(await self._asked(sid))
            state = (await dispatch.status_via_pool(self.pool, sid, wait_s=WAIT_S)).result
        else:
            header = header_of(self.pool.limits, strategy, sid=sid)
            state = (await dispatch.begin_via_pool(self.pool, header, wait_s=WAIT_S)).result
        if not _is_over(state):
            drive = Drive(self.answerer, PoolCalls(self.pool, sid, BY), numbering, jobs=self.jobs, watcher=self.watcher)
            last = await drive.run(state)
            if last is None or not _is_over(last):
                raise Unanswered(drive.problem or "the session has not ended")
            state = dict(last)
        return state

    def _exists(self, sid: str) -> bool:
        home = self.pool.home
        return home.journal(sid).exists() or home.finished_journal(sid).exists() or home.journal(sid).exists()

    async def _asked(self, sid: str) -> list[Record]:
        return [
            query for record in await self.records(sid) if record["kind"] == "prompt" for query in record["queries"]
        ]

    async def records(self, sid: str) -> list[Record]:
        read = partial(records_of, self.pool.home, self.pool.limits, sid)
        return await anyio.to_thread.run_sync(lambda: list(read()), limiter=self.pool.files)


def _is_over(state: State) -> bool:
    """An error with a code is one of a session that can still go on, such as one whose engine has died too often: it
    counts as ended, because to try again is for the user to decide."""
    return state.get("status") in _ENDED


@dataclass(slots=True)
class Outcome:
    """`rows`: by session id. `problems`: sentences about the parts that have not ended."""

    rows: dict[str, Row]
    problems: list[str]


async def carry_out(
    sessions: Sessions, plan: Plan, done: Mapping[str, Row], on_row: Callable[[Row], None], *, parallel: int
) -> Outcome:
    """`done`: the rows of parts that have ended before. `parallel`: sessions at once."""
    outcome = Outcome(dict(done), [])
    in_row = 0

    async def run(part: Part) -> None:
        nonlocal in_row
        try:
            row = await _row(sessions, plan, part)
        except AlcError as exc:
            in_row += 1
            case = plan.cases[part.case].id
            outcome.problems.append(f"case {case!r}, {plan.contenders[part.strategy].label}: {exc}")
        else:
            in_row = 0
            outcome.rows[part.sid] = row
            on_row(row)

    todo = [part for part in plan.parts if part.sid not in done]
    await for_all(run, todo, parallel=parallel, until=lambda: in_row >= MAX_FAILURES)
    return outcome


async def for_all(
    work: Callable[[Any], Any], items: Sequence[Any], *, parallel: int, until: Callable[[], bool] = lambda: False
) -> None:
    """Awaits `work` for the items in order, `parallel` at once; begins no more when `until` is true."""
    rest = iter(items)

    async def worker() -> None:
        for item in rest:
            if until():
                return
            await work(item)

    async with anyio.create_task_group() as group:
        for _ in range(min(parallel, len(items))):
            group.start_soon(worker)


async def _row(sessions: Sessions, plan: Plan, part: Part) -> Row:
    case, contender = plan.cases[part.case], plan.contenders[part.strategy]
    epoch = part.epoch if plan.epochs > 1 else None
    state = await sessions.finish(part.sid, contender.session(case, title_of(plan, part)), epoch)
    records = await sessions.records(part.sid)
    answers = [item for record in records if record["kind"] == "answer" for item in record["answers"]]
    stats = (state.get("stats") or _stats(records)).get("auto", {})
    row: Row = {
        "sid": part.sid,
        "strategy": contender.label,
        "case": case.id,
        "epoch": part.epoch,
        "status": state["status"],
        "output": text_of(state.get("result")) if state["status"] == "completed" else "",
        "prompts": stats.get("llm_calls", 0),
        "prompt_tokens": stats.get("prompt_tokens", {}).get("tokens", 0),
        "response_tokens": stats.get("response_tokens", {}).get("tokens", 0),
        "is_estimated": stats.get("total_tokens", {}).get("source") == "estimated",
        "seconds": stats.get("elapsed_ms", 0) / 1000,
        "refusals": sum("refuse" in item for item in answers),
    }
    if state["status"] != "completed":
        row["error"] = str(state.get("error", state["status"]))
    elif state.get("result") is None and records[0].get("kept") == "none":
        # It ended just before an earlier process was killed. A null would be graded as if the strategy had returned it.
        row |= {"status": "error", "output": "", "error": "ALC_KEEP=none has removed its result: --anew runs it again"}
    return row


def _stats(records: Sequence[Record]) -> dict[str, Any]:
    """Of a session that failed: its result does not hold them."""
    from algocline_mcp.session.results import metrics
    from algocline_mcp.session.state import fold

    session = fold(records)
    return metrics(session, session.last_s)


def title_of(plan: Plan, part: Part) -> str:
    epoch = f" ({part.epoch + 1})" if plan.epochs > 1 else ""
    return f"eval {plan.name}: {plan.contenders[part.strategy].label}, case {plan.cases[part.case].id}{epoch}"
