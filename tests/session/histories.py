"""Small real histories: what the tests of the core start from. Each event goes decide, then evolve, as in a keeper."""

from collections.abc import Callable
from typing import Any

from algocline_mcp.session.decisions import Decision, decide
from algocline_mcp.session.events import (
    Answer,
    Asked,
    Cancel,
    Continue,
    Delivered,
    Died,
    Ended,
    EngineEvent,
    Forked,
    HostEvent,
)
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Session, evolve
from algocline_mcp.session.streams import MAIN

BORN_S = 1000.0
LIMITS = {
    "queries": 4,
    "prompt_bytes": 100,
    "answer_bytes": 20,
    "result_bytes": 100,
    "notes_bytes": 200,
    "strikes": 3,
    "ctx_bytes": 100,
    "state_key_bytes": 100,
    "state_value_bytes": 100,
    "children": 2,
    "children_max": 4,
    "children_depth": 2,
}
MARK: Record = {"kind": "flushed"}


def header(**changes: Any) -> Record:
    return {
        "kind": "header",
        "t": BORN_S,
        "sid": "p-1-0123456789abcdef",
        "title": "review",
        "code": "return alc.llm('p')",
        "chunk": "strategy",
        "ctx": "{}",
        "language": "lua",
        "lib_paths": [],
        "seed": 7,
        "utc_offset_s": 0,
        "limits": LIMITS,
        **changes,
    }


def query(prompt: str, system: str | None = None, **options: Any) -> Record:
    return {"prompt": prompt, "system": system, "max_tokens": 1024, **options}


def said(query_id: str | None, response: str | None = None, **more: Any) -> Answer:
    return Answer(query_id, response, **more)


class History:
    """A session and the records that made it. The clock goes on by a second with each event."""

    def __init__(self, *records: Record) -> None:
        self.session = Session()
        self.records: list[Record] = []
        self.now_s = BORN_S
        self.add(*records)

    def add(self, *records: Record) -> "History":
        for record in records:
            evolve(self.session, record)
            self.records.append(record)
        return self

    def do(self, event: HostEvent | EngineEvent) -> Decision:
        decision = decide(self.session, event)
        self.add(*decision.records)
        return decision

    def tick(self) -> float:
        self.now_s += 1
        return self.now_s

    def ask(self, *prompts: str | Record, stream: str = MAIN) -> "History":
        queries = tuple(query(prompt) if isinstance(prompt, str) else prompt for prompt in prompts)
        self.do(Asked(stream, queries, self.tick()))
        return self

    def wait(
        self, *prompts: str, wake_s: float | None = None, withdrawn: tuple[int, ...] = (), stream: str = MAIN
    ) -> "History":
        queries = tuple(query(prompt) for prompt in prompts)
        self.do(Asked(stream, queries, self.tick(), is_wait=True, wake_s=wake_s, withdrawn=withdrawn))
        return self

    def deliver(self, stream: str = MAIN) -> "History":
        self.do(Delivered(stream, self.tick()))
        return self

    def answer(self, *answers: Answer) -> Decision:
        return self.do(Continue(answers, self.tick()))

    def fork(self, *strategies: str, stream: str = MAIN, on_error: str = "skip") -> "History":
        self.do(Forked(stream, strategies, {"task": "t"}, on_error, self.tick()))
        return self

    def end(self, stream: str = MAIN, **outcome: Any) -> "History":
        self.do(Ended(stream, outcome or {"result": 1}, self.tick()))
        return self

    def die(self, times: int = 1, stream: str = MAIN) -> "History":
        for _ in range(times):
            self.do(Died(stream, "ended by SIGSEGV", self.tick()))
        return self

    def cancel(self) -> "History":
        self.do(Cancel(self.tick()))
        return self


def new() -> History:
    return History()


def running() -> History:
    return History(header())


def forked() -> History:
    """The children `0` and `1` compute; the strategy itself waits for them."""
    return running().fork("a", "b")


def running_beside_a_prompt() -> History:
    """The child `0` waits for f-0-0 while `1` computes."""
    return forked().ask("p", stream="0")


def stuck_child() -> History:
    """The engine of `1` died too often, beside f-0-0 that waits."""
    return running_beside_a_prompt().die(3, stream="1")


def paused() -> History:
    return running().ask("p")


def paused_at_two() -> History:
    return running().ask("p", "r")


def waiting() -> History:
    """It goes on with an answer to q-0 or to q-1, or after five seconds."""
    return running().wait("p", "r", wake_s=5)


def waiting_with_an_answer() -> History:
    """A crash of its keeper came between the answer to q-1 and its delivery."""
    history = waiting()
    history.answer(said("q-1", "b"))
    return history


def asleep() -> History:
    return running().wait(wake_s=5)


def stuck_at_a_wait() -> History:
    return waiting().die(3)


def struck_twice() -> History:
    return running().die(2)


def paused_struck_twice() -> History:
    return paused().die(2)


def stuck() -> History:
    return running().die(3)


def stuck_at_a_prompt() -> History:
    """Its engine dies on the way back to the prompt that is open."""
    return paused().die(3)


def completed() -> History:
    return running().end(result={"x": 1})


def failed() -> History:
    return running().end(error="strategy:1: boom")


def cancelled() -> History:
    return paused().cancel()


def completed_after_an_answer() -> History:
    history = paused()
    history.answer(said("q-0", "a"))
    return history.end()


Start = Callable[[], History]
