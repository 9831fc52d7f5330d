"""Subjects of the contract of `pool.dispatch`: the real module and the fake one, each with its own strategies."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from algocline_mcp.config.limits import Limits
from algocline_mcp.pool import dispatch
from algocline_mcp.pool.dispatch import Pool
from algocline_mcp.session.events import Answer
from tests.rig.fake import fake_dispatch
from tests.rig.rig import WAIT_S, Rig

_LUA = """
local all = {}
for _, prompts in ipairs(alc.json_decode(%s)) do
  local queries = {}
  for n, prompt in ipairs(prompts) do queries[n] = { prompt = prompt } end
  for _, text in ipairs(alc.llm_batch(queries)) do all[#all + 1] = text end
end
return all
"""


@dataclass(frozen=True)
class Subject:
    """One implementation. `asking`: the code of a strategy that asks these prompts, pause by pause."""

    module: Any
    pool: Callable[[], AbstractAsyncContextManager[Pool]]
    asking: Callable[[list[list[str]]], str]
    failing: str
    completing: str

    async def run(self, pool: Pool, code: str) -> dict[str, Any]:
        reply = await self.module.run_via_pool(pool, self.module.Strategy(code, title="a title"), wait_s=WAIT_S)
        return self._checked(reply)

    async def answer(self, pool: Pool, sid: str, *answers: tuple[str | None, str]) -> dict[str, Any]:
        items = [Answer(query_id, text) for query_id, text in answers]
        return self._checked(await self.module.continue_via_pool(pool, sid, items, wait_s=WAIT_S))

    async def status(self, pool: Pool, sid: str) -> dict[str, Any]:
        return self._checked(await self.module.status_via_pool(pool, sid))

    async def stop(self, pool: Pool, sid: str, mode: str) -> dict[str, Any]:
        return self._checked(await self.module.stop_via_pool(pool, sid, mode))

    async def view(self, pool: Pool, sid: str, view: str, **page: Any) -> dict[str, Any]:
        shown: dict[str, Any] = await self.module.view_via_pool(pool, sid, view, **page)
        return shown

    @staticmethod
    def _checked(reply: Any) -> dict[str, Any]:
        assert reply._fields == ("session_id", "result", "pool_save_error")
        assert reply.session_id == reply.result["session_id"]
        assert reply.pool_save_error is None or isinstance(reply.pool_save_error, str)
        json.dumps(reply.result)
        result: dict[str, Any] = reply.result
        return result


@pytest.fixture(params=["real", "fake"])
def subject(request: pytest.FixtureRequest, rig: Rig) -> Subject:
    if request.param == "real":
        return Subject(
            dispatch, rig.pool, lambda pauses: _LUA % json.dumps(json.dumps(pauses)), "error('on purpose')", "return 1"
        )

    @asynccontextmanager
    async def pool() -> AsyncIterator[Any]:
        async with fake_dispatch.Pool(rig.home, Limits()) as pool:
            yield pool

    failing = json.dumps({"status": "error", "error": "strategy:1: on purpose", "next": "correct it"})
    return Subject(fake_dispatch, pool, lambda pauses: json.dumps({"pauses": pauses}), failing, "return 1")
