"""`alc run`, `alc branch` and `alc continue`: the host of one session, as a client of a server of its own over stdio.

Contract: `play` returns the exit code of the process (see main.py). If it ends before the session, it has written to
stderr how to go on; the session waits in its worker, or on disk.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from algocline_mcp.cli.answerers import Answering
from algocline_mcp.cli.client import LINE_BYTES, started_client
from algocline_mcp.cli.session_run import INTERRUPTED, SessionRun
from algocline_mcp.cli.start import Start
from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, Unreachable
from algocline_mcp.history import retention

if TYPE_CHECKING:
    from algocline_mcp.cli.person import Person

WAIT_S = 45.0
_SCRUB_S = 2.0  # a worker with a finished session stays for a tenth of a second
# Between two attempts to lock the journal: a file lock has no event, and the registry no longer names the worker. Only
# with ALC_KEEP, and for _SCRUB_S at most.
_RETRY_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """`options`: those that the advice repeats. `is_json`: show a result that is a text as JSON too. `out`: the file
    that gets the result. `is_quiet`: no progress, no phases, no summary."""

    wait_s: float | None = None
    options: str = ""
    is_json: bool = False
    out: str | None = None
    is_quiet: bool = False


def play(start: Start | None, session_id: str | None, answerer: "Answering | Person", how: How) -> int:
    """Begins a session with `start`, or goes on with `session_id`."""
    return _play(SessionRun(start, session_id, answerer, WAIT_S if how.wait_s is None else how.wait_s), how)


def play_watched(start: Start, answerer: "Answering | Person", how: How) -> tuple[int, str | None]:
    """The exit code, and the id of the session if it is not over."""
    run = SessionRun(start, None, answerer, WAIT_S if how.wait_s is None else how.wait_s)
    code = _play(run, how)
    return code, None if run.is_over else run.session_id


def _play(run: SessionRun, how: How) -> int:
    run.options, run.is_json, run.out, run.is_quiet = how.options, how.is_json, how.out, how.is_quiet
    try:
        return anyio.run(_through_server, run)
    except KeyboardInterrupt:
        run.say("interrupted")
        run.say_how_to_go_on()
        return INTERRUPTED
    finally:
        run.close()


async def _through_server(run: SessionRun) -> int:
    try:
        # A person names a file of their own: the server that this command starts may read it anywhere. Prompts and
        # results are not cut: a command would answer a part of a prompt. The options say who answers, not the setting.
        own = {"ALC_CODE_DIRS": "/", "ALC_OUTPUT_BYTES": str(LINE_BYTES), "ALC_ANSWER": ""}
        async with started_client({**os.environ, **own}) as client:
            code = await run.play(client)
    except Unreachable as exc:
        run.say(f"the server ended or did not reply: {exc}; alc doctor finds the problem")
        code = 1
    await run.end_answering()
    if not run.is_over:
        run.say_how_to_go_on()
    elif run.session_id is not None:
        await _scrub(run.session_id)
    return code


async def _scrub(sid: str) -> None:
    """Applies ALC_KEEP: the server has ended with its input, before the worker has moved the journal to finished/. If
    this fails, the next server tries again."""
    home = Home.from_env(os.environ)
    with suppress(AlcError), anyio.move_on_after(_SCRUB_S):
        while (keep := retention.keep_of(os.environ)) != "all":
            with suppress(OSError):  # the journal is not in finished/ yet
                if retention.scrub(home.finished_journal(sid), keep):
                    return
            await anyio.sleep(_RETRY_S)
