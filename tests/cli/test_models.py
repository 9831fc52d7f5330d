"""`alc run --model`, `--record`, `--answers` and `--watch`, with a real server and an endpoint on the loopback."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from tests.peers.model_endpoint import KEY, ModelEndpoint
from tests.rig.processes import until
from tests.rig.stdio_home import LIMIT_S, StdioHome

ROUNDS = """
local drafts = alc.parallel({1, 2, 3, 4, 5}, function(n) return "[429] draft " .. n end)
alc.phase("judging")
alc.progress(1, 2, "half")
alc.log("info", "judged")
return alc.llm("[cut] best of " .. #drafts, {system = "judge", max_tokens = 7})
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ModelEndpoint]:
    with ModelEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def model(endpoint: ModelEndpoint, stdio_home: StdioHome) -> list[str]:
    """The options that choose the endpoint."""
    endpoint.requests.clear()
    endpoint.served.clear()
    endpoint._seen.clear()
    endpoint.release.clear()
    stdio_home.environment["OPENAI_API_KEY"] = KEY
    return ["--model", "openai:m", "--base-url", f"{endpoint.address}/v1"]


@pytest.mark.slow
def test_a_model_answers_a_whole_strategy_and_its_answers_serve_again(
    stdio_home: StdioHome, tmp_path: Path, endpoint: ModelEndpoint, model: list[str]
) -> None:
    code, record = str(tmp_path / "rounds.lua"), str(tmp_path / "a.jsonl")
    Path(code).write_text(ROUNDS)

    done = stdio_home.alc("run", code, *model, "--jobs", "3", "--record", record)
    assert (done.returncode, done.stdout) == (0, "<[cut] best of 5>\n"), done.stderr
    assert sorted(endpoint.served) == sorted([*(f"[429] draft {n}" for n in range(1, 6)), "[cut] best of 5"])
    assert len(endpoint.requests) == 12  # each failed once, as the endpoint wants it

    again = stdio_home.alc("run", code, "--answers", record)
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr
    assert len(endpoint.requests) == 12
    left = [path for path in stdio_home.root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert left == []
    assert KEY not in done.stderr + Path(record).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_after_the_end_of_the_command_continue_asks_only_what_has_no_answer(
    stdio_home: StdioHome, tmp_path: Path, endpoint: ModelEndpoint, model: list[str], end: signal.Signals
) -> None:
    code = tmp_path / "slow.lua"
    code.write_text("""
        local answers = alc.parallel({"a", "b", "[slow] c", "[slow] d", "e"}, function(text) return text end)
        return table.concat(answers, " ")
    """)
    command = [sys.executable, "-m", "algocline_mcp", "run", str(code), *model, "--jobs", "3"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=stdio_home.environment) as running:
        endpoint.wait_for(5)  # a, b and e are answered, and their answers handed in before anything else
        _wait_for_answers(stdio_home, 3)
        running.send_signal(end)
        assert running.stderr is not None
        said = running.stderr.read()
        running.wait(LIMIT_S)
    endpoint.release.set()
    if end == signal.SIGINT:
        assert (running.returncode, "alc continue p-" in said) == (130, True)

    done = stdio_home.alc("continue", *model)
    assert (done.returncode, done.stdout) == (0, "<a> <b> <[slow] c> <[slow] d> <e>\n"), done.stderr
    asked = [request["messages"][-1]["content"] for request in endpoint.requests]
    assert sorted(asked) == sorted(["a", "b", "e", *2 * ["[slow] c", "[slow] d"]])


@pytest.mark.slow
@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_model_corrects_an_answer_that_does_not_fit(
    stdio_home: StdioHome, tmp_path: Path, endpoint: ModelEndpoint, model: list[str], vendor: str
) -> None:
    code = tmp_path / "typed.py"
    code.write_text(
        "import alc\n\nSCHEMA = {'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'required': ['a']}\n\n\n"
        "def run(ctx):\n    return alc.llm_json('A?', schema=SCHEMA)['a']\n"
    )
    stdio_home.environment["ANTHROPIC_API_KEY"] = KEY
    address = f"{endpoint.address}/v1" if vendor == "openai" else endpoint.address
    endpoint.answer = lambda text: '{"a": 1}' if "answer.a is missing" in text else "{}"
    try:
        done = stdio_home.alc("run", str(code), "--model", f"{vendor}:m", "--base-url", address)
    finally:
        endpoint.answer = "<{}>".format

    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert len(endpoint.requests) == 2


def _wait_for_answers(home: StdioHome, count: int) -> None:
    def are_on_disk() -> bool:
        journals = [path.read_bytes() for path in home.root.rglob("p-*.journal")]
        return sum(journal.count(b'"response":') for journal in journals) >= count

    anyio.run(until, are_on_disk, LIMIT_S)


@pytest.mark.slow
def test_watch_runs_again_when_the_file_is_saved_and_asks_only_what_is_new(
    stdio_home: StdioHome, tmp_path: Path, endpoint: ModelEndpoint, model: list[str]
) -> None:
    code = tmp_path / "w.lua"
    code.write_text('return alc.llm("one") .. alc.llm("one") .. alc.llm("two")')
    command = [sys.executable, "-m", "algocline_mcp", "run", str(code), *model, "--watch"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, env=stdio_home.environment, **pipes) as running:  # type: ignore[call-overload]  # options by **
        _read_until(running, "watching")
        code.write_text('return alc.llm("two") .. alc.llm("three") .. alc.llm("one")')
        shown = _read_until(running, "watching")
        running.send_signal(signal.SIGINT)
        assert running.wait(LIMIT_S) == 0
    assert "<two><three><one>\n" in shown
    assert [request["messages"][-1]["content"] for request in endpoint.requests] == ["one", "one", "two", "three"]


def _read_until(running: "subprocess.Popen[str]", words: str) -> str:
    shown = ""
    assert running.stdout is not None
    for line in running.stdout:
        shown += line
        if words in line:
            return shown
    raise AssertionError(f"it ended before it wrote {words!r}: {shown}")


@pytest.mark.slow
def test_at_a_terminal_the_run_is_shown_while_it_goes_on_and_summed_up(
    stdio_home: StdioHome, tmp_path: Path, endpoint: ModelEndpoint, model: list[str]
) -> None:
    code, prices = tmp_path / "rounds.lua", tmp_path / "prices.json"
    code.write_text(ROUNDS.replace("[429]", "[slow]"))
    prices.write_text(json.dumps({"openai:m": {"input": 1000, "output": 0}}))
    command = [sys.executable, "-m", "algocline_mcp", "run", str(code), *model, "--prices", str(prices)]
    shown = {}
    for option in ([], ["--quiet"]):
        master, terminal = pty.openpty()
        environ = {**stdio_home.environment, "TERM": "xterm-256color", "COLUMNS": "120"}
        with subprocess.Popen([*command, *option], stdout=subprocess.PIPE, stderr=terminal, env=environ) as running:
            os.close(terminal)
            shown[len(option)] = _all_of(master, "answering q-0", endpoint.release.set)
            assert running.stdout is not None
            assert (running.stdout.read(), running.wait(LIMIT_S)) == (b"<[cut] best of 5>\n", 0)
        os.close(master)

    assert "answering q-0" in shown[0]
    assert "6 prompts in 2 rounds · 6 answers · 600 tokens in, 42 out · $0.60 · " in shown[0]
    assert "judging" in shown[0]
    lines = [line for line in shown[1].splitlines() if line]
    assert [lines[0].startswith("alc: session p-"), *lines[1:]] == [True, "judged"]


def _all_of(master: int, words: str, once_shown: Callable[[], None]) -> str:
    """All that a terminal shows. Calls `once_shown` when it has shown `words`."""
    content = b""
    while select.select([master], [], [], LIMIT_S)[0]:
        try:
            content += os.read(master, 1 << 16)
        except OSError:  # the other end is closed
            break
        if words.encode() in content:
            once_shown()
    return content.decode()
