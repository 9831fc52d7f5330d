"""Every built-in strategy through the official client, with a scripted model: answers of all kinds, kills, budgets."""

import json
import os
import random
import signal
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from mcp import Client

from algocline_mcp.config.home import Home
from tests.docs.built_in_page import strategies
from tests.rig.stdio_home import StdioHome, call_tool
from tests.strategies.cases import CASES, Case

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_AT_ONCE = 4  # sessions; more would only queue on two cores
Answer = dict[str, str]  # response or refuse
Reply = Callable[[Case, str, int], Answer]  # of a prompt, and its number in the session

JUNK = [
    "{}", "[]", "null", "[[[", '{"a": 1', "I am sorry, Dave.", "Verdict: maybe", '[{"claim": 5, "source": null}]',
    "[null]", '{"ok": "yes", "problem": []}', '{"grade": 99, "weakness": ""}', "\x00\x1b[31m", "42 or 43", "```json\n",
    '[{"approach": "", "attempt": ""}]', '{"wheels": [{"value": [], "quote": 1}]}', '["", " "]', "\U0001f4a9" * 50,
]  # fmt: skip


def well(case: Case, prompt: str, _number: int) -> Answer:
    return {"response": case.answer(prompt)}


def blank(_case: Case, _prompt: str, _number: int) -> Answer:
    return {"response": "\u200b\n"}  # nothing visible; of blanks alone a server takes no answer


def junk(_case: Case, prompt: str, number: int) -> Answer:
    return {"response": JUNK[(zlib.crc32(prompt.encode()) + number) % len(JUNK)]}


def too_long(_case: Case, _prompt: str, _number: int) -> Answer:
    return {"response": "so it is " * 15_000}


def refused(_case: Case, _prompt: str, _number: int) -> Answer:
    return {"refuse": "against the policy"}


def refused_once(case: Case, prompt: str, number: int) -> Answer:
    return refused(case, prompt, number) if number == 0 else well(case, prompt, number)


@dataclass
class Run:
    status: str = ""
    result: Any = None
    prompts: list[str] = field(default_factory=list)
    pauses: int = 0
    warnings: list[str] = field(default_factory=list)  # of the reply, beside those of the strategy


async def play(client: Client, case: Case, reply: Reply, kill: Callable[[Case, str, int], None] | None) -> Run:
    """Plays a strategy to its end. `kill` is called at each pause, with the session and the number of the pause."""
    run = Run()
    state = await call_tool(client, "alc_run", strategy=case.strategy, ctx=dict(case.ctx))
    while state["status"] == "needs_response":
        if kill is not None:
            kill(case, state["session_id"], run.pauses)
        run.pauses += 1
        queries = state.get("queries") or [state]
        assert len(queries) == 1 or all(query.get("label") for query in queries), "a view tells them apart"
        responses = [
            {"query_id": query["query_id"], **reply(case, query["prompt"], len(run.prompts) + i)}
            for i, query in enumerate(queries)
        ]
        run.prompts += [query["prompt"] for query in queries]
        state = await hand_in(client, session_id=state["session_id"], responses=responses)
    run.status, run.result = state["status"], state.get("result", state.get("error"))
    run.warnings = state.get("warnings", [])
    return run


async def hand_in(client: Client, **arguments: Any) -> dict[str, Any]:
    """Hands in as a model does that stands by its answers: what does not fit its schema is taken at the third time."""
    for _ in range(2):
        reply = await client.call_tool("alc_continue", arguments)
        if reply.is_error:
            assert "does not fit" in reply.content[0].text  # type: ignore[union-attr]  # an error is a text
        elif (state := dict(reply.structured_content or {}))["status"] != "accepted":
            return state
    return await call_tool(client, "alc_continue", **arguments)


async def play_all(
    stdio_home: StdioHome,
    cases: Sequence[Case],
    reply: Reply,
    *,
    kill: Callable[[Case, str, int], None] | None = None,
) -> list[Run]:
    """The runs of the cases, by one server, in the order of the cases."""
    runs: dict[int, Run] = {}
    slots = anyio.CapacityLimiter(_AT_ONCE)

    async def keep(client: Client, number: int, case: Case) -> None:
        async with slots:
            runs[number] = await play(client, case, reply, kill)

    async with stdio_home.client() as client, anyio.create_task_group() as tasks:
        for number, case in enumerate(cases):
            tasks.start_soon(keep, client, number, case)
    return [runs[number] for number in range(len(cases))]


def assert_expected(case: Case, run: Run) -> None:
    assert run.status == "completed", (case.strategy, run.result)
    assert {name: run.result.get(name) for name in case.expected} == case.expected, case.strategy


def test_every_strategy_has_a_case() -> None:
    assert sorted(strategies()) == sorted(case.strategy for case in CASES)


async def test_a_strategy_returns_what_it_promises_also_when_it_is_killed_at_a_pause(stdio_home: StdioHome) -> None:
    runs = await play_all(stdio_home, CASES, well)
    pauses = {case.strategy: run.pauses for case, run in zip(CASES, runs, strict=True)}
    chance = random.Random(4711)
    kill_at = {strategy: chance.randrange(count) for strategy, count in pauses.items()}

    def kill(case: Case, sid: str, pause: int) -> None:
        if pause == kill_at[case.strategy]:
            entries = json.loads(Home(stdio_home.root).registry.read_text())["sessions"]
            (pid,) = [entry["pid"] for entry in entries if entry["sid"] == sid]
            os.kill(pid, signal.SIGKILL)

    killed = await play_all(stdio_home, CASES, well, kill=kill)

    for case, run in zip(CASES, runs, strict=True):
        assert_expected(case, run)
        assert "warnings" not in run.result, case.strategy
        assert len(run.prompts) == case.prompts, case.strategy
    assert killed == runs
    of_one_call = {case.strategy for case, run in zip(CASES, runs, strict=True) if "no evidence" in str(run.warnings)}
    assert of_one_call == {"vote", "decide", "debate", "mixture"}


async def test_a_prompt_that_is_refused_once_is_asked_again_and_the_result_says_so(stdio_home: StdioHome) -> None:
    runs = await play_all(stdio_home, CASES, refused_once)

    for case, run in zip(CASES, runs, strict=True):
        assert_expected(case, run)
        assert len(run.prompts) == case.prompts + 1, case.strategy
        assert "asked for again" in str(run.result["warnings"]), case.strategy


@pytest.mark.parametrize("reply", [blank, junk, too_long, refused])
async def test_answers_that_cannot_be_used_end_in_a_result_that_says_so(stdio_home: StdioHome, reply: Reply) -> None:
    runs = await play_all(stdio_home, CASES, reply)

    for case, run in zip(CASES, runs, strict=True):
        assert run.status == "completed", (case.strategy, run.result)
        assert reply is junk or run.result["warnings"], case.strategy  # junk may be a text
        assert len(run.prompts) <= 40, case.strategy


EARLY = {"mixture": "combined", "research": "Ada built it [1].", "search": "a"}  # with three quarters of the prompts


async def test_a_budget_ends_a_strategy_early_with_what_it_has(stdio_home: StdioHome) -> None:
    cases = [(case, share * case.prompts // 4) for case in CASES for share in range(4)]
    limited = [
        replace(case, ctx={**case.ctx, "budget": {"max_llm_calls": calls}}, prompts=calls) for case, calls in cases
    ]

    runs = await play_all(stdio_home, limited, well)

    for case, run in zip(limited, runs, strict=True):
        assert run.status == "completed", (case.strategy, case.prompts, run.result)
        assert len(run.prompts) <= case.prompts
        assert run.result.get("warnings"), (case.strategy, case.prompts, run.result)
    last = {case.strategy: run.result.get("answer") for case, run in zip(limited, runs, strict=True)}
    assert {strategy: last[strategy] for strategy in EARLY} == EARLY
