"""Reads of journals on behalf of a call: they end with the call."""

from collections.abc import Iterator

import anyio
import anyio.from_thread
import pytest

from algocline_mcp.pool.offline import fold_of, view_via_pool
from algocline_mcp.storage import home_setup, journal
from tests.rig.journals import answered, sid_of, write
from tests.rig.rig import Rig

pytestmark = pytest.mark.anyio
HANG_S = 60.0


@pytest.mark.parametrize("read", ["view", "status"])
async def test_a_read_that_nobody_waits_for_ends(rig: Rig, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home_setup.prepare(rig.home)
    write(rig.home.journal(sid := sid_of(1)), answered(sid, 3))
    chunks: list[bytes] = []
    chunks_of = journal._chunks
    async with rig.pool() as pool:
        with anyio.fail_after(HANG_S), anyio.CancelScope() as scope:

            def endless(fd: int) -> Iterator[bytes]:
                anyio.from_thread.run_sync(scope.cancel)
                while True:
                    for chunk in chunks_of(fd):
                        chunks.append(chunk)
                        yield chunk

            monkeypatch.setattr(journal, "_chunks", endless)
            await (view_via_pool(pool, sid, "history") if read == "view" else fold_of(pool, sid))

    assert scope.cancelled_caught
    assert len(chunks) == 1
