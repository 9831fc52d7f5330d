"""The test library of packages in Python."""

from types import SimpleNamespace
from typing import Any

import pytest

from algocline_mcp.worker.engine.process import Start
from algocline_mcp.worker.engine.python.exchange import Exchange
from algocline_mcp.worker.engine.python.session import Session, running
from algocline_mcp.worker.engine.python.specs import alc_spec


def report_of(*lines: str) -> dict[str, Any]:
    """Of a spec whose package asks by alc.llm. A prompt that reaches the keeper fails the test."""
    exchange = Exchange(SimpleNamespace(), 1000)
    with running(Session(Start("", "spec", "{}", 1, 0.0), exchange)):
        report = alc_spec.run({"source": "import alc\n" + "\n".join(lines), "chunk": "spec/one.py"})
    assert "ask" not in vars(exchange)
    return report


def test_tests_are_counted_and_a_failure_names_its_line_and_what_it_says() -> None:
    report = report_of(
        "def test_passes(): assert True",
        "def helper(): 1 / 0",
        "def test_fails():",
        "    assert 1 == 2",
        "def test_breaks(): helper()",
        "test_no_function = 1",
    )

    assert (report["passed"], report["failed"], report["pending"]) == (1, 2, 0)
    assert report["failures"] == [
        {
            "name": "test_fails",
            "error": "spec/one.py:5: AssertionError: the values differ\n    expected 2\n    but was  1\n"
            "    assert 1 == 2",
        },
        {"name": "test_breaks", "error": "spec/one.py:3: ZeroDivisionError: division by zero\n    def helper(): 1 / 0"},
    ]


def test_a_model_answers_by_a_part_of_the_prompt_then_by_default_and_keeps_the_prompts() -> None:
    report = report_of(
        "def test_asks(model):",
        "    model.answers = {'first': 'A', 'again': ['B', 'C']}",
        "    model.default = 'D'",
        "    answers = [alc.llm(prompt) for prompt in ('the first', 'again', 'again', 'again', 'other')]",
        "    assert answers == ['A', 'B', 'C', 'D', 'D'], answers",
        "    assert alc.llm_batch([{'prompt': 'first'}, {'prompt': 'x'}]) == ['A', 'D']",
        "    assert model.prompts[0] == 'the first'",
        "def test_begins_with_a_new_model(model): assert model.prompts == [] and model.answers == {}",
    )

    assert (report["passed"], report["failures"]) == (2, [])


@pytest.mark.parametrize("argument", ["model", ""])
def test_a_prompt_without_an_answer_is_a_failure(argument: str) -> None:
    report = report_of(f"def test_asks({argument}): alc.llm('What?')")

    (failure,) = report["failures"]
    assert "no answer to the prompt 'What?': set model.answers or model.default" in failure["error"]


def test_answers_to_queries_of_a_coroutine_are_numbered_over_all_calls() -> None:
    model = alc_spec.Model()
    model.default = "D"

    first = model.ask_any([{"prompt": "a"}, {"prompt": "b"}], None)
    second = model.ask_any([{"prompt": "c"}], None)

    assert [number for number, _ in first["answered"] + second["answered"]] == [0, 1, 2]
    assert model.ask_any([], 1.0) == {"answered": [], "woke": True}


def test_an_equality_that_fails_shows_the_lines_that_differ() -> None:
    report = report_of(
        "def test_long():",
        "    a = {'items': ['item %d' % i for i in range(30)], 'text': 'x' * 70}",
        "    b = dict(a, items=a['items'][:-1] + ['other'])",
        "    assert a == b",
        "def test_same(): assert {'a': 1} == {'a': 1.0}",
        "def test_with_a_text(): assert 1 == 2, 'why'",
        "def test_chain(): assert 1 == 1 == 2",
    )

    errors = [failure["error"] for failure in report["failures"]]
    assert (report["passed"], len(errors)) == (1, 3)
    changed = [line.split() for line in errors[0].splitlines() if line.startswith(("    -  ", "    +  "))]
    assert changed == [["-", "'other'],"], ["+", "'item", "29'],"]]
    assert errors[1] == "spec/one.py:7: AssertionError: why\n    def test_with_a_text(): assert 1 == 2, 'why'"
    assert errors[2].startswith("spec/one.py:8: AssertionError\n")


def test_a_model_refuses_computes_and_has_a_list_by_default() -> None:
    report = report_of(
        "def test_asks(model):",
        "    model.answers = {'bad': alc.Refused('no', 'too hard'), 'loud': lambda prompt: prompt.upper()}",
        "    model.default = ['one', 'two']",
        "    assert [alc.llm(p) for p in ('x', 'y', 'loud')] == ['one', 'two', 'LOUD']",
        "    assert alc.refused(alc.llm_batch([{'prompt': 'bad'}])[0]) == 'too hard'",
        "    alc.llm('more')",
    )

    (failure,) = report["failures"]
    assert "no answer to the prompt 'more'" in failure["error"]


TURNS = "[{'prompt': 'one', 'response': 'A'}, {'prompt': 'two A', 'refuse': 'no'}]"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("alc.llm('one')", "1 of the 2 recorded prompts were not asked"),
        ("alc.llm('One')", "prompt 1 differs from the recorded one\n    expected 'one'\n    but was  'One'"),
        ("ask('one'), ask('two A'), ask('three')", "prompt 3 was not asked in the recorded session:"),
        ("ask('two ' + ask('one'))", None),
    ],
)
def test_a_recorded_session_is_replayed_and_a_difference_is_a_failure(code: str, sentence: str | None) -> None:
    report = report_of(
        "def ask(prompt):",
        "    try: return alc.llm(prompt)",
        "    except alc.Refused as exc: return exc.reason",
        "def run(ctx):",
        f"    return {{'b': ({code}, ctx['c'])}}",
        "def test_replays(model):",
        f"    assert model.replay(run, {{'c': 3}}, {TURNS}) == {{'b': ['no', 3]}}",
    )

    errors = [failure["error"] for failure in report["failures"]]
    assert errors == [] if sentence is None else sentence in errors[0]
