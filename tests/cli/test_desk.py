"""A strategy in Python outside an engine: `python strategy.py`, alc.Model, the fixtures of pytest."""

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import alc
from alc.desk.model import NoAnswer
from alc.desk.replay import replay
from algocline_mcp.config.home import Home

ROOT = Path(__file__).parents[2]
PANEL = ROOT / "examples" / "panel.py"
TEST_OF_PANEL = """
import importlib.util, alc
spec = importlib.util.spec_from_file_location("panel", {path!r})
panel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(panel)

def test_panel(model):
    model.answers["cost"] = "no, dear"
    model.default = "yes"
    assert panel.run({{"task": "Ship?"}})["answer"] == "yes"
    assert len(model.prompts) == 4
"""


def _python(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )


def test_a_model_answers_by_what_a_prompt_contains_and_keeps_the_prompts() -> None:
    with alc.use(alc.Model({"nurse": "no 2", "doctor": lambda prompt: prompt.upper()}, default="yes 8")) as model:
        answers = alc.parallel(["nurse", "doctor", "guard"], lambda role: f"As {role}")

    assert answers == ["no 2", "AS DOCTOR", "yes 8"]
    assert model.prompts == ["As nurse", "As doctor", "As guard"]


def test_standard_input_is_a_value_or_the_answers(tmp_path: Path) -> None:
    strategy = tmp_path / "one.py"
    strategy.write_text("import alc\n\ndef run(ctx):\n    return alc.llm(ctx['text'])\n\nalc.main(run)\n")

    answered = _python(str(strategy), "text=@-", "--exec", "cat", stdin="What?\n")
    refused = _python(str(strategy), "text=@-", stdin="What?\n")

    assert (answered.returncode, answered.stdout) == (0, "What?\n"), answered.stderr
    assert refused.returncode == 2
    assert "text=@- takes standard input, which would have to give the answers too" in refused.stderr


def test_a_missing_answer_is_raised_also_where_the_strategy_caught_it() -> None:
    def strategy() -> None:
        with alc.use(alc.Model({"a": "1"})), suppress(Exception):
            alc.llm("b")

    with pytest.raises(NoAnswer, match="no answer to 'b'"):
        strategy()


def test_a_refused_prompt_raises_with_its_reason() -> None:
    with alc.use(alc.Model(default=alc.Refused("x", "not allowed"))), pytest.raises(alc.Refused) as caught:
        alc.llm("anything")

    assert caught.value.reason == "not allowed"


def test_coroutines_run_under_the_ordinary_loop() -> None:
    async def run() -> list[str]:
        return list(await asyncio.gather(*(alc.aio.llm(f"n{i}") for i in range(3))))

    with alc.use(alc.Model({"n0": "a", "n1": "b"}, default="c")):
        answers = asyncio.run(run())

    assert answers == ["a", "b", "c"]


def test_state_is_in_memory_and_the_environment_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALC_TEST_DESK", "here")

    with alc.use(alc.Model()):
        alc.state.set("k", [1])
        seen: list[Any] = [alc.state.get("k"), alc.state.has("x"), alc.state.incr("n", 2), alc.state.set_nx("k", 2)]
        seen += [alc.state.update("k", lambda v: [*v, 2]), alc.state.keys(), alc.state.delete("k"), alc.state.keys()]
        seen += [alc.env.ALC_TEST_DESK, alc.budget_remaining(), alc.stats.llm_calls()]

    assert seen == [[1], False, 2.0, False, [1, 2], ["k", "n"], True, ["n"], "here", None, 0]


def test_what_needs_an_engine_says_so() -> None:
    with alc.use(alc.Model()):
        for call in (lambda: alc.card.get("c"), lambda: alc.call("other"), lambda: alc.fork(["a"], {})):
            with pytest.raises(alc.Error, match=r"needs an engine.*alc run"):
                call()


def test_without_a_model_the_error_names_main_and_use() -> None:
    with pytest.raises(alc.Error, match=r"alc\.main\(run\).*alc\.use"):
        alc.llm("anything")


@pytest.mark.parametrize("way", ["exec", "answers", "terminal"])
def test_the_example_runs_as_a_program(way: str, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(["yes", "no", "yes", "time"]))
    options = {"exec": ["--exec", "cat >&2; echo yes"], "answers": ["--answers", str(answers)], "terminal": []}[way]

    ended = _python(str(PANEL), "task=Ship on Friday?", *options, stdin="yes\n\nno\n\nyes\n\ntime\n\n")

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["answer"] == "yes"
    assert "Ship on Friday?" in ended.stderr or way == "answers"


def test_a_missing_answer_of_a_program_is_one_sentence() -> None:
    ended = _python(str(PANEL), "task=x", stdin="yes\n\n")

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "Error: no answer to: As the cost reviewer, answer yes or no first: x"


@pytest.mark.slow
def test_the_example_runs_in_an_engine(home: Home) -> None:
    ended = _python("-m", "algocline_mcp", "run", str(PANEL), "task=x", "--exec", "echo yes")

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"answer": "yes", "share": 1.0, "doubt": "yes"}


@pytest.mark.slow
@pytest.mark.parametrize("head", ["def", "async def"])
def test_main_without_its_guard_does_nothing_in_an_engine(home: Home, tmp_path: Path, head: str) -> None:
    strategy = tmp_path / "unguarded.py"
    strategy.write_text(f"import alc\n{head} run(ctx):\n    return alc.llm(ctx['task'])\nalc.main(run)\n")

    in_engine = _python("-m", "algocline_mcp", "run", str(strategy), "task=x", "--exec", "echo yes")
    at_desk = _python(str(strategy), "task=x", "--exec", "echo yes")

    assert (in_engine.stdout, at_desk.stdout) == ("yes\n", "yes\n"), (in_engine.stderr, at_desk.stderr)


def test_main_does_nothing_while_a_model_answers() -> None:
    with alc.use(alc.Model()):
        alc.main(lambda ctx: alc.llm("not asked"))


@pytest.mark.slow
def test_the_fixture_model_answers_in_a_test(tmp_path: Path) -> None:
    (tmp_path / "test_panel.py").write_text(TEST_OF_PANEL.format(path=str(PANEL)))

    ended = _python("-m", "pytest", "-q", "-p", "alc.pytest_plugin", "-p", "no:cacheprovider", str(tmp_path))

    assert ended.returncode == 0, ended.stdout


def test_an_engine_loads_nothing_of_the_terminal() -> None:
    ended = _python(
        "-c", "import sys, alc; print([m for m in ('click', 'pytest', 'prompt_toolkit') if m in sys.modules])"
    )

    assert ended.stdout == "[]\n"


@pytest.mark.slow
def test_replay_runs_a_strategy_in_two_engines(home: Home) -> None:
    replayed = replay(PANEL, {"task": "Ship?"}, {"cost": "no"}, default="yes")

    assert replayed.result == {"answer": "yes", "share": 2 / 3, "doubt": "yes"}
    assert len(replayed.prompts) == 4


@pytest.mark.slow
def test_replay_shows_the_first_prompt_that_differs(home: Home, tmp_path: Path) -> None:
    strategy = tmp_path / "addresses.py"
    strategy.write_text("import alc\ndef run(ctx):\n    return [alc.llm(f'{n} {id(ctx)}') for n in range(3)]\n")

    with pytest.raises(AssertionError, match=r"(?s)differs.*recorded: .*replayed: "):
        replay(strategy, {}, default="x")


@pytest.mark.slow
def test_replay_names_the_failure_of_a_strategy(home: Home, tmp_path: Path) -> None:
    strategy = tmp_path / "broken.py"
    strategy.write_text("def run(ctx):\n    return ctx['missing']\n")

    with pytest.raises(AssertionError, match=r"the strategy ended in error: .*missing"):
        replay(strategy)
