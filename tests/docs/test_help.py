"""The pages of help: each example runs, each signature is current, each function of alc is on one page alone."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import alc
from algocline_mcp.help.topics import TOPICS, about, functions, nearest, page, source, topic_of
from algocline_mcp.pool.dispatch import continue_via_pool
from algocline_mcp.session.events import Answer
from tests.docs.help_pages import public_functions, written
from tests.rig.rig import WAIT_S, Rig, run

pytestmark = pytest.mark.anyio
MAX_BYTES = 6000  # of a page: a model reads it in the middle of a task
EXAMPLE = re.compile(r"<!-- example: (.*?) -->\n```(python|lua)\n(.*?)```", re.DOTALL)
PACKAGE = re.compile(r"<!-- package: (\w+) -->\n```(python|lua)\n(.*?)```", re.DOTALL)
SPEC = re.compile(r"<!-- spec: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
STRATEGIES = Path(__file__).parents[2] / "docs" / "strategies.md"


def test_topics_are_the_files_and_each_says_what_it_is_about() -> None:
    directory = Path(alc.__file__).parents[1] / "algocline_mcp" / "help" / "pages"

    assert {path.stem for path in directory.iterdir()} == set(TOPICS)
    for topic in TOPICS:
        assert len(about(topic)) > 20, topic


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_is_short_and_shows_no_comment(topic: str) -> None:
    text = page(topic)

    assert len(text.encode()) < MAX_BYTES
    assert "<!--" not in text


def test_signatures_are_those_of_the_package_alc() -> None:
    for topic in TOPICS:
        assert source(topic) == written(source(topic)), "run python -m tests.docs.help_pages"


def test_each_function_is_on_one_page_alone() -> None:
    listed = Counter(name for topic in TOPICS for name in functions(topic))

    assert listed == Counter([*public_functions()])


def test_each_coroutine_is_on_the_page_of_asyncio() -> None:
    coroutines = {name for name, value in vars(alc.aio).items() if callable(value) and not name.startswith("_")}

    assert coroutines <= set(re.findall(r"`(\w+)(?:\(\w+\))?`", page("asyncio")))


def test_each_python_block_is_tested() -> None:
    for topic in TOPICS:
        blocks = re.findall(r"```(?:python|lua)\n", source(topic))
        tested = [*EXAMPLE.findall(source(topic)), *PACKAGE.findall(source(topic)), *SPEC.findall(source(topic))]

        assert len(blocks) == len(tested), topic


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("asking", "asking"),
        ("Errors", "errors"),
        ("alc.llm_json", "answers"),
        ("match_enum(text, candidates)", "answers"),
        ("state.get", "state"),
        ("alc.math.wilson_ci", "math"),
        ("nothing", None),
        ("", None),
    ],
)
def test_a_page_is_found_by_its_topic_or_by_a_function(name: str, topic: str | None) -> None:
    assert topic_of(name) == topic


def test_a_misspelt_function_gets_the_nearest() -> None:
    assert nearest("alc.llm_jsn")[0] == "alc.llm_json"
    assert nearest("parallell")[0] == "alc.parallel"


class Scripted:
    """Answers by the first part that a prompt contains; a list is used up, its last answer stays."""

    def __init__(self, setting: dict[str, Any]) -> None:
        self._answers: dict[str, Any] = setting.get("answers", {})
        self._default = setting.get("default")

    def answer(self, query: dict[str, Any]) -> Answer:
        parts = [part for part in self._answers if part in query["prompt"]]
        answer = self._answers[parts[0]] if parts else self._default
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        assert answer is not None, f"no answer to {query['prompt']!r}"
        if isinstance(answer, dict):
            return Answer(query["query_id"], refuse=answer["refuse"])
        return Answer(query["query_id"], answer)


async def _play(pool: Any, code: str, language: str, setting: dict[str, Any]) -> dict[str, Any]:
    model = Scripted(setting)
    for name, package in setting.get("packages", {}).items():
        directory = pool.home.packages / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "__init__.py").write_text(package)
    reply = await run(pool, code, ctx=setting.get("ctx", {}), language=language)
    while reply.result["status"] == "needs_response":
        answers = [model.answer(query) for query in reply.result.get("queries") or [reply.result]]
        reply = await continue_via_pool(pool, reply.session_id, answers, wait_s=WAIT_S)
    return reply.result


async def test_each_example_does_what_its_page_says(rig: Rig) -> None:
    wrong = []
    async with rig.pool() as pool:
        for topic in TOPICS:
            for number, (setting, language, code) in enumerate(EXAMPLE.findall(source(topic)), 1):
                expected = json.loads(setting)
                ended = await _play(pool, code, language, expected)
                if ended["status"] != "completed" or ended["result"] != expected["result"]:
                    wrong.append(f"{topic} {number}: {ended.get('error') or ended.get('result')}")

    assert wrong == []


async def test_packages_of_the_pages_run_and_pass_their_spec(rig: Rig) -> None:
    from algocline_mcp.packages.specs import Spec, SpecRun, run_specs

    packages = {name: (language, code) for name, language, code in PACKAGE.findall(source("packages"))}
    for name, (language, code) in packages.items():
        directory = rig.home.packages / name
        directory.mkdir(parents=True)
        (directory / {"python": "__init__.py", "lua": "init.lua"}[language]).write_text(code)
    async with rig.pool() as pool:
        for name in packages:
            ended = await _play(
                pool, f"return alc.call({name!r}, ctx)", "python", {"ctx": {"task": "T"}, "default": "A"}
            )
            assert ended["result"] == {"answer": "A", "doubt": "A"}, ended

        from algocline_mcp.languages import PYTHON

        specs = [Spec("spec/test.py", text, PYTHON) for _, text in SPEC.findall(source("packages"))]
        report = await run_specs(SpecRun(specs, [str(rig.home.packages)]), pool.limits, {"PATH": ""}, WAIT_S)

    assert (report["passed"], report["failed"]) == (1, 0), report


def test_page_of_the_strategies_names_the_topics() -> None:
    text = STRATEGIES.read_text()

    assert all(f"`{topic}`" in text.partition("\n## ")[0] for topic in TOPICS)
