"""The list of finished sessions, through a real server."""

from algocline_mcp.cli.demo import Server
from tests.rig.full_server import refusal_of_call, until


def test_finished_sessions_are_listed_by_page_newest_first(host: Server) -> None:
    sids = [host.call("alc_run", code=f"return {n}", title=f"run {n}")["session_id"] for n in range(3)]
    listed = until(
        lambda: host.call("alc_status", finished=True), lambda listing: listing.get("finished_sessions") == 3
    )
    first = host.call("alc_status", finished=True, limit=2)
    second = host.call("alc_status", finished=True, limit=2, cursor=first["cursor"])

    assert [line["session_id"] for line in listed["sessions"]] == sids[::-1]
    assert [(line["status"], line["title"]) for line in second["sessions"]] == [("completed", "run 0")]
    assert [line["session_id"] for line in first["sessions"]] == sids[:0:-1]
    assert "cursor" not in second
    assert "leave session_id and view out" in refusal_of_call(host, "alc_status", finished=True, session_id=sids[0])
    assert "is not from a list" in refusal_of_call(host, "alc_status", finished=True, cursor="x")
