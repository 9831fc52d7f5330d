"""A session that its node loses before anything of it was committed."""

import anyio
import pytest

from algocline_mcp.cluster.node import Node
from algocline_mcp.errors import AlcError
from tests.rig.rig import ENDLESS, Rig, run, until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("rig", ["database"], indirect=True)]


async def test_a_run_whose_session_was_never_committed_says_to_call_again(rig: Rig) -> None:
    errors = list[AlcError]()

    async with rig.pool() as pool, anyio.create_task_group() as tasks:
        assert isinstance(pool.node, Node)

        async def begin() -> None:
            with pytest.raises(AlcError) as caught:
                await run(pool, ENDLESS)
            errors.append(caught.value)

        tasks.start_soon(begin)
        await until(rig.engines)
        pool.node._give_up()  # as when its lease has run out
        await until(lambda: errors)
        rig.expected_reports.add(str(errors[0]).split()[1])

    assert str(errors[0]).endswith("call again")
