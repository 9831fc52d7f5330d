"""alc_status as upstream has it, through a real server with ALC_TOOLS=full and real sessions."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.demo import Server
from algocline_mcp.errors import Refused
from tests.rig.hosts import RawServer, server_environment

LIMIT_S = 120.0
UNKNOWN = "p-1-0123456789abcdef"


def start(host: Server, code: str, **arguments: Any) -> str:
    sid: str = host.call("alc_run", code=code, **arguments)["session_id"]
    return sid


def status(host: Server, sid: str, **arguments: Any) -> dict[str, Any]:
    return host.call("alc_status", session_id=sid, **arguments)


def pending(host: Server, prompt: str, chosen: Any) -> dict[str, Any]:
    """What alc_status shows of the one pending prompt."""
    sid = start(host, "return alc.llm(ctx.p)", ctx={"p": prompt})
    snapshot = status(host, sid, pending_filter=chosen)
    assert snapshot["pending_queries"] == 1
    (only,) = snapshot["pending"]
    assert isinstance(only, dict)
    return only


@pytest.mark.slow
def test_home_without_sessions_gives_upstreams_line() -> None:
    with tempfile.TemporaryDirectory(prefix="alc") as directory:
        server = RawServer(server_environment(Path(directory) / "h", fake=False, ALC_TOOLS="full"))
        try:
            server.initialize()
            server.call(1, "alc_status", {})
            result = server.line()["result"]
        finally:
            server.close()

    assert result["content"][0]["text"] == '{"active_sessions":0,"sessions":[]}'


@pytest.mark.parametrize(
    ("chosen", "sentences"),
    [
        ("bogus", ["unknown pending_filter preset", "bogus"]),
        (True, ["pending_filter must be a preset name", "bool"]),
    ],
)
def test_invalid_pending_filter_is_refused_with_and_without_a_session(
    host: Server, chosen: Any, sentences: list[str]
) -> None:
    sid = start(host, "return alc.llm('p')")
    for arguments in ({}, {"session_id": sid}):
        with pytest.raises(Refused) as caught:
            host.call("alc_status", pending_filter=chosen, **arguments)
        for sentence in sentences:
            assert sentence in str(caught.value)


def test_meta_names_the_query_and_shows_nothing_of_its_prompt(host: Server) -> None:
    assert pending(host, "p", "meta") == {"query_id": "q-0", "max_tokens": 1024}


def test_preview_is_the_beginning_of_the_prompt(host: Server) -> None:
    assert pending(host, "x" * 500, "preview") == {"query_id": "q-0", "max_tokens": 1024, "prompt_preview": "x" * 200}


@pytest.mark.slow
def test_preview_counts_characters_and_not_bytes(host: Server) -> None:
    chosen = {"prompt": {"mode": "preview", "chars": 3}}

    assert pending(host, "あいうえお", chosen) == {"prompt_preview": "あいう"}


def test_full_shows_the_whole_prompt_and_that_there_is_no_system(host: Server) -> None:
    assert pending(host, "あ" * 500, "full") == {
        "query_id": "q-0",
        "max_tokens": 1024,
        "system": None,
        "grounded": False,
        "underspecified": False,
        "prompt": "あ" * 500,
    }


def test_field_that_a_filter_does_not_name_is_omitted(host: Server) -> None:
    assert pending(host, "p", {"query_id": True, "grounded": True}) == {"query_id": "q-0", "grounded": False}


def test_fresh_session_is_paused_and_was_last_active_when_it_started(host: Server) -> None:
    snapshot = status(host, start(host, "return alc.llm('p')"))

    assert (snapshot["phase"], snapshot["state"]) == ("paused", "paused")
    assert snapshot["last_activity_at"] == snapshot["started_at"]
    assert abs(snapshot["started_at"] / 1000 - time.time()) < LIMIT_S


def test_unknown_session_is_not_found(host: Server) -> None:
    with pytest.raises(Refused, match=f"Session '{UNKNOWN}' not found"):
        status(host, UNKNOWN)


def test_progress_is_shown_as_the_strategy_reported_it(host: Server) -> None:
    snapshot = status(host, start(host, "alc.progress(1, 5, 'a') return alc.llm('p')"))

    assert snapshot["metrics"]["progress"] == {"step": 1, "total": 5, "message": "a"}


def test_computing_session_is_running(host: Server) -> None:
    sid = start(host, "while true do end", wait_s=0.2)
    one = status(host, sid)
    lines = {line["session_id"]: line for line in host.call("alc_status")["sessions"]}
    host.call("alc_stop", session_id=sid, mode="cancel")

    assert (one["status"], one["state"], one["phase"]) == ("running", "running", "running")
    assert (lines[sid]["status"], lines[sid]["phase"]) == ("running", "running")


def test_last_twenty_log_lines_are_shown(host: Server) -> None:
    code = "for i = 1, 25 do alc.log('info', 'line ' .. i) end return alc.llm('p')"
    logs = status(host, start(host, code))["metrics"]["recent_logs"]

    assert [log["message"] for log in logs] == [f"line {i}" for i in range(6, 26)]


def test_history_shows_the_ten_newest_turns_in_order_and_only_on_request(host: Server) -> None:
    sid = start(host, "for i = 1, 13 do alc.llm('p' .. i) end")
    for i in range(12):
        host.call("alc_continue", session_id=sid, query_id=f"q-{i}", response=f"a{i + 1}")
    history = status(host, sid, include_history=True)["metrics"]["conversation_history"]
    plain = status(host, sid)

    assert [(turn["prompt"], turn["response"]) for turn in history] == [(f"p{i}", f"a{i}") for i in range(3, 13)]
    assert "conversation_history" not in json.dumps(plain)
