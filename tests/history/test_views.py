"""The views of a session, page by page; no view shows a value from the environment."""

import json
from collections import Counter
from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.history.chunking import size_of
from algocline_mcp.history.views import VIEWS, Page, view_of
from algocline_mcp.pool.dispatch import Pool, status_via_pool, view_via_pool
from algocline_mcp.session.records import Record
from tests.rig.journals import answer, final, header, prompt, sid_of
from tests.rig.rig import Rig, run, say, until

SID = sid_of(1, created_s=1.7e9)
SECRET = "hunter2-hunter2"


def look(
    records: list[Record], view: str, limit: int = 20, cursor: str | None = None, max_bytes: int = 0
) -> dict[str, Any]:
    page = Page(limit, cursor, max_bytes) if max_bytes else Page(limit, cursor)
    return view_of(records, view, page, worker="none", now_s=2000.0)


def history(count: int) -> list[Record]:
    records = [header(SID)]
    for n in range(count):
        records += [prompt(f"q-{n}", t=1001.0 + n), answer(f"q-{n}", f"a{n}", 1001.5 + n, by="human")]
    return records


def test_history_holds_every_prompt_with_its_answer_oldest_first_page_by_page() -> None:
    first = look(history(3), "history", limit=2)
    second = look(history(3), "history", limit=2, cursor=first["cursor"])

    assert [item["query_id"] for item in first["history"] + second["history"]] == ["q-0", "q-1", "q-2"]
    assert first["total"] == second["total"] == 3
    assert "cursor" not in second
    assert first["history"][0] == {
        "query_id": "q-0",
        "prompt": "prompt of q-0",
        "asked_at": 1001.0,
        "response": "a0",
        "by": "human",
        "answered_at": 1001.5,
        "waited_s": 0.5,
    }


def test_a_page_ends_before_it_grows_too_large_but_holds_one_item() -> None:
    records = [header(SID)]
    for n in range(3):
        records += [prompt(f"q-{n}"), answer(f"q-{n}", "x" * 70_000)]
    page = look(records, "history", max_bytes=80_000)

    assert len(page["history"]) == 1
    assert page["cursor"] == "1"


LONG: list[Record] = [
    header(SID, code="Ж" * 2500 + "\n" + "Ю\n" * 900, ctx='{"env":{"K":"hunter2hunter2"},"long":"' + "Ф" * 2500 + '"}'),
    {"kind": "note", "bytes": 1, "level": "info", "message": "hunter2hunter2 Щ " * 700},
    prompt("q-0", t=1001.0, wide="Ж" * 4000),
    answer("q-0", "Ц" * 9000),
    prompt("q-1", "q-2", "q-3", wide="日本" * 2000),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("end", [[], [final(result={"r": ["hunter2hunter2", "Я" * 9000]})]])
def test_pages_that_are_followed_to_the_end_hold_every_character_once(view: str, end: list[Record]) -> None:
    whole = look([*LONG, *end], view, max_bytes=1 << 20, limit=1000)
    pages = [look([*LONG, *end], view, max_bytes=3000)]
    while "cursor" in pages[-1]:
        assert len(pages) < 200, "the cursor goes in circles"
        pages.append(look([*LONG, *end], view, max_bytes=3000, cursor=pages[-1]["cursor"]))

    assert all(size_of(page) <= 3000 for page in pages)
    assert "hunter2" not in json.dumps(pages)
    assert _letters(pages) == _letters([whole])
    assert len(pages) > 1 or size_of(whole) <= 3000


def _letters(pages: list[dict[str, Any]]) -> Counter[str]:
    """The number of each letter that is not ASCII: no name of a field has one."""
    counted = Counter(json.dumps(pages, ensure_ascii=False))
    return Counter({letter: count for letter, count in counted.items() if not letter.isascii()})


def test_a_prompt_that_was_answered_meanwhile_takes_no_other_from_the_next_page() -> None:
    first = look([header(SID), prompt("q-0", "q-1", "q-2")], "prompts", limit=2)
    second = look(
        [header(SID), prompt("q-0", "q-1", "q-2"), answer("q-0"), answer("q-1")], "prompts", 2, first["cursor"]
    )

    assert [item["query_id"] for item in first["prompts"] + second["prompts"]] == ["q-0", "q-1", "q-2"]


def test_prompts_are_those_that_wait() -> None:
    page = look([header(SID), prompt("q-0", "q-1"), answer("q-0")], "prompts")

    assert page["prompts"] == [{"query_id": "q-1", "prompt": "prompt of q-1", "max_tokens": 9}]


def test_code_comes_by_lines_with_ctx_and_modules() -> None:
    module = {"kind": "module", "name": "module", "args": ["m.x"], "result": {"source": "", "chunk": "m"}}
    first = look([header(SID, ctx='{"a":1}'), module], "code", limit=2)
    second = look([header(SID)], "code", limit=2, cursor=first["cursor"])

    assert (first["code"], first["ctx"], first["modules"]) == ("one\ntwo", {"a": 1}, ["m.x"])
    assert second["code"] == "three"
    assert "cursor" not in second


def test_log_holds_log_lines_progress_and_deaths_in_order() -> None:
    note = {"kind": "note", "bytes": 1}
    records = [
        header(SID),
        note | {"level": "info", "message": "begun"},
        note | {"progress": {"step": 1, "total": 2, "message": None}},
        {"kind": "crash", "reason": "ended by SIGSEGV", "t": 1001.0},
        prompt("q-0", t=1002.0) | {"revived": True},
    ]

    assert look(records, "log")["log"] == [
        {"kind": "log", "level": "info", "message": "begun"},
        {"kind": "progress", "step": 1, "total": 2, "message": None},
        {"kind": "crash", "t": 1001.0, "reason": "ended by SIGSEGV"},
        {"kind": "revival", "t": 1002.0},
    ]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([final(result={"x": None})], {"status": "completed", "result": {"x": None}}),
        ([final(error="boom")], {"status": "error", "error": "boom"}),
        ([], {"status": "running"}),
    ],
)
def test_result_is_what_it_ended_with(records: list[Record], expected: dict[str, Any]) -> None:
    page = look([header(SID), *records], "result")

    assert expected.items() <= page.items()
    assert ("next" in page) == (not records)


def test_summary_has_counts_and_times() -> None:
    page = look(history(2), "summary")

    assert (page["title"], page["worker"], page["created_at"]) == ("made", "none", 1000.0)
    assert page["stats"]["auto"]["llm_calls"] == 2
    assert page["last_activity_at"] == 1002.5


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 10, "p-1"])
def test_a_cursor_that_no_page_had_is_refused(cursor: str) -> None:
    with pytest.raises(Refused, match="take it from the previous page"):
        look(history(1), "history", cursor=cursor)


READ = """
local key = os.getenv("ALC_TEST_KEY")
alc.log("info", "key is " .. key)
local a = alc.llm("sign with " .. key .. " and " .. ctx.env.token)
return { key = key, token = ctx.env.token, a = a }
"""


async def read_secrets(pool: Pool) -> str:
    sid, first, _ = await run(pool, READ, ctx={"env": {"token": SECRET + "-2", "short": "1"}, "task": "t"})
    assert SECRET in first["prompt"], first
    return sid


@pytest.mark.anyio
async def test_no_view_shows_what_came_from_the_environment(rig: Rig) -> None:
    environ = {"ALC_ENV_ALLOW": "ALC_TEST_KEY", "ALC_TEST_KEY": SECRET}
    async with rig.pool(environ=environ) as pool:
        sid = await read_secrets(pool)
        before = [await view_via_pool(pool, sid, view) for view in VIEWS]
        state = (await status_via_pool(pool, sid)).result
        await say(pool, sid, "q-0", f"signed {SECRET}")
        await until(lambda: not rig.workers())
        after = [await view_via_pool(pool, sid, view) for view in VIEWS]

    for page in before + after:
        assert SECRET not in json.dumps(page), page["view"]
    assert SECRET in state["prompt"]  # the prompt itself is not redacted
    assert after[VIEWS.index("code")]["ctx"] == {"env": {"token": "[hidden]", "short": "[hidden]"}, "task": "t"}
    assert after[VIEWS.index("result")]["result"] == {"a": "signed [hidden]", "key": "[hidden]", "token": "[hidden]"}


@pytest.mark.anyio
async def test_a_view_starts_no_worker_and_an_unknown_session_is_refused(rig: Rig) -> None:
    async with rig.pool() as pool:
        with pytest.raises(Refused, match="not found"):
            await view_via_pool(pool, SID, "history")

    assert rig.workers() == []
