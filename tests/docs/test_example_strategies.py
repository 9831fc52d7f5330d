"""Every example runs through a real worker, and README shows what is really there."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.pool.dispatch import continue_via_pool
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, Rig, run
from tests.worker.engine.lua.in_process import play

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"


async def _play(rig: Rig, name: str, model: Callable[[dict[str, Any]], str], **ctx: Any) -> Any:
    async with rig.pool() as pool:
        language = "python" if name.endswith(".py") else "lua"
        reply = await run(pool, (EXAMPLES / name).read_text(), chunk=name, ctx=ctx, language=language)
        while reply.result["status"] == "needs_response":
            queries = reply.result.get("queries") or [reply.result]
            answers = [Answer(query["query_id"], model(query)) for query in queries]
            reply = await continue_via_pool(pool, reply.session_id, answers, wait_s=WAIT_S)
        assert reply.result["status"] == "completed", reply.result
        return reply.result["result"]


async def test_panel_in_python_counts_three_votes_and_then_asks_for_the_doubt(rig: Rig) -> None:
    sheet = iter(json.loads((EXAMPLES / "panel.answers.json").read_text()))

    result = await _play(rig, "panel.py", lambda query: next(sheet), task="Ship on Friday?")

    assert (result["answer"], round(result["share"], 2)) == ("yes", 0.67)
    assert "Monday" in result["doubt"]


async def test_panel_asks_three_reviewers_at_once_and_then_for_the_doubt(rig: Rig) -> None:
    sheet = iter(json.loads((EXAMPLES / "panel.answers.json").read_text()))

    result = await _play(rig, "panel.lua", lambda query: next(sheet), task="Ship on Friday?")

    assert [verdict.split(".")[0] for verdict in result["verdicts"]] == ["Yes", "Yes", "No"]
    assert "Monday" in result["doubt"]


@pytest.mark.parametrize("example", ["verify.py", "verify.lua"])
async def test_verify_checks_each_claim_without_showing_the_draft(rig: Rig, example: str) -> None:
    asked: list[dict[str, Any]] = []

    def model(query: dict[str, Any]) -> str:
        asked.append(query)
        if query["prompt"].startswith("List the"):
            return '```json\n["Is A true?", "Is B true?"]\n```'
        return f"answer {len(asked)}"

    result = await _play(rig, example, model, task="What is it?")

    checks = [query for query in asked if query.get("grounded")]
    assert [check["prompt"] for check in checks] == ["Is A true?", "Is B true?"]
    assert result == {
        "answer": "answer 5",
        "draft": "answer 1",
        "checks": [{"question": "Is A true?", "answer": "answer 3"}, {"question": "Is B true?", "answer": "answer 4"}],
    }


@pytest.mark.parametrize("example", ["verify.py", "verify.lua"])
async def test_verify_asks_again_for_a_list_that_was_cut(rig: Rig, example: str) -> None:
    lists = iter(['["Is A true?", "Is B', '["Is A true?", "Is B true?"]'])

    def model(query: dict[str, Any]) -> str:
        return next(lists) if "List the" in query["prompt"] else "an answer"

    result = await _play(rig, example, model, task="What is it?")

    assert [check["question"] for check in result["checks"]] == ["Is A true?", "Is B true?"]


VERDICTS = {
    "OK": True,
    "**OK**": True,
    "ok.": True,
    "Verdict: **OK**": True,
    "OK, but the year is missing": False,
    "OK. However, the year is wrong": False,
    "Almost OK": False,
    "Not OK: the year": False,
    "WRONG: the year": False,
    "It is OK or wrong, hard to say": False,
}


@pytest.mark.parametrize("example", ["each.py", "each.lua"])
async def test_each_takes_no_verdict_with_a_reservation(rig: Rig, example: str) -> None:
    def model(query: dict[str, Any]) -> str:
        item = re.findall(r"^Item: (.*)$", query["prompt"], re.MULTILINE)[0]
        return str(item) if query.get("system") else "a result"

    result = await _play(rig, example, model, task="Describe", items=list(VERDICTS))

    assert [each["item"] for each in result["done"]] == [text for text, is_ok in VERDICTS.items() if is_ok]
    assert [each["item"] for each in result["failed"]] == [text for text, is_ok in VERDICTS.items() if not is_ok]


@pytest.mark.parametrize("ctx", [{}, {"items": []}, {"items": "a, b", "task": "t"}, {"items": ["a"]}, {"task": "t"}])
def test_each_without_items_or_task_says_what_it_needs(ctx: dict[str, Any]) -> None:
    code = (EXAMPLES / "each.lua").read_text()

    error = play(code, ctx=json.dumps(ctx)).error

    assert error.startswith("each.lua needs ctx.items, a list that is not empty, and ctx.task, ")


@pytest.mark.slow
@pytest.mark.parametrize("example", ["each.py", "each.lua"])
async def test_each_tries_an_item_twice_and_says_what_failed(rig: Rig, example: str) -> None:
    def model(query: dict[str, Any]) -> str:
        if not query.get("system"):
            return "second" if "A reviewer said" in query["prompt"] else "first"
        good = "Item: easy" in query["prompt"] or (
            "Item: hard" in query["prompt"] and "Result: second" in query["prompt"]
        )
        return "OK" if good else "too short"

    result = await _play(rig, example, model, task="Describe", items=["easy", "hard", "hopeless"])

    assert [(each["item"], each["attempts"]) for each in result["done"]] == [("easy", 1), ("hard", 2)]
    assert result["failed"] == [{"item": "hopeless", "last": "second", "why": "too short"}]


@pytest.mark.parametrize("example", ["vote.py", "vote.lua"])
async def test_vote_counts_by_code_and_asks_again_until_more_than_half_agree(rig: Rig, example: str) -> None:
    said = iter(["ANSWER: 7", "so\nANSWER: 8.", "I cannot say", "ANSWER: 8", "because\nANSWER: 8 ", "ANSWER: 8"])

    result = await _play(rig, example, lambda query: next(said), task="How many?", votes=3)

    assert result["answer"] == "8"
    assert (result["votes"], result["total"], result["decided"]) == ({"7": 1, "8": 4}, 6, True)


@pytest.mark.parametrize("example", ["vote.py", "vote.lua"])
async def test_vote_tells_names_apart_that_differ_in_signs_alone(rig: Rig, example: str) -> None:
    said = iter(["ANSWER: C++", "**ANSWER:** C++", "so\n**ANSWER: c++**.", "ANSWER: C#", "ANSWER: C"])

    result = await _play(rig, example, lambda query: next(said), task="Which language?")

    assert (result["answer"], result["votes"]) == ("C++", {"c++": 3, "c#": 1, "c": 1})


@pytest.mark.parametrize("example", ["vote.py", "vote.lua"])
async def test_vote_among_choices_counts_only_these(rig: Rig, example: str) -> None:
    said = iter(["ANSWER: C", "I first thought of C#.\nANSWER: **C**.", "ANSWER: C++", "ANSWER: Rust", "ANSWER: C"])

    result = await _play(rig, example, lambda query: next(said), task="Which?", choices=["C", "C++", "C#"])

    assert (result["answer"], result["votes"], result["total"]) == ("C", {"c": 3, "c++": 1}, 5)


@pytest.mark.parametrize("example", ["vote.py", "vote.lua"])
async def test_vote_without_a_majority_says_that_it_is_open(rig: Rig, example: str) -> None:
    names = iter("abcdefghi")

    result = await _play(rig, example, lambda query: f"ANSWER: {next(names)}", task="Who?", votes=3)

    assert (result["answer"], result["total"], result["decided"]) == ("a", 9, False)


@pytest.mark.parametrize("example", ["digest.py", "digest.lua"])
async def test_digest_reads_every_piece_and_merges_what_was_found(rig: Rig, example: str) -> None:
    pieces: list[str] = []

    def model(query: dict[str, Any]) -> str:
        prompt = query["prompt"]
        if "Findings:" in prompt:
            return "merged " + " ".join(re.findall(r"\[\d+\]", prompt))
        number = re.findall(r"^Piece (\d+) of", prompt, re.MULTILINE)[0]
        pieces.append(re.findall(r"^Piece [^\n]*\n(.*)\n\nWhat this piece", prompt, re.DOTALL | re.MULTILINE)[0])
        return "NOTHING" if number == "2" else f"[{number}] a fact"

    text = "\n\n".join(f"Paragraph {n} " + "word " * 12 for n in range(9)) + "\n\n" + "long" * 50
    result = await _play(rig, example, model, task="What?", text=text, chars=100)

    assert re.sub(r"\s", "", "".join(pieces)) == re.sub(r"\s", "", text)
    assert max(map(len, pieces)) <= 100
    assert result["pieces"] == len(pieces) == 11
    assert result["merges"] == 2
    numbers = re.findall(r"\[(\d+)\]", result["answer"])
    assert sorted(map(int, numbers)) == [1, *range(3, 12)]


def test_strategy_in_the_readme_is_the_example() -> None:
    readme = (ROOT / "README.md").read_text()
    (shown,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)

    assert shown in (EXAMPLES / "panel.py").read_text()


def test_configuration_and_links_in_the_pages_are_sound() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        text = page.read_text()
        for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
            json.loads(block)
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"
    (entry,) = re.findall(r"`(\{\"mcpServers\".*?\})`", pages[0].read_text())
    assert json.loads(entry)["mcpServers"]["alc"]["command"]


@pytest.mark.parametrize("example", ["chains.py", "chains.lua"])
async def test_chains_go_side_by_side_and_end_where_the_critic_has_nothing_to_say(rig: Rig, example: str) -> None:
    asked: list[str] = []

    def model(query: dict[str, Any]) -> str:
        asked.append(query["prompt"].split()[0])
        if query["prompt"].endswith("NOTHING."):
            return "NOTHING" if "Why?" in query["prompt"] else "The year is missing."
        return f"answer {len(asked)}"

    result = await _play(rig, example, model, questions=["Why?", "When?"])

    assert result == ["answer 1", "answer 5"]
    assert asked == ["Why?", "When?", "Question:", "Question:", "Question:"]
