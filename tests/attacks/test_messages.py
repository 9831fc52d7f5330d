"""An engine that has escaped from Lua speaks to its keeper as it likes: the session ends with a clear error, never the
keeper, and another session on the same server goes on meanwhile."""

from pathlib import Path

import pytest

from algocline_mcp.config.limits import KIB, MIB, Limits
from algocline_mcp.history.new_session import Strategy
from algocline_mcp.pool.dispatch import stop_via_pool
from algocline_mcp.session.state import Phase
from tests.attacks.in_process import scene
from tests.rig.rig import KEEPER_DESCRIPTORS, Rig, descriptors, run, say, until
from tests.rig.undisturbed import undisturbed

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("escaped")]

PYTHON = "--python\n"
SHORT_S = 5.0  # a call that waits as long is not answered by a session that hangs
ASK = "{'op': 'ask', 'queries': [{'prompt': 'p', 'max_tokens': 5}]}"
TIME = "{'op': 'call', 'name': 'time', 'args': []}"
LOG = "{'op': 'log', 'level': 'info', 'message': 'x'}"


async def test_control_engine_that_keeps_the_protocol_comes_to_its_end(rig: Rig) -> None:
    code = f"send({TIME})\nassert 'result' in json.loads(receive())\nsend({LOG}, {ASK})\nresult = json.loads(receive())"
    async with rig.pool() as pool:
        sid, asked, _ = await run(pool, PYTHON + code)
        end = (await say(pool, sid, "q-0", "A")).result

    assert asked["prompt"] == "p"
    assert end["result"] == {"answers": [{"response": "A"}]}


BREACHES: dict[str, tuple[str, str]] = {
    "message while it should wait": (f"send({ASK}, {LOG})", "sent a message while it should wait"),
    "calls without reading a reply": (
        f"for _ in range(50_000): send({TIME})",
        "sent a message before it read the reply to the last one",
    ),
    "unknown op of 8 MiB": ("send({'op': 'x' * (8 << 20)})", "sent unknown op 'xxx"),
    "option of 8 MiB": (
        "send({'op': 'ask', 'queries': [{'prompt': 'p', 'max_tokens': 5, 'y' * (8 << 20): []}]})",
        "yy",
    ),
    "function of 8 MiB": ("send({'op': 'call', 'name': 'n' * (8 << 20), 'args': []})", "with 8388608 characters and 0"),
    "30,000 arguments": ("send({'op': 'call', 'name': 'time', 'args': ['x' * 100] * 30_000})", "and 30000 arguments"),
    "level of 8 MiB": ("send({'op': 'log', 'level': 'x' * (8 << 20), 'message': 'm'})", "a bad 'level'"),
    "log line of 8 MiB": (
        "send({'op': 'log', 'level': 'info', 'message': 'x' * (8 << 20)})",
        "message of 8388608 chara",
    ),
    "progress of 8 MiB": (
        "send({'op': 'progress', 'step': 1, 'total': 2, 'message': 'x' * (8 << 20)})",
        "of 8388608 char",
    ),
    "10,000 warnings": ("send({'op': 'end', 'error': 'e', 'warnings': ['w'] * 10_000})", "sent over 64 warnings"),
    "line over the limit": ("send(b'x' * (17 << 20))", "line longer than 16777216 bytes"),
    "line without an end": ("while True: sock.sendall(b'x' * 65536)", "line longer than 16777216 bytes"),
    "empty lines": ("send(b'\\n' * 1_000_000)", "malformed request"),
    "noise": ("send(os.urandom(1 << 20))", "malformed request"),
    "deep nesting": ("send(b'[' * 1_000_000 + b'\\n')", "malformed request: nested too deeply"),
    "NaN": ('send(b\'{"op":"end","result":NaN}\\n\')', "NaN is not JSON"),
    "no object": ("send(b'[1]\\n')", "expected an object"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BREACHES)
async def test_breach_of_the_protocol_is_a_crash_loop_with_its_reason(rig: Rig, name: str) -> None:
    code, reason = BREACHES[name]
    async with rig.pool(line_bytes=16 * MIB) as pool, undisturbed(pool):
        sid, stuck, _ = await run(pool, f"{PYTHON}{code}\npause()")
        if stuck["status"] == "needs_response":  # it was asked before the breach was read
            stuck = (await say(pool, sid, "q-0", "A")).result
        peak = peak_bytes(rig.keeper(sid))
        size = rig.journal(sid).stat().st_size
        await stop_via_pool(pool, sid, "cancel")

    assert (stuck["status"], stuck["error_code"]) == ("error", "crash_loop"), stuck
    assert reason in stuck["error"]
    assert len(stuck["error"]) < 500
    assert size < 64 * KIB
    assert peak < 200 * MIB
    assert rig.answers(sid) == []


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("VmHWM:"))


FLOODS = {
    "log lines": 'line = b\'{"op":"log","level":"info","message":"x"}\\n\' * 1000',
    "progress": 'line = b\'{"op":"progress","step":1,"total":2}\\n\' * 1000',
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
async def test_flood_of_messages_uses_up_the_processor_time_of_its_step(rig: Rig, name: str) -> None:
    """The engine itself spends a hundredth of what its keeper does."""
    async with rig.pool(step_cpu_s=0) as pool, undisturbed(pool):
        sid, stuck, _ = await run(pool, f"{PYTHON}{FLOODS[name]}\nwhile True: sock.sendall(line)")
        size = rig.journal(sid).stat().st_size
        await stop_via_pool(pool, sid, "cancel")

    assert (stuck["status"], stuck["error_code"]) == ("error", "crash_loop")
    assert "used up the processor time" in stuck["error"]
    assert size < 4 * MIB


@pytest.mark.slow
async def test_error_of_many_megabytes_is_cut_to_what_a_line_holds(rig: Rig) -> None:
    code = 'send(b\'{"op":"end","error":"\' + \'\\u00e9\'.encode() * (12 << 20) + b\'"}\\n\')\npause()'
    async with rig.pool() as pool, undisturbed(pool):
        end = (await run(pool, PYTHON + code)).result

    assert end["status"] == "error"
    assert len(end["error"]) == 4 << 20


@pytest.mark.parametrize("args", ["[['A']]", "[{}]", "[None]", "[]", "['A', 'B']"])
async def test_call_with_arguments_of_another_type_is_an_error_of_the_call(rig: Rig, args: str) -> None:
    """A variable whose name is a list ended the keeper, six times for one call of the host."""
    code = f"send({{'op': 'call', 'name': 'env', 'args': {args}}})\nresult = receive().decode()"
    async with rig.pool() as pool:
        end = (await run(pool, PYTHON + code, ctx={"env": {"inject": {"A": "b"}}})).result

    assert end["status"] == "completed"


async def test_messages_behind_the_end_are_not_read(rig: Rig) -> None:
    code = f"send({{'op': 'end', 'result': 1}}, {{'op': 'end', 'result': 2}}, {ASK})\npause()"
    async with rig.pool() as pool:
        end = (await run(pool, PYTHON + code)).result

    assert (end["status"], end["result"]) == ("completed", 1)


async def test_engine_that_reads_no_more_is_noticed_when_it_is_answered(rig: Rig) -> None:
    """It is no event for `poll`: without a shutdown of the other end the session would hang for ALC_ENGINE_SILENT_S."""
    code = f"send({ASK})\nsock.shutdown(socket.SHUT_RD)\npause()"
    async with rig.pool(strikes=1) as pool:
        sid, *_ = await run(pool, PYTHON + code)
        stuck = (await say(pool, sid, "q-0", "A", wait_s=SHORT_S)).result
        await stop_via_pool(pool, sid, "cancel")

    assert stuck["error_code"] == "crash_loop"


async def test_descriptors_that_an_engine_passes_do_not_stay_with_its_keeper(rig: Rig) -> None:
    code = f"""
try:
    for _ in range(100): socket.send_fds(sock, [json.dumps({LOG}).encode() + b"\\n"], [0, 1, 2])
except OSError:
    pass
send({ASK})
receive()
"""
    async with rig.pool() as pool:
        sid, asked, _ = await run(pool, PYTHON + code)
        keeper = rig.keeper(sid)
        # The connection of the run goes a moment later.
        await until(lambda: len(descriptors(keeper)) == KEEPER_DESCRIPTORS)
        await say(pool, sid, "q-0", "A")

    assert asked["prompt"] == "p"


def test_engine_that_sleeps_and_sends_little_ends_with_the_wall_clock_of_its_step(tmp_path: Path) -> None:
    """It uses some processor time, so it is not silent, and too little to use up that of its step in a week."""
    with scene(tmp_path, Limits(strikes=2), Strategy("")) as played:
        runner = played.runner
        for _ in range(2):
            (engine,) = runner.engines.by_stream.values()
            allowed_s = engine.ends_at - engine.step_began
            runner.process_due()
            played.send("", b'{"op":"log","level":"info","message":"m"}\n')
            assert runner.engines.is_current(engine)
            assert runner.due is not None
            assert runner.due <= engine.ends_at
            engine.ends_at = engine.step_began
            runner.process_due()

        assert allowed_s == pytest.approx(20 * (Limits().step_cpu_s + 1))
        assert runner.session.phase is Phase.STUCK
        assert runner.session.crash is not None
        assert "20 times the processor time of a step" in runner.session.crash


@pytest.mark.parametrize(
    ("args", "sentence"),
    [("['k', 1, None]", "each a list"), ("['k', {'a': 1}, []]", "each a list"), ("['k', [], 'x']", "each a list")],
)
async def test_swap_of_what_is_no_list_is_an_error_of_the_call(rig: Rig, args: str, sentence: str) -> None:
    """It ended the keeper."""
    code = f"send({{'op': 'call', 'name': 'state.swap', 'args': {args}}})\nresult = receive().decode()"
    async with rig.pool() as pool:
        end = (await run(pool, PYTHON + code)).result

    assert sentence in end["result"]


async def test_increment_by_more_than_every_float_is_an_error_of_the_call(rig: Rig) -> None:
    code = "send({'op': 'call', 'name': 'state.incr', 'args': ['k', 10 ** 400, 0]})\nresult = receive().decode()"
    async with rig.pool() as pool:
        end = (await run(pool, PYTHON + code)).result

    assert "would leave the range of numbers" in end["result"]
