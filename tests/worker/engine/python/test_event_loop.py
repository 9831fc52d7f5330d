import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import alc
from algocline_mcp.config.sandbox import probe
from algocline_mcp.worker.engine.python import asyncio_patches, event_loop
from algocline_mcp.worker.engine.python.session import running
from tests.worker.engine.python.fake_exchange import (
    FakeExchange,
    all_at_once,
    in_random_order,
    nothing,
    one_by_one,
    session_of,
)

asyncio_patches.install()


def play(main: Callable[[], Any], exchange: FakeExchange) -> Any:
    """Runs a strategy's function, plain or a coroutine function."""
    with running(session_of(exchange)):
        result = main()
        return event_loop.run(result, exchange) if inspect.iscoroutine(result) else result


async def chain(name: str, length: int = 2) -> str:
    answer = name
    for _ in range(length):
        answer = await alc.aio.llm(answer)
    return answer


# ── pauses ────────────────────────────────────────────────────────────────────────────────────────────────


async def gathered() -> Any:
    return await asyncio.gather(*(chain(f"c{i}") for i in range(5)))


async def in_group() -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(chain(f"c{i}")) for i in range(5)]
    return [task.result() for task in tasks]


async def waited() -> Any:
    done, _ = await asyncio.wait([asyncio.create_task(chain(f"c{i}"), name=f"c{i}") for i in range(5)])
    return [task.result() for task in sorted(done, key=lambda task: task.get_name())]


async def completed() -> Any:
    return sorted([await result for result in asyncio.as_completed([chain(f"c{i}") for i in range(5)])])


async def eager() -> Any:
    if hasattr(asyncio, "eager_task_factory"):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    return await asyncio.gather(*(chain(f"c{i}") for i in range(5)))


CHAINS = [f"re re c{i}" for i in range(5)]


@pytest.mark.parametrize("main", [gathered, in_group, waited, completed, eager])
@pytest.mark.parametrize("choose", [all_at_once, one_by_one, *map(in_random_order, range(60))])
def test_answers_in_any_order_give_the_same_result_and_the_same_prompts(main: Any, choose: Any) -> None:
    exchange = FakeExchange(choose)

    result = play(main, exchange)

    assert result == CHAINS
    assert sorted(exchange.prompts) == sorted([f"c{i}" for i in range(5)] + [f"re c{i}" for i in range(5)])
    assert exchange.prompts[:5] == [f"c{i}" for i in range(5)]


def test_all_open_queries_make_one_pause() -> None:
    exchange = FakeExchange()

    play(gathered, exchange)

    assert [len(pause) for pause in exchange.pauses] == [5, 5]


def test_one_answer_lets_one_task_go_on_while_the_others_wait() -> None:
    exchange = FakeExchange(one_by_one)

    play(gathered, exchange)

    assert exchange.pauses[1] == ["c1", "c2", "c3", "c4", "re c0"]


def test_a_semaphore_of_two_over_five_chains_asks_two_two_and_one() -> None:
    async def main() -> None:
        two = asyncio.Semaphore(2)

        async def limited(i: int) -> None:
            async with two:
                await alc.aio.llm(f"c{i}")

        await asyncio.gather(*map(limited, range(5)))

    exchange = FakeExchange()

    play(main, exchange)

    assert exchange.pauses == [["c0", "c1"], ["c2", "c3"], ["c4"]]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 3), st.integers())
def test_prompts_of_a_task_do_not_depend_on_the_order_of_answers(lengths: list[int], width: int, seed: int) -> None:
    async def main() -> list[str]:
        semaphore = asyncio.Semaphore(width)

        async def limited(i: int, length: int) -> str:
            async with semaphore:
                return await chain(f"c{i}", length)

        return await asyncio.gather(*(limited(i, length) for i, length in enumerate(lengths)))

    exchange, again = FakeExchange(in_random_order(seed)), FakeExchange(in_random_order(seed))

    result = play(main, exchange)
    play(main, again)

    assert result == ["re " * length + f"c{i}" for i, length in enumerate(lengths)]
    assert all(len(pause) <= width for pause in exchange.pauses)
    assert (exchange.prompts, exchange.waits) == (again.prompts, again.waits)


# ── asyncio's own tools ───────────────────────────────────────────────────────────────────────────────────


async def locked() -> Any:
    lock, order = asyncio.Lock(), []

    async def one(i: int) -> None:
        async with lock:
            order.append(await alc.aio.llm(str(i)))

    await asyncio.gather(*map(one, range(3)))
    return order


async def event() -> Any:
    ready = asyncio.Event()

    async def asker() -> None:
        await alc.aio.llm("0")
        ready.set()

    task = asyncio.create_task(asker())
    await ready.wait()
    await task
    return "set"


async def queued() -> Any:
    queue: asyncio.Queue[str] = asyncio.Queue(maxsize=1)

    async def fill() -> None:
        for i in range(3):
            await queue.put(await alc.aio.llm(str(i)))
        await queue.put("")

    task = asyncio.create_task(fill())
    result = []
    while item := await queue.get():
        result.append(item)
    await task
    return result


async def generated() -> Any:
    async def answers() -> Any:
        for i in range(3):
            yield await alc.aio.llm(str(i))

    return [answer async for answer in answers()]


async def shielded() -> Any:
    inner = asyncio.create_task(chain("s"))
    outer = asyncio.create_task(awaiting(asyncio.shield(inner)))
    await asyncio.sleep(0)
    outer.cancel()
    return [await inner, (await asyncio.gather(outer, return_exceptions=True))[0].__class__.__name__]


async def awaiting(value: Awaitable[Any]) -> Any:
    return await value


async def grouped_errors() -> Any:
    async def fails() -> None:
        await alc.aio.llm("refuse this")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(chain("beside", 9))
    except* alc.Refused as errors:
        kinds = [type(error).__name__ for error in errors.exceptions]
    return kinds


async def threads() -> Any:
    order: list[str] = []
    await asyncio.gather(*(asyncio.to_thread(order.append, str(i)) for i in range(3)))
    loop = asyncio.get_running_loop()
    order.append(await loop.run_in_executor(None, alc.llm, "3"))
    order.append(await asyncio.to_thread(lambda: asyncio.run(chain("4"))))
    return order


async def failing_thread() -> Any:
    try:
        await asyncio.to_thread(next, iter([]))
    except RuntimeError as exc:
        return str(exc)


def plain() -> Any:
    return [asyncio.run(chain("a")), asyncio.run(chain("b", 1))]


def old_style() -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(chain("a"))
    finally:
        loop.close()


async def blocking() -> Any:
    return await asyncio.gather(chain("a", 1), awaiting(asyncio.sleep(0, alc.llm("b"))))


async def batches() -> Any:
    async def judged(answer: str, item: str) -> str:
        return await alc.aio.llm(f"{item}: {answer}")

    return await alc.aio.parallel(["x", "y"], lambda item: f"ask {item}", post_fn=judged)


async def names() -> Any:
    tasks = [asyncio.create_task(chain("a", 1)) for _ in range(2)]
    await asyncio.wait(tasks)
    return [asyncio.current_task().get_name(), *(task.get_name() for task in tasks)]  # type: ignore[union-attr]  # a task runs this


async def safe() -> Any:
    return [await alc.aio.llm_safe("refuse", "default"), await alc.aio.llm_json("5"), alc.aio.llm_batch.__name__]


async def stage(ctx: dict[str, Any]) -> dict[str, Any]:
    return {"result": await alc.aio.llm(ctx["task"])}


async def refused_stage(ctx: dict[str, Any]) -> dict[str, Any]:
    return {"result": await alc.aio.llm("refuse")}


def piped() -> Any:
    ctx = alc.pipe([stage, refused_stage, stage], {"task": "t"}, on_error="skip")
    return [ctx["result"], *(list(entry)[1] for entry in ctx["pipe_history"])]


async def piped_beside() -> Any:
    pipes = [alc.aio.pipe([stage, lambda ctx: {"result": alc.llm(ctx["task"])}], {"task": name}) for name in "ab"]
    return [ctx["result"] for ctx in await asyncio.gather(*pipes)]


async def in_pool() -> Any:
    with ThreadPoolExecutor(2) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, alc.llm, "a")


async def callback_order() -> Any:
    order: list[int] = []
    loop = asyncio.get_running_loop()
    for i in range(3):
        loop.call_soon_threadsafe(order.append, i)
        loop.call_later(1, order.append, 10 + i)
    loop.call_later(1, order.append, 99).cancel()
    await asyncio.sleep(2)
    return order


TOOLS: dict[Callable[[], Any], Any] = {
    locked: ["re 0", "re 1", "re 2"],
    event: "set",
    queued: ["re 0", "re 1", "re 2"],
    generated: ["re 0", "re 1", "re 2"],
    shielded: ["re re s", "CancelledError"],
    grouped_errors: ["Refused"],
    threads: ["0", "1", "2", "re 3", "re re 4"],
    failing_thread: "function raised StopIteration()",
    plain: ["re re a", "re b"],
    old_style: "re re a",
    blocking: ["re a", "re b"],
    batches: ["re x: re ask x", "re y: re ask y"],
    names: ["Task-1", "Task-2", "Task-3"],
    piped: ["re re t", "result", "error", "result"],
    piped_beside: ["re re a", "re re b"],
    in_pool: "re a",
    callback_order: [0, 1, 2, 10, 11, 12],
    safe: ["default", None, "llm_batch"],
}


@pytest.mark.parametrize(("main", "result"), TOOLS.items(), ids=[main.__name__ for main in TOOLS])
@pytest.mark.parametrize("choose", [all_at_once, one_by_one])
def test_what_asyncio_offers_works_without_a_kernel(main: Any, result: Any, choose: Any) -> None:
    assert play(main, FakeExchange(choose)) == result


@pytest.mark.skipif(not probe({}).seccomp, reason="the kernel has no seccomp")
def test_it_works_in_a_process_that_is_confined_as_an_engine_is() -> None:
    command = [sys.executable, "-m", "tests.worker.engine.python.confined_asyncio"]

    output = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    assert json.loads(output) == {}


def test_a_blocking_call_in_a_task_asks_at_once() -> None:
    exchange = FakeExchange()

    play(blocking, exchange)

    assert exchange.pauses == [["b"], ["a"]]


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_timer_fires_while_a_query_is_open() -> None:
    async def main() -> str:
        try:
            async with asyncio.timeout(60):
                return await alc.aio.llm("slow")
        except TimeoutError:
            return "too late"

    exchange = FakeExchange(nothing)

    result = play(main, exchange)

    assert (result, exchange.waits) == ("too late", [(1, 60)])


def test_wait_for_that_is_answered_in_time_leaves_no_timer() -> None:
    async def main() -> str:
        return await asyncio.wait_for(alc.aio.llm("a"), 60) + await alc.aio.llm("b")

    exchange = FakeExchange()

    play(main, exchange)

    assert exchange.waits == [(1, 60), (1, None)]


def test_sleepers_wake_in_the_order_of_their_times_and_else_of_their_calls() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def sleeper(i: int) -> None:
            await asyncio.sleep(10 - i // 3)
            order.append(i)

        await asyncio.gather(*map(sleeper, range(9)))
        return order

    exchange = FakeExchange()

    result = play(main, exchange)

    assert result == [6, 7, 8, 3, 4, 5, 0, 1, 2]
    assert exchange.waits == [(0, 8), (0, 1), (0, 1)]


def test_a_sleep_of_several_days_is_cut_into_waits() -> None:
    exchange = FakeExchange()

    play(lambda: asyncio.sleep(200_000), exchange)

    assert exchange.waits == [(0, 86_400), (0, 86_400), (0, 27_200)]


def test_a_sleep_of_nan_is_an_error_and_an_endless_one_none() -> None:
    with pytest.raises(ValueError, match="NaN"):
        play(lambda: asyncio.sleep(float("nan")), FakeExchange())

    assert play(lambda: asyncio.wait_for(chain("a", 1), float("inf")), FakeExchange()) == "re a"


def test_a_busy_loop_does_not_keep_a_timer_from_firing() -> None:
    async def main() -> str:
        try:
            async with asyncio.timeout(1):
                while True:
                    exchange.clock_s += 0.01
                    await asyncio.sleep(0)
        except TimeoutError:
            return "too late"

    exchange = FakeExchange()

    assert play(main, exchange) == "too late"


# ── cancellation ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_crossing", [False, True])
def test_the_prompt_of_a_cancelled_task_is_withdrawn_and_the_numbers_of_others_hold(is_crossing: bool) -> None:
    async def main() -> str:
        try:
            await asyncio.wait_for(alc.aio.llm("slow"), 1)
        except TimeoutError:
            exchange.choose = lambda numbers: numbers
        return await chain("next")

    exchange = FakeExchange(nothing)
    exchange.is_crossing = is_crossing

    result = play(main, exchange)

    assert (result, exchange.withdrawn) == ("re re next", ["slow"])
    assert exchange.pauses == [["slow"], ["next"], ["re next"]]


def test_prompts_that_lost_a_race_are_withdrawn_when_their_tasks_are_cancelled() -> None:
    async def main() -> str:
        tasks = [asyncio.create_task(alc.aio.llm(name)) for name in "abc"]
        _, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        seen.append(await alc.aio.llm("while they run"))
        for task in late:
            task.cancel()
        return await chain("next", 1)

    seen: list[str] = []
    exchange = FakeExchange(lambda numbers: numbers[-1:])

    assert (play(main, exchange), seen) == ("re next", ["re while they run"])
    assert exchange.pauses == [["a", "b", "c"], ["a", "b", "while they run"], ["next"]]


def test_a_batch_is_withdrawn_without_the_query_that_was_answered() -> None:
    async def main() -> str:
        try:
            async with asyncio.timeout(5):
                await alc.aio.llm_batch([{"prompt": "a"}, {"prompt": "b"}])
        except TimeoutError:
            exchange.choose = all_at_once
        return await chain("next", 1)

    answers = iter([[1], []])
    exchange = FakeExchange(lambda numbers: next(answers))

    assert (play(main, exchange), exchange.withdrawn) == ("re next", ["a"])


def test_a_task_that_is_cancelled_before_the_wait_asks_nothing() -> None:
    async def main() -> None:
        task = asyncio.create_task(alc.aio.llm("never"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await alc.aio.llm("later")

    exchange = FakeExchange()

    play(main, exchange)

    assert exchange.prompts == ["later"]


def test_answers_to_a_loop_that_was_closed_are_dropped() -> None:
    def main() -> str:
        loop = asyncio.new_event_loop()
        task = loop.create_task(alc.aio.llm("left"))
        loop.run_until_complete(asyncio.sleep(1))
        loop.close()
        assert not task.done()
        exchange.choose = all_at_once
        return asyncio.run(chain("next", 1))

    exchange = FakeExchange(nothing)

    result = play(main, exchange)

    assert (result, exchange.pauses) == ("re next", [["left"], ["next"]])


def test_tasks_that_are_left_at_the_end_are_cancelled() -> None:
    async def main() -> str:
        asyncio.get_running_loop().create_task(left())
        await asyncio.sleep(0)
        return "done"

    async def left() -> None:
        try:
            await alc.aio.llm("left")
        finally:
            ended.append("left")

    ended: list[str] = []

    assert play(main, FakeExchange()) == "done"
    assert ended == ["left"]


@given(st.integers(0, 2**16))
def test_generators_that_are_left_at_the_end_are_closed_in_the_order_of_their_start(junk: int) -> None:
    async def generator(i: int) -> Any:
        try:
            yield i
        finally:
            closed.append(i)

    async def main() -> None:
        for source in left:
            await anext(source)

    kept = [object() for _ in range(junk)]
    closed: list[int] = []
    left = [generator(i) for i in range(9)]

    play(main, FakeExchange())

    assert closed == list(range(9))
    del kept


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deadlock_is_an_error_that_names_the_tasks() -> None:
    async def main() -> None:
        await asyncio.gather(asyncio.Event().wait(), asyncio.Queue[str]().get())

    with pytest.raises(alc.Error, match=r"no task can ever go on.*\(Task-1.*, Task-2.*\)"):
        play(main, FakeExchange())


def test_a_deadlock_beside_an_abandoned_query_is_an_error() -> None:
    async def main() -> None:
        await asyncio.wait({asyncio.create_task(alc.aio.llm("slow"))}, timeout=1)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.Event().wait()

    with pytest.raises(alc.Error, match="no task can ever go on"):
        play(main, FakeExchange(nothing))


def test_a_refusal_of_the_keeper_reaches_only_the_task_that_asked_too_much() -> None:
    async def main() -> Any:
        return await asyncio.gather(*(alc.aio.llm(str(i)) for i in range(4)), return_exceptions=True)

    *answers, last = play(main, FakeExchange(budget=3))

    assert answers == ["re 0", "re 1", "re 2"]
    assert "budget_exceeded" in str(last)


def test_a_blocking_pipe_of_coroutines_in_a_coroutine_names_the_other_pipe() -> None:
    async def main() -> Any:
        return alc.pipe([stage], {"task": "t"})

    with pytest.raises(alc.Error, match=r"write await alc\.aio\.pipe"):
        play(main, FakeExchange())


KERNEL: dict[str, Callable[[], Any]] = {
    "create_connection": lambda: asyncio.open_connection("localhost", 80),
    "create_server": lambda: asyncio.start_server(lambda _reader, _writer: None, "localhost", 80),
    "subprocess_exec": lambda: asyncio.create_subprocess_exec("true"),
    "subprocess_shell": lambda: asyncio.create_subprocess_shell("true"),
    "add_signal_handler": lambda: asyncio.sleep(0, asyncio.get_running_loop().add_signal_handler(2, print)),
    "run_coroutine_threadsafe": lambda: asyncio.run_coroutine_threadsafe(chain("a"), asyncio.get_running_loop()),
    "getaddrinfo": lambda: asyncio.get_running_loop().getaddrinfo("localhost", 80),
}


@pytest.mark.parametrize("name", KERNEL)
def test_what_needs_a_kernel_fails_with_a_sentence(name: str) -> None:
    async def main() -> None:
        await KERNEL[name]()

    with pytest.raises(alc.Error, match=rf"asyncio: {name} needs .* alc\.parallel .* alc\.aio\.llm"):
        play(main, FakeExchange())


def test_an_exception_that_nobody_awaits_is_logged() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    exchange = FakeExchange()

    play(main, exchange)

    assert "ZeroDivisionError: division by zero" in exchange.logged[0]


def test_a_name_that_does_not_wait_says_where_it_is() -> None:
    with pytest.raises(AttributeError, match=r"the others are called as alc\.log"):
        alc.aio.log  # type: ignore[attr-defined]  # noqa: B018


@given(st.integers(0, 2**16), st.integers(2, 20))
def test_sets_of_tasks_have_one_order(junk: int, size: int) -> None:
    async def main() -> list[str]:
        tasks = {asyncio.create_task(chain(str(i))) for i in range(size)} | {asyncio.gather(chain("g"))}
        order = [task.get_name() if isinstance(task, asyncio.Task) else "gather" for task in tasks]
        await asyncio.gather(*tasks)
        return order

    kept = [object() for _ in range(junk)]

    assert play(main, FakeExchange()) == [*(f"Task-{i}" for i in range(2, size + 2)), "gather"]
    del kept


def test_without_a_session_asyncio_is_as_it_was() -> None:
    play(gathered, FakeExchange())

    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert asyncio.run(main()) == "asyncio.unix_events"
