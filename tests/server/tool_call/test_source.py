"""Where the code of a session comes from, when the disk does not answer."""

import threading
from pathlib import Path

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Unreachable
from algocline_mcp.server.tool_call import source
from algocline_mcp.server.tool_call.arguments import ABSENT


def test_a_disk_that_hangs_holds_a_call_no_longer_than_its_grace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, mended = Home(tmp_path), threading.Event()
    monkeypatch.setattr(source, "find_root", lambda environ: mended.wait(120) and None)

    async def play() -> None:
        try:
            with anyio.fail_after(60), pytest.raises(Unreachable, match="hangs; nothing was started"):
                await source.read_source("return 1", ABSENT, ABSENT, ABSENT, home=home, limits=Limits(grace_s=0.05))
        finally:
            mended.set()

    anyio.run(play)
