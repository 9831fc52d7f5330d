"""ALC_PYTHON_PRELOAD with a module that cannot be used: strategies in Python say so, those in Lua run."""

import os

import pytest

from algocline_mcp.errors import AlcError, HomeUnusable
from algocline_mcp.pool.dispatch import stop_via_pool
from tests.rig.rig import Rig, run

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("way", ["fork", "exec"])
async def test_caller_gets_the_name_of_the_setting_and_lua_goes_on(rig: Rig, way: str) -> None:
    environ = {**os.environ, "ALC_PYTHON_PRELOAD": "alc_absent", "ALC_SPAWN": way}
    async with rig.pool(environ=environ) as pool:
        lua = (await run(pool, "return 1", language="lua")).result
        with pytest.raises(AlcError, match=r"ALC_PYTHON_PRELOAD names 'alc_absent'.*install it there") as caught:
            await run(pool, "1", language="python")
        for path in rig.home.sessions.glob("*.journal"):
            await stop_via_pool(pool, path.stem, "cancel")

    assert lua["result"] == 1
    assert caught.value.code == HomeUnusable.code
