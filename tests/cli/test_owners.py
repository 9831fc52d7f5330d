"""The terminal and the sessions of principals: the user whose home it is sees all of them."""

import json

import anyio
import pytest

from algocline_mcp.config.limits import Limits
from algocline_mcp.pool import dispatch
from algocline_mcp.pool.owned import pool_of
from algocline_mcp.session.owner import calling_as
from algocline_mcp.storage import journal_parts
from tests.cli.conftest import LIMIT_S, Terminal
from tests.rig.programs import ROOMY

ANN = "ann@example.org"
CODE = 'alc.log("info", "anns-log") return alc.llm("anns-prompt")'


@pytest.fixture
def anns(terminal: Terminal) -> str:
    """A paused session of a principal, without a worker."""

    async def play() -> str:
        with anyio.fail_after(LIMIT_S), calling_as(ANN):
            async with dispatch.Pool(terminal.home, Limits(**ROOMY), environ={"ALC_SPAWN": "exec"}) as pool:
                own = pool_of(pool, ANN)
                reply = await dispatch.run_via_pool(own, dispatch.Strategy(CODE, title="anns"), wait_s=LIMIT_S)
                await dispatch.stop_via_pool(own, reply.session_id, "hibernate")
                return reply.session_id

    return anyio.run(play)


def test_sessions_of_principals_are_listed_with_their_owner(terminal: Terminal, anns: str) -> None:
    users = terminal.session("return alc.llm('?')", title="users")

    listed = json.loads(terminal.alc("ps", "--json").stdout)
    table = terminal.alc("ps").stdout.splitlines()
    assert [(line["session_id"], line["owner"]) for line in listed["sessions"]] == [(users, ""), (anns, ANN)]
    assert (listed["active_sessions"], listed["counts"]["unfinished"]) == (2, 2)
    assert table[0].split()[:3] == ["SESSION", "OWNER", "STATUS"]
    assert [line.split()[1] for line in table[1:]] == ["needs_response", ANN]
    terminal.alc("stop", users)


def test_a_home_of_the_user_alone_has_no_column_of_owners(terminal: Terminal) -> None:
    sid = terminal.session("return alc.llm('?')")

    assert "OWNER" not in terminal.alc("ps").stdout
    assert "owner" not in json.loads(terminal.alc("ps", "--json").stdout)["sessions"][0]
    terminal.alc("stop", sid)


def test_each_command_on_one_session_takes_that_of_a_principal(terminal: Terminal, anns: str) -> None:
    part = terminal.home.of(ANN)

    shown = terminal.alc("show", anns[-8:]).stdout
    logged = terminal.alc("logs", anns).stdout
    exported = terminal.alc("export", anns, "-").stdout_bytes
    refused = [terminal.alc(command, anns) for command in ("continue", "branch")]
    cancelled = terminal.alc("stop", anns, "--cancel").stdout
    assert "anns-prompt" in shown
    assert "anns-log" in logged
    assert anns.encode() in exported
    assert all(result.exit_code == 1 and "belongs to a principal" in result.stderr for result in refused)
    assert "is cancelled" in cancelled
    assert part.finished_journal(anns).exists()
    assert anns in terminal.alc("purge", "--days", "0").stdout
    assert not part.finished_journal(anns).exists()


@pytest.mark.parametrize("owner", ["", ANN, "ben"])
def test_an_imported_session_belongs_to_who_is_named_else_to_the_user(
    terminal: Terminal, anns: str, tmp_path: pytest.TempPathFactory, owner: str
) -> None:
    file = f"{tmp_path}/s.journal"
    terminal.alc("export", anns, file)
    twice = terminal.alc("import", file, *(("--owner", owner) if owner else ()))
    terminal.alc("stop", anns, "--delete")

    result = terminal.alc("import", file, *(("--owner", owner) if owner else ()))
    header = journal_parts.read_first(terminal.home.of(owner).journal(anns))
    assert (twice.exit_code, result.stdout.strip()) == (1, anns)
    assert header is not None
    assert header["owner"] == (owner or None)
    assert json.loads(terminal.alc("ps", "--json").stdout)["sessions"][0].get("owner", "") == owner
