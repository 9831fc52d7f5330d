"""alc.phase and label, from the strategy through a worker that hibernates to the views, in both languages."""

import pytest

from algocline_mcp.pool.dispatch import continue_via_pool, stop_via_pool, view_via_pool
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, Rig, run

pytestmark = pytest.mark.anyio
CODES = {
    "lua": """
alc.phase("draft")
local a = alc.llm("write", { label = "first" })
alc.phase("check")
return alc.llm_batch({ { prompt = "1" .. a }, { prompt = "2", label = "second" } })
""",
    "python": """
alc.phase("draft")
a = alc.llm("write", label="first")
alc.phase("check")
return alc.llm_batch([{"prompt": "1" + a}, {"prompt": "2", "label": "second"}])
""",
}


@pytest.mark.parametrize("language", CODES)
async def test_phases_are_recorded_once_and_seen_in_the_views(rig: Rig, language: str) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, CODES[language], language=language)
        sid = str(reply.session_id)
        assert reply.result["label"] == "first"
        await stop_via_pool(pool, sid, "hibernate")
        await continue_via_pool(pool, sid, [Answer("q-0", "A")], wait_s=WAIT_S)
        await stop_via_pool(pool, sid, "hibernate")
        answers = [Answer("q-1", "B"), Answer("q-2", "C")]
        ended = await continue_via_pool(pool, sid, answers, wait_s=WAIT_S)
        views = {view: await view_via_pool(pool, sid, view) for view in ("summary", "log", "history")}

    assert ended.result["result"] == ["B", "C"]
    assert views["summary"]["phases"] == [{"phase": "draft", "prompts": 1}, {"phase": "check", "prompts": 2}]
    assert [item["phase"] for item in views["log"]["log"] if "phase" in item] == ["draft", "check"]
    assert [item.get("label") for item in views["history"]["history"]] == ["first", None, "second"]
