"""One session at the terminal: starts it or goes on with it, has its prompts answered, shows its log and its result.

Contract: `play` returns the exit code of the process. Each method says on stderr what the user must know.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from algocline_mcp.answering.drive import UNFINISHED, Drive, Given, State, queries_of
from algocline_mcp.answering.prompts import Answer, Numbering, Prompt, close
from algocline_mcp.cli import output, result_file
from algocline_mcp.cli.answerers import Answering
from algocline_mcp.cli.client import Client, ToolResult
from algocline_mcp.cli.display import View, view_for
from algocline_mcp.cli.live_log import LiveLog, schemas_of
from algocline_mcp.cli.start import ANY_FILE, Start
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, StorageBroken, whole
from algocline_mcp.session.misfits import REFUSALS, is_misfit

if TYPE_CHECKING:
    from algocline_mcp.cli.person import Person

# A server that does not reply within wait_s and this counts as dead. A busy machine imports the SDK for half of it.
SPARE_S = 60.0
BY = "alc run"
INTERRUPTED = 130
# Ends of refusals: the strategy asks these prompts no longer; none of the answers fits the schema of its prompt.
_WITHDRAWN, _MISFIT = "[unknown_query]", "[misfit]"
_REPORTS = ("dry_run", "branched")  # statuses of alc_branch that are not about one new session
_NOT_GIVEN = re.compile(r"\(not given: (ctx\.\w+(?:, ctx\.\w+)*)\)$")  # of the engine, at the end of a line


def _so_far(sid: str) -> tuple[list[dict[str, Any]], int]:
    """All queries of a session in the order of asking, and how many answers it has from the session that it is a branch
    of. Nothing where its journal cannot be read."""
    from algocline_mcp.history.reader import records_of

    with suppress(AlcError, OSError):
        records = records_of(Home.from_env(os.environ), Limits.from_env(os.environ), sid)
        asked = [query for record in records if record["kind"] == "prompt" for query in record["queries"]]
        answers = [item for record in records if record["kind"] == "answer" for item in record["answers"]]
        return asked, sum(bool(item.get("shared")) for item in answers)
    return [], 0


class SessionRun:
    """One session, until it ends or an answer is missing."""

    def __init__(
        self, start: Start | None, session_id: str | None, answerer: "Answering | Person", wait_s: float
    ) -> None:
        self.session_id = session_id
        self.is_over = False  # the session cannot go on
        self.is_json = False
        self.is_quiet = False
        self.out: str | None = None
        self.options = ""
        self._start = start
        self._answerer = answerer
        self._wait_s = wait_s
        self._log = LiveLog(Home.from_env(os.environ), session_id, is_new=False) if session_id else None
        self._client: Client
        self._view = View()
        self._warned: set[str] = set()

    async def play(self, client: Client) -> int:
        self._client = client
        self._view = view_for(is_slow=False, is_quiet=self.is_quiet)
        state = await (self._begin(self._start) if self._start is not None else self.wait())
        while state is not None and state.get("status") in ("running", "accepted"):
            state = await self.wait()
        if state is None:
            return 1
        numbering = Numbering(self.session_id or "")
        if self.session_id is not None:
            asked = self._asked(self.session_id)
            numbering.begin(asked)
            state = _with_schemas(state, schemas_of(asked))
        if isinstance(self._answerer, Answering):
            state, problem = await self._drive(self._answerer, numbering, state)
        else:
            state, problem, is_interrupted = await self._ask_person(self._answerer, state)
            if is_interrupted:
                self.say("interrupted")
                return INTERRUPTED
        if problem is not None:
            self.say(problem)
        if state is None or problem is not None:
            return 1
        return self._end(state)

    async def _ask_person(self, person: "Person", state: State) -> tuple[State | None, str | None, bool]:
        """The last state, why it is not the end, and whether the person has interrupted."""
        following: State | None = state
        while following is not None and following.get("status") in UNFINISHED:
            if following["status"] != "needs_response":
                following = await self.wait()
                continue
            answers = await person.answer([dict(query) for query in queries_of(following).values()])
            items = [{"query_id": query_id, "response": whole(text)} for query_id, text in answers.by_query.items()]
            items += [{"query_id": query_id, "refuse": whole(text)} for query_id, text in answers.refused.items()]
            if items:
                following = await self._continue(items, self._wait_s)
            for reason in _misfits(following):
                self.say(reason)  # the prompt is shown again
            refused = [item for item in _refused(following) if not is_misfit(item["reason"])]
            problem = answers.problem or "; ".join(f"{item['query_id']}: {item['reason']}" for item in refused)
            if answers.is_interrupted or problem:
                return following, problem, answers.is_interrupted
        return following, None, False

    async def hand_in(self, given: Sequence[Given], *, is_waiting: bool) -> State | None:
        items = [_item(prompt, answer) for prompt, answer in given]
        wait_s = self._wait_s if is_waiting else 0.0
        state = await self._continue(items, wait_s)
        # Who could correct an answer was asked to (answering/correction.py): now it counts as it is. Only the writer of
        # a file of answers can correct them.
        is_file = isinstance(self._answerer, Answering) and self._answerer.file is not None
        for _ in range(0 if is_file else REFUSALS):
            if not _misfits(state):
                break
            state = await self._continue(items, wait_s)
        return state

    async def _continue(self, items: Sequence[Mapping[str, Any]], wait_s: float) -> State | None:
        """The state after these answers, also where none of them is wanted any longer, or none fits: it has `refused`
        then."""
        reply = await self._request("alc_continue", {"responses": [*items], "by": BY}, wait_s)
        if reply.content is not None or not reply.text.endswith((_WITHDRAWN, _MISFIT)):
            return self._state_of(reply)
        reason = reply.text.removesuffix(_MISFIT).rstrip()
        refused = [{"query_id": items[0]["query_id"], "reason": reason}] if reason != reply.text else []
        state = await self._call("alc_status", {}, wait_s=0.0 if refused else wait_s)
        return state if state is None or not refused else {**state, "refused": refused}

    async def wait(self) -> State | None:
        return await self._call("alc_status", {}, wait_s=self._wait_s)

    async def _drive(self, answering: Answering, numbering: Numbering, state: State) -> tuple[State | None, str | None]:
        self._view = view_for(is_slow=answering.is_slow, is_quiet=self.is_quiet)
        drive = Drive(answering.answerer, self, numbering, jobs=answering.jobs, watcher=self._view)
        with self._view:
            state_at_end = await drive.run(state)
        return state_at_end, drive.problem

    async def end_answering(self) -> None:
        """Closes connections, and writes the summary."""
        if isinstance(self._answerer, Answering):
            await close(self._answerer.answerer)
            if self._answerer.is_slow and not self.is_quiet and self._view.prompts:
                self.say(self._view.summary())

    async def _begin(self, start: Start) -> State | None:
        """Does not wait: the id is then known whatever happens next. A dry run, which has no id, is waited for."""
        wait_s = self._wait_s if start.arguments.get("dry_run") else 0
        return await self._call(start.tool, start.arguments, wait_s=wait_s)

    def _asked(self, sid: str) -> list[dict[str, Any]]:
        """All queries so far. Says how many answers a branch has."""
        if self._start is not None and self._start.tool == "alc_run":
            return []
        asked, inherited = _so_far(sid)
        if self._start is not None:
            self.say(f"answers of {self._start.arguments['session_id']} that it has so far: {inherited}")
        return asked

    async def _call(self, tool: str, arguments: dict[str, Any], *, wait_s: float) -> State | None:
        """The result of a tool; None after a refusal, which is already shown."""
        return self._state_of(await self._request(tool, arguments, wait_s))

    async def _request(self, tool: str, arguments: dict[str, Any], wait_s: float) -> ToolResult:
        arguments = {**arguments, "wait_s": wait_s}
        if self.session_id is not None:
            arguments["session_id"] = self.session_id
        reply = await self._client.call(tool, arguments, limit_s=wait_s + SPARE_S, on_progress=self._progress)
        self._view.end_progress()
        return reply

    def _state_of(self, reply: ToolResult) -> State | None:
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
            if warning and warning not in self._warned:  # a pause has it, and the result again
                self._warned.add(warning)
                self.say(str(warning))
        return state if self._log is None else _with_schemas(state, self._log.schemas)

    def _end(self, state: State) -> int:
        self.is_over = "error_code" not in state  # an error with a code is one of the session, which can still go on
        if state.get("status") in _REPORTS:
            return self._report(state)
        if state.get("status") == "completed":
            if isinstance(self._answerer, Answering) and (leftover := self._answerer.leftover()) is not None:
                self.say(leftover)
            return self._deliver(state.get("result"))
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

    def _deliver(self, result: Any) -> int:
        is_text = isinstance(result, str) and not self.is_json
        text = str(result) if is_text else json.dumps(result, indent=2, ensure_ascii=False)
        end = "" if output.is_raw() else "\n"
        if self.out is None:
            output.result(text + end, nl=False)
            return 0
        try:
            result_file.write(self.out, text + end)
        except (OSError, StorageBroken) as exc:
            output.result(text + end, nl=False)
            reason = getattr(exc, "strerror", None) or exc
            self.say(f"{self.out} could not be written ({reason}), so the result is on stdout")
            return 1
        self.say(f"the result is in {self.out}")
        return 0

    def _report(self, state: State) -> int:
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
        for line in self._log.lines(with_phases=not self.is_quiet) if self._log is not None else ():
            self._view.end_progress()
            output.note(line)

    def _progress(self, progress: float, message: str | None) -> None:
        self._show_log()
        self._view.progress(f"… {message or progress}")

    def say(self, text: str) -> None:
        output.note(f"alc: {text}")

    def say_how_to_go_on(self) -> None:
        if self.session_id is None:
            self.say("a session may have started: alc ps lists the unfinished ones")
        else:
            self.say(f"the session is kept; go on with: alc continue {self.session_id}{self.options}")


def _with_schemas(state: State, schemas: Mapping[str, Any]) -> State:
    """The queries with their schemas, which a host is not shown, because the prompt asks for the form: the clients of
    models send them, and answers are checked."""

    def typed(query: Mapping[str, Any]) -> dict[str, Any]:
        schema = schemas.get(str(query.get("query_id")))
        return dict(query) if schema is None else {**query, "schema": schema}

    queries = {"queries": [typed(query) for query in state["queries"]]} if "queries" in state else {}
    return typed(state) | queries if schemas else state


def _refused(state: State | None) -> Sequence[Mapping[str, Any]]:
    return state.get("refused", ()) if state is not None else ()


def _misfits(state: State | None) -> list[str]:
    """Why answers do not fit the schema of their prompt."""
    return [item["reason"] for item in _refused(state) if is_misfit(item["reason"])]


def _item(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    """The item of `responses`."""
    if answer.text is not None:
        item: dict[str, Any] = {"query_id": prompt.query_id, "response": whole(answer.text)}
    else:
        item = {"query_id": prompt.query_id, "refuse": whole(answer.refusal or "no reason given")}
    more = {"usage": dict(answer.usage) if answer.usage else None, "by": answer.by}
    return item | {key: value for key, value in more.items() if value is not None}
