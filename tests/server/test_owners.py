"""Two principals and the user of one home, through the real tools: nobody reaches what belongs to another.

All calls are made once, by the fixture `story`; the tests judge what came back. `ATTEMPTS` has a row for every tool
that is registered, so a new tool fails here until somebody has thought about it.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp_types import ResourceTemplateReference, TextContent, TextResourceContents

from algocline_mcp.cli.demo import end_workers
from algocline_mcp.config.home import Home
from algocline_mcp.server import app
from algocline_mcp.server.resources import ADDRESS, HELP
from algocline_mcp.server.tool_call import principals
from algocline_mcp.server.tool_call.arguments import VIEWS
from algocline_mcp.session import owner
from algocline_mcp.storage import journal_parts

LIMIT_S = 240.0
ANN, BEN, USER = "ann", "ben", owner.USER
SECRET = "anns-secret"
UNKNOWN = "p-18f0000000000000-0123456789abcdef"  # no session has this id
CODE = f"""
alc.state.set("anns-key", "{SECRET}-value")
alc.card.create({{pkg = {{name = "anns-pkg"}}, card_id = "anns-card"}})
local first = alc.llm("{SECRET}-prompt-1")
return alc.llm("{SECRET}-prompt-2 " .. first)
"""
WHERE = """
import json, os, sys, traceback
try:
    alc.llm_json(1, 2, 3, 4)
except Exception:
    shown = traceback.format_exc()
names = [alc.llm.__code__.co_filename, alc.__file__, json.loads.__code__.co_filename, os.__file__, shown]
frame = sys._getframe()
while frame is not None:
    names.append(frame.f_code.co_filename)
    frame = frame.f_back
return " ".join([*names, sys.prefix, sys.base_prefix, sys.executable, *sys.path, *sys.path_importer_cache])
"""
SCENARIO = f'return {{name = "{SECRET}-scenario", cases = {{{{input = "{SECRET}-case", expected = "x"}}}}}}'


@dataclass
class Attempt:
    """A call against what is not one's own. `SID`, `FINISHED`, `EVAL` stand for ids of the other's."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None  # of the refusal; None: a result, which shows nothing of the other's
    exactly: str | None = None  # the beginning of the result
    shows: str = ""  # in the result


SETTINGS = {"ALC_TOOLS": "full", "ALC_ENV_ALLOW": "OPERATORS_SECRET", "OPERATORS_SECRET": "operators-secret"}
# Of this program, of Python, and of the user: no principal learns where they are.
DIRECTORIES = {str(Path(__file__).parents[2]), os.path.dirname(os.__file__), sys.prefix, os.path.expanduser("~/.")}
NOT_FOUND = "not_found"
NOT_ALLOWED = "not_allowed"
ID = {"session_id": "SID"}
ATTEMPTS: dict[str, list[Attempt]] = {
    "alc_run": [
        Attempt({"code": "return tostring(alc.state.get('anns-key'))"}, exactly="nil"),
        Attempt({"code": "return #alc.state.keys()"}, exactly="0"),
        Attempt({"code": "return #alc.card.find({})"}, exactly="0"),
        Attempt({"code": "return tostring(alc.env.OPERATORS_SECRET)"}, exactly="nil"),
        Attempt({"code": "return alc.env.A", "ctx": {"env": {"dotenv": "/proc/self/environ"}}}, "refused"),
        Attempt({"code_file": "strategy.lua"}, NOT_ALLOWED),
        Attempt({"code": "return 1", "project_root": "/"}, NOT_ALLOWED),
        # What is not there: the sentences name no directory of the machine and no tool of the operator.
        Attempt({}, "refused"),
        Attempt({"strategy": "refinery"}, "unknown_strategy"),
        Attempt({"code": "return select(2, pcall(require, 'absent.part'))"}, shows="among the modules of this server"),
        Attempt({"code": "import absent"}, shows="among the modules of this server"),
        Attempt({"code": WHERE, "language": "python"}, exactly="<lib>/"),
        Attempt({"code": "return ctx.text", "ctx_files": {"text": "/etc/hostname"}}, NOT_ALLOWED),
    ],
    "alc_continue": [
        Attempt(ID | {"query_id": "q-1", "response": "stolen"}, NOT_FOUND),
        Attempt({"session_id": "FINISHED", "response": "stolen"}, NOT_FOUND),
    ],
    "alc_status": [
        Attempt(exactly='{"active_sessions":0,"sessions":[]}'),
        Attempt({"finished": True}),
        Attempt({"limit": 1, "cursor": "SID"}),
        Attempt(ID, NOT_FOUND),
        Attempt(ID | {"wait_s": 1}, NOT_FOUND),
        Attempt({"session_id": "FINISHED"}, NOT_FOUND),
        *(Attempt({"session_id": sid, "view": view}, NOT_FOUND) for sid in ("SID", "FINISHED") for view in VIEWS),
        Attempt(ID | {"pending_filter": "full", "include_history": True}, NOT_FOUND),
    ],
    "alc_stop": [Attempt(ID | {"mode": mode}, NOT_FOUND) for mode in ("hibernate", "cancel", "delete")]
    + [Attempt({"session_id": "FINISHED", "mode": "delete"}, NOT_FOUND)],
    "alc_branch": [
        Attempt(ID, NOT_FOUND),
        Attempt(ID | {"dry_run": True}, NOT_FOUND),
        Attempt(ID | {"at": "q-0"}, NOT_FOUND),
        Attempt(ID | {"code": "return alc.llm('?')"}, NOT_FOUND),
        Attempt({"session_id": "FINISHED", "n": 2}, NOT_FOUND),
        Attempt(ID | {"code_file": "strategy.lua"}, NOT_ALLOWED),
        Attempt(  # a value that is shown would be redacted, its length is not
            {
                "session_id": "BENS",
                "code": "return alc.llm('has ' .. #(alc.env.OPERATORS_SECRET or ''))",
                "dry_run": True,
            },
            shows='"has 0"',
        ),
    ],
    "alc_catalog": [
        Attempt({"kind": "strategies"}),
        Attempt({"kind": "packages"}),
        Attempt({"kind": "cards"}, exactly='{"cards":[]'),
        Attempt({"kind": "cards", "name": "anns-card"}, NOT_FOUND),
        Attempt({"kind": "state"}, exactly='{"state":[]'),
        Attempt({"kind": "state", "name": "default"}, exactly='{"state":[]'),
        Attempt({"kind": "state", "name": "default/anns-key"}, NOT_FOUND),
        Attempt({"kind": "help"}),
    ],
    "alc_advice": [Attempt({"strategy": "refine", "task": "t", "project_root": "/"}, NOT_ALLOWED)],
    "alc_log_view": [
        Attempt(exactly='{"sessions":[]}'),
        Attempt(ID, NOT_FOUND),
        Attempt({"session_id": "FINISHED"}, NOT_FOUND),
    ],
    "alc_note": [Attempt({"session_id": "FINISHED", "content": "stolen"}, NOT_FOUND)],
    "alc_stats": [Attempt(exactly='{"total_sessions":0')],
    "alc_state_list": [Attempt(exactly='{"keys":[]}')],
    "alc_state_show": [Attempt({"key": "anns-key"}, "refused")],
    "alc_state_set": [Attempt({"key": "anns-key", "value": "bens"})],
    "alc_state_delete": [Attempt({"key": "anns-key"}, exactly='{"ok":true,"existed":true}')],
    "alc_state_reset": [Attempt({"key": "anns-key", "steps": ["a"]}, "refused")],
    "alc_card_list": [Attempt(exactly='{"cards":[]}')],
    "alc_card_get": [Attempt({"card_id": "anns-card"}, NOT_FOUND)],
    "alc_card_find": [Attempt({"pkg": "anns-pkg"}, exactly='{"cards":[]}')],
    "alc_card_append": [Attempt({"card_id": "anns-card", "fields": {"notes": "x"}}, "refused")],
    "alc_card_samples": [Attempt({"card_id": "anns-card"}, "refused")],
    "alc_card_lineage": [Attempt({"card_id": "anns-card"}, NOT_FOUND)],
    "alc_card_alias_set": [Attempt({"name": "anns-alias", "card_id": "anns-card"}, "refused")],
    "alc_card_alias_list": [Attempt(exactly='{"aliases":[]}')],
    "alc_card_get_by_alias": [Attempt({"name": "anns-alias"}, NOT_FOUND)],
    "alc_eval": [
        Attempt({"strategy": "refinery", "scenario": "return {}"}, "unknown_strategy"),
        Attempt({"strategy": "refine"}, "refused"),
        Attempt({"strategy": "refine", "scenario_file": "/etc/hostname"}, NOT_ALLOWED),
        Attempt({"strategy": "refine", "scenario": "return {}", "project_root": "/"}, NOT_ALLOWED),
    ],
    "alc_eval_history": [Attempt(exactly='{"evals":[]}')],
    "alc_eval_detail": [Attempt({"eval_id": "EVAL"}, NOT_FOUND)],
    "alc_eval_compare": [Attempt({"eval_id_a": "EVAL", "eval_id_b": "EVAL"}, NOT_FOUND)],
    # What reaches further than the caller's own sessions is the operator's.
    "alc_package": [Attempt({"action": "install", "source": "/tmp"}, NOT_ALLOWED)],
    "alc_info": [Attempt({}, NOT_ALLOWED)],
    "alc_pool_status": [Attempt({"sid": "SID"}, NOT_ALLOWED)],
    "alc_pool_ensure": [Attempt({}, NOT_ALLOWED)],
    "alc_pool_stop": [Attempt({"sid": "SID"}, NOT_ALLOWED), Attempt({}, NOT_ALLOWED)],
    "alc_pkg_list": [Attempt({}, NOT_ALLOWED)],
    "alc_pkg_install": [Attempt({"url": "/tmp"}, NOT_ALLOWED)],
    "alc_pkg_remove": [Attempt({"name": "refine"}, NOT_ALLOWED)],
    "alc_pkg_link": [Attempt({"path": "/tmp"}, NOT_ALLOWED)],
    "alc_pkg_unlink": [Attempt({"name": "refine"}, NOT_ALLOWED)],
    "alc_pkg_doctor": [Attempt({}, NOT_ALLOWED)],
    "alc_pkg_repair": [Attempt({}, NOT_ALLOWED)],
    "alc_pkg_test": [Attempt({"code": "return 1"}, NOT_ALLOWED)],
    "alc_pkg_scaffold": [Attempt({"name": "mine"}, NOT_ALLOWED)],
    "alc_card_install": [Attempt({"url": "/tmp"}, NOT_ALLOWED)],
    "alc_card_sink_backfill": [Attempt({"sink": "/tmp"}, NOT_ALLOWED)],
    "alc_scenario_list": [Attempt({}, NOT_ALLOWED)],
    "alc_scenario_show": [Attempt({"name": "x"}, NOT_ALLOWED)],
    "alc_scenario_install": [Attempt({"url": "/tmp"}, NOT_ALLOWED)],
}


class Caller:
    """Takes the place of the context variable: the caller of whatever is called next."""

    def __init__(self) -> None:
        self.name = USER

    def get(self) -> str:
        return self.name


@dataclass
class Outcome:
    tool: str
    attempt: Attempt
    text: str
    code: str | None  # None: a result
    result: Any
    unknown: str  # the text of the same call about ids that do not exist; without an id, `text` itself

    def shown(self) -> str:
        return f"{self.tool} {json.dumps(dict(self.attempt.arguments))}: {self.text}"


@dataclass
class Story:
    ids: dict[str, str] = field(default_factory=dict)
    listed: dict[str, list[Any]] = field(default_factory=dict)  # tools of a caller
    outcomes: list[Outcome] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)  # by address: what somebody else gets
    completed: dict[str, list[str]] = field(default_factory=dict)  # by caller
    paths: dict[str, list[str]] = field(default_factory=dict)  # what the server looked at for an id
    ends: dict[str, Any] = field(default_factory=dict)  # what became of the sessions
    home: Home = field(default_factory=lambda: Home(Path("/")))


class Paths:
    """What this process opens, lists and connects to while it records."""

    def __init__(self) -> None:
        self.is_recording = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)  # for ever: there is no way to remove it

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_recording and event in ("open", "os.listdir", "os.scandir", "socket.connect", "os.remove"):
            self.seen.append(f"{event} {arguments[-1 if event == 'socket.connect' else 0]}")


class Player:
    """Calls one server as anybody."""

    def __init__(self, client_of: Callable[[str], Client], story: Story) -> None:
        self._client_of = client_of
        self.story = story

    async def call(self, who: str, tool: str, arguments: Mapping[str, Any]) -> tuple[str, str | None, Any]:
        """Text, code of a refusal, structured result."""
        reply = await self._client_of(who).call_tool(tool, dict(arguments))
        (content,) = reply.content
        assert isinstance(content, TextContent)
        code = content.text.rpartition("[")[2].rstrip("]") if reply.is_error else None
        return content.text, code, reply.structured_content

    async def result(self, who: str, tool: str, **arguments: Any) -> Any:
        text, code, result = await self.call(who, tool, arguments)
        assert code is None, text
        return result

    async def page(self, who: str, address: str) -> str:
        try:
            (content,) = (await self._client_of(who).read_resource(address)).contents
        except MCPError as exc:
            return str(exc)
        assert isinstance(content, TextResourceContents)
        return content.text

    async def complete(self, who: str, value: str) -> list[str]:
        template = ResourceTemplateReference(type="ref/resource", uri=ADDRESS)
        reply = await self._client_of(who).complete(template, {"name": "session_id", "value": value})
        return list(reply.completion.values)

    async def tools(self, who: str) -> list[Any]:
        return list((await self._client_of(who).list_tools()).tools)

    async def templates(self) -> list[str]:
        return [
            item.uri_template for item in (await self._client_of(USER).list_resource_templates()).resource_templates
        ]


def _filled(arguments: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    return {name: ids.get(value, value) if isinstance(value, str) else value for name, value in arguments.items()}


@asynccontextmanager
async def _player(story: Story, caller: Caller) -> AsyncIterator[Player]:
    with anyio.fail_after(LIMIT_S):
        async with Client(app.build()) as client:

            def client_of(who: str) -> Client:
                caller.name = who
                return client

            yield Player(client_of, story)


async def _prepare(player: Player) -> None:
    """What Ann has: a paused session with one answer, a finished one with a note, state, a card and an evaluation."""
    ids = player.story.ids
    ids["FINISHED"] = (await player.result(ANN, "alc_run", code=CODE, title=f"{SECRET}-done"))["session_id"]
    for query in ("q-0", "q-1"):
        await player.result(
            ANN, "alc_continue", session_id=ids["FINISHED"], query_id=query, response=f"{SECRET}-answer"
        )
    await player.result(ANN, "alc_note", session_id=ids["FINISHED"], content=f"{SECRET}-note")
    evaluation = await player.result(ANN, "alc_eval", strategy="refine", scenario=SCENARIO)
    ids["EVAL"] = evaluation["eval_id"]
    code = f"local a = alc.llm('{SECRET}-1'); return a .. alc.llm('{SECRET}-2')"
    ids["SID"] = (await player.result(ANN, "alc_run", code=code, title=f"{SECRET}-title"))["session_id"]
    await player.result(ANN, "alc_continue", session_id=ids["SID"], query_id="q-0", response=f"{SECRET}-first ")
    ids["USERS"] = (await player.result(USER, "alc_run", code="return alc.llm('the-users')"))["session_id"]


async def attempt(player: Player) -> None:
    ids, story = player.story.ids, player.story
    unknown = {"SID": UNKNOWN, "FINISHED": UNKNOWN, "EVAL": "refine-20260101-00000000"}
    bens = await player.result(BEN, "alc_run", code="return 1")
    ids = ids | {"BENS": bens["session_id"]}
    for tool, attempts in ATTEMPTS.items():
        for attempt in attempts:
            text, code, result = await player.call(BEN, tool, _filled(attempt.arguments, ids))
            other = text
            if unknown.keys() & {value for value in attempt.arguments.values() if isinstance(value, str)}:
                other, _, _ = await player.call(BEN, tool, _filled(attempt.arguments, unknown))
            story.outcomes.append(Outcome(tool, attempt, text, code, result, other))
    for sid in (ids["SID"], ids["FINISHED"], ids["USERS"], UNKNOWN):
        for view in VIEWS:
            address = ADDRESS.format(session_id=sid, view=view)
            story.pages[address] = await player.page(BEN, address)
    for who in (ANN, BEN, USER):
        story.completed[who] = await player.complete(who, "p-")


async def _record(player: Player) -> None:
    paths, ids, story = Paths(), player.story.ids, player.story
    own = story.home.of(BEN).part
    for sid in (ids["SID"], ids["FINISHED"], UNKNOWN):
        rounds = []
        for _ in range(3):
            paths.seen, paths.is_recording = [], True
            await player.call(BEN, "alc_continue", {"session_id": sid, "query_id": "q-1", "response": "x"})
            await player.call(BEN, "alc_status", {"session_id": sid, "view": "history"})
            await player.call(BEN, "alc_stop", {"session_id": sid})
            paths.is_recording = False
            rounds.append([path.replace(sid, "ID") for path in paths.seen if sid in path or own in path])
        story.paths[sid] = min(rounds, key=len)  # now and then the server also counts or sweeps, which nobody waits for


async def play(player: Player, between: Callable[[Player], Awaitable[None]] | None = None) -> None:
    """`between`: what is done while the session of Ann is paused."""
    story = player.story
    for who in (ANN, USER):
        story.listed[who] = await player.tools(who)
    story.listed["templates"] = await player.templates()
    await _prepare(player)
    await attempt(player)
    if between is not None:
        await between(player)
    sid = story.ids["SID"]
    story.ends["ann"] = await player.result(ANN, "alc_continue", session_id=sid, query_id="q-1", response="and-second")
    story.ends["users of ann"] = await player.call(ANN, "alc_status", {"session_id": story.ids["USERS"]})
    story.ends["anns of the user"] = await player.call(USER, "alc_status", {"session_id": sid})
    story.ends["workers"] = await player.result(USER, "alc_pool_status")
    story.ends["users"] = await player.result(USER, "alc_status")
    story.ends["finished"] = await player.result(ANN, "alc_log_view", session_id=story.ids["FINISHED"])
    story.ends["state"] = await player.result(ANN, "alc_state_show", key="anns-key")


async def _play_in_memory(story: Story, caller: Caller) -> None:
    async with _player(story, caller) as player:
        await play(player, _record)


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with tempfile.TemporaryDirectory(prefix="alc") as directory, pytest.MonkeyPatch.context() as patch:
        story, caller = Story(home=Home(Path(os.path.realpath(directory)) / "h")), Caller()
        patch.setattr(owner, "_caller", caller)
        for name, value in {"ALC_HOME": os.fspath(story.home.root), "ALC_WARMUP_RUNS": "0", **SETTINGS}.items():
            patch.setenv(name, value)
        try:
            anyio.run(_play_in_memory, story, caller)
            yield story
        finally:
            end_workers(story.home)


def test_every_tool_has_a_row_of_attempts(story: Story) -> None:
    assert {tool.name for tool in story.listed[USER]} == set(ATTEMPTS)


def test_there_are_no_other_resources_than_those_that_are_tried(story: Story) -> None:
    assert set(story.listed["templates"]) == {ADDRESS, HELP}


def test_a_principal_is_listed_what_it_may_call_alone(story: Story) -> None:
    listed = {tool.name: set(tool.input_schema["properties"]) for tool in story.listed[ANN]}

    assert set(listed) == principals.TOOLS & {tool.name for tool in story.listed[USER]} == principals.TOOLS
    assert not {"code_file", "ctx_files", "project_root"} & set().union(*listed.values())
    assert set().union(*listed.values()) == principals.ARGUMENTS


def test_each_attempt_ends_as_its_row_says(story: Story) -> None:
    wrong = [outcome.shown() for outcome in story.outcomes if outcome.code != outcome.attempt.code]
    for outcome in story.outcomes:
        if (exactly := outcome.attempt.exactly) is not None:
            text = str(outcome.result["result"]) if outcome.tool == "alc_run" else outcome.text
            wrong += [] if text.startswith(exactly) else [outcome.shown()]
        wrong += [] if outcome.attempt.shows in outcome.text else [outcome.shown()]

    assert not wrong


def test_no_attempt_shows_anything_of_another(story: Story) -> None:
    for outcome in story.outcomes:
        text = outcome.text
        for value in _filled(outcome.attempt.arguments, story.ids).values():
            text = text.replace(str(value), "")  # what one has sent oneself
        hidden = [SECRET, "operators-secret", "the-users", str(story.home.root), *DIRECTORIES, *story.ids.values()]
        assert not [secret for secret in hidden if secret in text], outcome.shown()


def test_advice_names_no_tool_and_no_argument_that_the_caller_may_not_use(story: Story) -> None:
    tools = {tool.name for tool in story.listed[USER]} - principals.TOOLS
    closed = tools | {"code_file", "ctx_files", "project_root", "scenario_file"}
    shown = [(outcome.text, {outcome.tool, *outcome.attempt.arguments}) for outcome in story.outcomes]
    shown += [(str(tool.model_dump(exclude={"name"})), set()) for tool in story.listed[ANN]]

    for text, own in shown:
        assert not closed & {*re.findall(r"\w+", text)} - own, text


def test_what_belongs_to_another_is_refused_in_the_words_for_what_does_not_exist(story: Story) -> None:
    unknown = {"SID": UNKNOWN, "FINISHED": UNKNOWN, "EVAL": "refine-20260101-00000000"}
    for outcome in story.outcomes:
        if outcome.code is not None:
            text = outcome.text
            for name, other in unknown.items():
                text = text.replace(story.ids[name], other)
            assert text == outcome.unknown, outcome.shown()


def test_resources_and_completions_are_those_of_the_caller(story: Story) -> None:
    for address, text in story.pages.items():
        assert text.endswith("[not_found]"), address
        assert SECRET not in text
    assert {story.ids["SID"]} < set(story.completed[ANN])
    assert story.completed[USER] == [story.ids["USERS"]]
    assert not {*story.completed[BEN]} & {*story.ids.values()}


def test_the_same_is_looked_at_for_the_id_of_another_as_for_an_unknown_one(story: Story) -> None:
    """So the time is the same as well, whatever the disk and the machine do."""
    unknown = story.paths[UNKNOWN]

    assert unknown
    assert story.paths[story.ids["SID"]] == unknown
    assert story.paths[story.ids["FINISHED"]] == unknown
    assert not [path for path in unknown if story.home.of(ANN).part in path]


def test_attempts_change_nothing_of_the_other(story: Story) -> None:
    assert story.ends["ann"]["result"] == f"{SECRET}-first and-second"
    assert [note["content"] for note in story.ends["finished"]["notes"]] == [f"{SECRET}-note"]
    assert story.ends["state"]["value"] == f"{SECRET}-value"


def test_the_user_over_stdio_and_a_principal_do_not_see_each_other(story: Story) -> None:
    assert story.ends["users of ann"][1] == story.ends["anns of the user"][1] == NOT_FOUND
    assert [line["session_id"] for line in story.ends["users"]["sessions"]] == [story.ids["USERS"]]
    assert {line["sid"] for line in story.ends["workers"]["sessions"]} <= {story.ids["USERS"]}  # or it hibernates


def test_a_header_names_its_owner_and_the_users_paths_are_unchanged(story: Story) -> None:
    home, ann = story.home, story.home.of(ANN)

    users = journal_parts.read_first(home.journal(story.ids["USERS"]))
    anns = journal_parts.read_first(ann.finished_journal(story.ids["FINISHED"]))
    assert users is not None
    assert anns is not None
    assert (users["owner"], anns["owner"]) == (None, ANN)
    assert (ann.owner_name.read_text(), ann.root) == (ANN, home.root)
