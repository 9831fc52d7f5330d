"""`alc run` and `alc continue`: the host of one session, through the official client and a server of its own (stdio).

Contract: `play` returns the exit code of the process (see cli). If it ends before the session does, it has said on
stderr how to go on; the session keeps waiting in its worker, or on disk.
"""

import json
import os
import re
import sys
from contextlib import suppress
from typing import Any

import anyio
import click
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters

from algocline_mcp.cli.answerers import Answered, Answerer, choose
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError
from algocline_mcp.history import retention

__all__ = ["choose", "play"]

WAIT_S = 45.0
SPARE_S = 30.0  # beyond wait_s, after which a server that says nothing counts as dead
BY = "alc run"
INTERRUPTED = 130
_SCRUB_S = 2.0  # a worker at its end lingers for a tenth of a second
_LOOK_S = 0.02
_MISSING = re.compile(r"nil value \(field '(\w+)'\)")  # what Lua says of ctx.NAME that nobody gave


def play(
    start: dict[str, Any], session_id: str | None, answerer: Answerer, *, wait_s: float | None, options: str
) -> int:
    """`start`: the arguments of alc_run where `session_id` is None. `options`: what the advice repeats."""
    turn = Turn(start, session_id, answerer, WAIT_S if wait_s is None else wait_s)
    try:
        return anyio.run(_through_server, turn, options)
    except KeyboardInterrupt:
        turn.say("interrupted")
        turn.say_how_to_go_on(options)
        return INTERRUPTED


async def _through_server(turn: "Turn", options: str) -> int:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "algocline_mcp"], env=dict(os.environ), cwd=os.getcwd()
    )
    async with Client(server) as client:
        # Nothing may be raised through the client: its task groups would wrap it.
        try:
            code = await turn.run(client)
        except (MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError) as exc:
            turn.say(f"the server ended or gave no answer: {exc}")
            code = 1
    if not turn.is_over:
        turn.say_how_to_go_on(options)
    elif turn.session_id is not None:
        await _scrub(turn.session_id)
    return code


async def _scrub(sid: str) -> None:
    """As ALC_KEEP says: a server whose host has closed its input ends at once, before the worker has put the journal
    away. A courtesy, as for any server: the next one tries again."""
    home = Home.from_env(os.environ)
    with suppress(AlcError), anyio.move_on_after(_SCRUB_S):
        while (keep := retention.keep_of(os.environ)) != "all":
            with suppress(OSError):  # not there yet
                if retention.scrub(home.finished_journal(sid), keep):
                    return
            await anyio.sleep(_LOOK_S)


class Turn:
    """One session, until its end or until nobody answers any more."""

    def __init__(self, start: dict[str, Any], session_id: str | None, answerer: Answerer, wait_s: float) -> None:
        self.session_id = session_id
        self.is_over = False  # there is nothing to go on with
        self._start = start
        self._answerer = answerer
        self._wait_s = wait_s
        self._is_terminal = sys.stderr.isatty()

    async def run(self, client: Client) -> int:
        if self.session_id is None:
            # Without waiting, so that the id is known whatever happens next.
            state = await self._call(client, "alc_run", self._start, wait_s=0)
        else:
            state = await self._call(client, "alc_status", {}, wait_s=self._wait_s)
        while state is not None:
            status = state.get("status")
            if status == "needs_response":
                queries = state.get("queries") or [state]
                answered = await self._answerer.answer(str(self.session_id), queries)
                state = await self._send(client, answered, state)
                if answered.is_interrupted:
                    self.say("interrupted")
                    return INTERRUPTED
                if answered.trouble is not None:
                    self.say(answered.trouble)
                    return 1
                if state is not None and state.get("refused"):
                    self.say("; ".join(f"{item['query_id']}: {item['reason']}" for item in state["refused"]))
                    return 1
            elif status in ("running", "accepted"):
                state = await self._call(client, "alc_status", {}, wait_s=self._wait_s)
            else:
                return self._end(state)
        return 1

    async def _send(self, client: Client, answered: Answered, state: dict[str, Any]) -> dict[str, Any] | None:
        if not answered.answers:
            return state
        responses = [{"query_id": query_id, "response": text} for query_id, text in answered.answers.items()]
        return await self._call(client, "alc_continue", {"responses": responses, "by": BY}, wait_s=self._wait_s)

    async def _call(
        self, client: Client, tool: str, arguments: dict[str, Any], *, wait_s: float
    ) -> dict[str, Any] | None:
        """The result of a tool; None after a refusal, which it has shown."""
        arguments = {**arguments, "wait_s": wait_s}
        if tool != "alc_run":
            arguments["session_id"] = self.session_id
        reply = await client.call_tool(
            tool, arguments, read_timeout_seconds=wait_s + SPARE_S, progress_callback=self._progress
        )
        if self._is_terminal:
            click.echo("\r\x1b[K", err=True, nl=False)
        if reply.is_error or not isinstance(reply.structured_content, dict):
            sentence = "\n".join(getattr(block, "text", "") for block in reply.content)
            self.say(at_terminal(sentence))
            self.is_over = self.session_id is None or sentence.endswith("[not_found]")
            return None
        state: dict[str, Any] = reply.structured_content
        if self.session_id is None:
            self.session_id = state["session_id"]
            self.say(f"session {self.session_id}")
        for trouble in (state.get("pool_save_error"), *state.get("warnings", ())):
            if trouble:
                self.say(str(trouble))
        return state

    def _end(self, state: dict[str, Any]) -> int:
        self.is_over = "error_code" not in state  # such an error is one of the session, which can still go on
        if state.get("status") == "completed":
            click.echo(json.dumps(state.get("result"), indent=2, ensure_ascii=False))
            return 0
        ended = "the session was ended for good; start the strategy again with alc run"
        error = str(state.get("error", ended))
        self.say(f"{state.get('status')}: {error}")
        missing = _MISSING.search(error)
        if missing is not None and missing[1] not in self._start.get("ctx", {missing[1]}):
            self.say(f"if the strategy takes it from ctx, give it: {missing[1]}=…")
        if state.get("next"):
            self.say(at_terminal(str(state["next"])))
        return 1

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        text = f"… {message or progress}"
        if self._is_terminal:
            click.echo(f"\r{text}\x1b[K", err=True, nl=False)
        else:
            click.echo(text, err=True)

    def say(self, text: str) -> None:
        click.echo(f"alc: {text}", err=True)

    def say_how_to_go_on(self, options: str) -> None:
        if self.session_id is None:
            self.say("whether a session was started is not known: alc ps lists them")
        else:
            self.say(f"the session is kept; go on with: alc continue {self.session_id}{options}")
