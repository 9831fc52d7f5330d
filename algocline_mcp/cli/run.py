"""`alc run`, `alc branch` and `alc continue`: the host of one session, as a client of a server of its own over stdio.

Contract: `play` returns the exit code of the process (see main.py). If it ends before the session, it has written to
stderr how to go on; the session waits in its worker, or on disk.
"""

import json
import os
import re
from contextlib import suppress
from typing import Any

import anyio

from algocline_mcp.cli import output
from algocline_mcp.cli.answerers import Answerer, Answers, choose_answerer
from algocline_mcp.cli.client import LINE_BYTES, Client, started_client
from algocline_mcp.cli.live_log import LiveLog
from algocline_mcp.cli.start import ANY_FILE, Start
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Unreachable, whole
from algocline_mcp.history import retention

__all__ = ["choose_answerer", "play"]

WAIT_S = 45.0
# A server that does not reply within wait_s and this counts as dead. A busy machine imports the SDK for half of it.
SPARE_S = 60.0
BY = "alc run"
INTERRUPTED = 130
_SCRUB_S = 2.0  # a worker with a finished session stays for a tenth of a second
# Between two attempts to lock the journal: a file lock has no event, and the registry no longer names the worker. Only
# with ALC_KEEP, and for _SCRUB_S at most.
_RETRY_S = 0.02
_REPORTS = ("dry_run", "branched")  # statuses of alc_branch that are not about one new session
_NOT_GIVEN = re.compile(r"\(not given: (ctx\.\w+(?:, ctx\.\w+)*)\)$")  # of the engine, at the end of a line


def play(
    start: Start | None,
    session_id: str | None,
    answerer: Answerer,
    *,
    wait_s: float | None,
    options: str,
    is_json: bool,
) -> int:
    """Begins a session with `start`, or goes on with `session_id`. `options`: those that the advice repeats.
    `is_json`: show a result that is a text as JSON too."""
    run = SessionRun(start, session_id, answerer, WAIT_S if wait_s is None else wait_s)
    run.options, run.is_json = options, is_json
    try:
        return anyio.run(_through_server, run)
    except KeyboardInterrupt:
        run.say("interrupted")
        run.say_how_to_go_on()
        return INTERRUPTED
    finally:
        run.close()


async def _through_server(run: "SessionRun") -> int:
    try:
        # A person names a file of their own: the server that this command starts may read it anywhere. Prompts and
        # results are not cut: a command would answer a part of a prompt.
        own = {"ALC_CODE_DIRS": "/", "ALC_OUTPUT_BYTES": str(LINE_BYTES)}
        async with started_client({**os.environ, **own}) as client:
            code = await run.play(client)
    except Unreachable as exc:
        run.say(f"the server ended or did not reply: {exc}; alc doctor finds the problem")
        code = 1
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


def _so_far(sid: str) -> tuple[list[str], int]:
    """The ids of all queries of a session in the order of asking, and how many answers it has from the session that it
    is a branch of. Nothing where its journal cannot be read."""
    from algocline_mcp.history.reader import records_of

    with suppress(AlcError, OSError):
        records = records_of(Home.from_env(os.environ), Limits.from_env(os.environ), sid)
        asked = [query["id"] for record in records if record["kind"] == "prompt" for query in record["queries"]]
        answers = [item for record in records if record["kind"] == "answer" for item in record["answers"]]
        return asked, sum(bool(item.get("shared")) for item in answers)
    return [], 0


class SessionRun:
    """One session, until it ends or an answer is missing."""

    def __init__(self, start: Start | None, session_id: str | None, answerer: Answerer, wait_s: float) -> None:
        self.session_id = session_id
        self.is_over = False  # the session cannot go on
        self.is_json = False
        self.options = ""
        self._start = start
        self._answerer = answerer
        self._wait_s = wait_s
        self._log = LiveLog(Home.from_env(os.environ), session_id, is_new=False) if session_id else None

    async def play(self, client: Client) -> int:
        if self._start is not None:
            state = await self._begin(client, self._start)
        else:
            state = await self._call(client, "alc_status", {}, wait_s=self._wait_s)
        has_begun = False
        while state is not None:
            status = state.get("status")
            if self.session_id is not None and status not in ("running", "accepted") and not has_begun:
                has_begun = True
                self._answerer.begin(self._asked(self.session_id))
            if status == "needs_response":
                queries = state.get("queries") or [state]
                answers = await self._answerer.answer(str(self.session_id), queries)
                state = await self._send(client, answers, state)
                if answers.is_interrupted:
                    self.say("interrupted")
                    return INTERRUPTED
                if answers.problem is not None:
                    self.say(answers.problem)
                    return 1
                if state is not None and state.get("refused"):
                    self.say("; ".join(f"{item['query_id']}: {item['reason']}" for item in state["refused"]))
                    return 1
            elif status in ("running", "accepted"):
                state = await self._call(client, "alc_status", {}, wait_s=self._wait_s)
            else:
                return self._end(state)
        return 1

    async def _begin(self, client: Client, start: Start) -> dict[str, Any] | None:
        """Does not wait: the id is then known whatever happens next. A dry run, which has no id, is waited for."""
        wait_s = self._wait_s if start.arguments.get("dry_run") else 0
        return await self._call(client, start.tool, start.arguments, wait_s=wait_s)

    def _asked(self, sid: str) -> list[str]:
        """The ids of all queries so far. Says how many answers a branch has."""
        if self._start is not None and self._start.tool == "alc_run":
            return []
        asked, inherited = _so_far(sid)
        if self._start is not None:
            self.say(f"answers of {self._start.arguments['session_id']} that it has so far: {inherited}")
        return asked

    async def _send(self, client: Client, answers: Answers, state: dict[str, Any]) -> dict[str, Any] | None:
        responses = [{"query_id": query_id, "response": whole(text)} for query_id, text in answers.by_query.items()]
        responses += [{"query_id": query_id, "refuse": whole(text)} for query_id, text in answers.refused.items()]
        if not responses:
            return state
        return await self._call(client, "alc_continue", {"responses": responses, "by": BY}, wait_s=self._wait_s)

    async def _call(
        self, client: Client, tool: str, arguments: dict[str, Any], *, wait_s: float
    ) -> dict[str, Any] | None:
        """The result of a tool; None after a refusal, which is already shown."""
        arguments = {**arguments, "wait_s": wait_s}
        if self.session_id is not None:
            arguments["session_id"] = self.session_id
        reply = await client.call(tool, arguments, limit_s=wait_s + SPARE_S, on_progress=self._progress)
        output.end_progress()
        if reply.content is None:
            self.say(self._at_terminal(reply.text))
            self.is_over = self.session_id is None or reply.text.endswith("[not_found]")
            return None
        state = reply.content
        if self.session_id is None and state["status"] not in _REPORTS:
            self.session_id = str(state["session_id"])
            self._log = LiveLog(Home.from_env(os.environ), self.session_id, is_new=True)
            self.say(f"session {self.session_id}")
        self._show_log()
        for warning in (state.get("pool_save_error"), *state.get("warnings", ())):
            if warning:
                self.say(str(warning))
        return state

    def _end(self, state: dict[str, Any]) -> int:
        self.is_over = "error_code" not in state  # an error with a code is one of the session, which can still go on
        if state.get("status") in _REPORTS:
            return self._report(state)
        if state.get("status") == "completed":
            if (leftover := self._answerer.leftover()) is not None:
                self.say(leftover)
            result = state.get("result")
            is_text = isinstance(result, str) and not self.is_json
            output.result(str(result) if is_text else json.dumps(result, indent=2, ensure_ascii=False))
            return 0
        ended = "the session was ended for good; start the strategy again with alc run"
        error = str(state.get("error", ended))
        self.say(f"{state.get('status')}: {error}")
        missing = _NOT_GIVEN.search(error.partition("\n")[0])
        pairs = missing[1].replace("ctx.", "").replace(",", "=…") + "=…" if missing is not None else ""
        if pairs:
            self.say(f"give it: {pairs}")
        if state.get("next"):
            self.say(self._at_terminal(str(state["next"]), pairs))
        return 1

    def _report(self, state: dict[str, Any]) -> int:
        """Shows what a dry run would ask, or the ids of several branches."""
        if state["status"] == "dry_run":
            shown = {name: value for name, value in state.items() if name not in ("status", "session_id")}
            output.result(json.dumps(shown, indent=2, ensure_ascii=False))
            return 0
        for branch in state["branches"]:
            output.result(branch["session_id"])
        self.say(f"go on with each of them: alc continue SID{self.options}")
        return 0

    def _at_terminal(self, sentence: str, pairs: str = "") -> str:
        file = self._start.strategy if self._start is not None else ANY_FILE
        return at_terminal(sentence, self.session_id or "SID", f"{file} {pairs}".rstrip() + self.options)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _show_log(self) -> None:
        """What the strategy has printed and logged since the last look."""
        for line in self._log.lines() if self._log is not None else ():
            output.end_progress()
            output.note(line)

    def _progress(self, progress: float, message: str | None) -> None:
        self._show_log()
        output.progress(f"… {message or progress}")

    def say(self, text: str) -> None:
        output.note(f"alc: {text}")

    def say_how_to_go_on(self) -> None:
        if self.session_id is None:
            self.say("a session may have started: alc ps lists the unfinished ones")
        else:
            self.say(f"the session is kept; go on with: alc continue {self.session_id}{self.options}")
