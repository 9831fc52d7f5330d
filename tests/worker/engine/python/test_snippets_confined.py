"""The language is Python in a confined engine, too: the snippets as sessions of their own."""

from typing import Any

import pytest

from algocline_mcp.languages import LANGUAGES, PYTHON
from algocline_mcp.pool.dispatch import continue_via_pool
from algocline_mcp.session.events import Answer
from algocline_mcp.worker.engine import messages
from tests.rig.rig import WAIT_S, Rig, run
from tests.worker.engine.python.snippets import FILES, FORMS, answer_to, played_by_python, snippets_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON.name not in LANGUAGES, reason="workers do not prepare Python"),
]


@pytest.mark.parametrize("file", FILES)
async def test_snippets_have_the_value_and_the_prompts_of_plain_python(rig: Rig, file: str) -> None:
    codes = snippets_of(file)
    if "wait" not in messages._READERS:  # a timer is a message that this keeper does not know
        codes.pop("asyncio timeout", None)
    expected = played_by_python("plain", codes)
    values: dict[str, Any] = {}

    async with rig.pool() as pool:
        for name, code in codes.items():
            prompts: list[str] = []
            reply = await run(pool, FORMS["function"].replace("{}", code), language=PYTHON.name)
            while reply.result["status"] == "needs_response":
                prompts.append(reply.result["prompt"])
                answer = Answer(reply.result["query_id"], answer_to(prompts[-1]))
                reply = await continue_via_pool(pool, reply.session_id, [answer], wait_s=WAIT_S)
            values[name] = [reply.result.get("result", reply.result), prompts]

    assert {name: value for name, value in values.items() if value != expected[name]} == {}
