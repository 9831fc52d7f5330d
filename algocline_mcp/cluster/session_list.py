"""Lists of sessions from the rows, in the shapes of history/listing.py; one statement each.

Each row has the line of its session as JSON, written with its records, so no record is read. The order is that of the
ids, newest first; a cursor is the id below which the next page begins. A session that a program without lines has
written is listed with `status: unknown`. A project is a directory of one machine, so none comes first here.

Where `owner` is None, a list is that of all owners, for who keeps the database: each line has its `owner` and its
`node`, the one that holds it (host:pid; empty: none).
"""

import json
from typing import Any

from algocline_mcp.cluster.connection import Connection
from algocline_mcp.errors import Refused
from algocline_mcp.history.listing import EMPTY

_IDS = 1000  # that a completion looks at
_UNKNOWN = "alc_status with this session_id reads it"
IS_LIVE = "EXISTS (SELECT 1 FROM alc.nodes n WHERE n.node = s.held_by AND n.lease_until > clock_timestamp())"
# As the indexes have it: the planner does not see that a parameter is the phase of an index.
_UNFINISHED = "FROM alc.sessions s WHERE {whose} s.phase <> 'finished'"
_FINISHED = "FROM alc.sessions s WHERE {whose} s.phase = 'finished'"
_OWN = "s.owner = %(owner)s AND"

# The counts come with each row of the page, and alone where the page is empty.
_PAGE = f"""
    WITH counted AS (
        SELECT (SELECT count(*) {_UNFINISHED}) AS unfinished,
               (SELECT count(*) {_FINISHED}) AS finished,
               (SELECT count(*) {_UNFINISHED} AND s.held_by <> '' AND {IS_LIVE}) AS live
    ), page AS (
        SELECT s.sid, s.summary, s.held_by <> '' AND {IS_LIVE} AS is_live,
               extract(epoch FROM s.changed_at) AS changed_s, s.owner, s.held_by
        {{those}} AND s.sid < %(below)s ORDER BY s.sid DESC LIMIT %(limit)s
    )
    SELECT counted.*, page.* FROM counted LEFT JOIN page ON true ORDER BY page.sid DESC
"""
_ABOVE_ALL = "~"
_NODES = """
    SELECT n.node, (SELECT count(*) FROM alc.sessions s WHERE s.held_by = n.node AND s.held_by <> '')
    FROM alc.nodes n WHERE n.lease_until > clock_timestamp() ORDER BY n.node
"""


def unfinished_page(connection: Connection, owner: str | None, size: int, cursor: str | None) -> dict[str, Any]:
    """As list_unfinished. Raises Refused for a cursor that no list returned."""
    (unfinished, finished, live), entries, following = _page(connection, owner, size, cursor, _UNFINISHED)
    if not unfinished:
        return dict(EMPTY)
    counts = {"unfinished": unfinished, "live": live, "finished": finished}
    listed: dict[str, Any] = {"active_sessions": unfinished, "sessions": entries, "counts": counts}
    return listed | following


def finished_page(connection: Connection, owner: str | None, size: int, cursor: str | None) -> dict[str, Any]:
    """As list_finished. Raises Refused for a cursor that no list returned."""
    (_, finished, _), entries, following = _page(connection, owner, size, cursor, _FINISHED)
    return {"finished_sessions": finished, "finished": entries} | following


def nodes(connection: Connection) -> list[dict[str, Any]]:
    """Those that live: `{node, sessions}`, with the number of sessions that each holds."""
    rows = connection.execute(_NODES.encode()).fetchall()
    return [{"node": _shown(node), "sessions": int(str(count))} for node, count in rows]


def _page(
    connection: Connection, owner: str | None, size: int, cursor: str | None, those: str
) -> tuple[list[int], list[dict[str, Any]], dict[str, str]]:
    """The counts, the entries, and `{cursor}` where more follow."""
    if cursor and not cursor.startswith("p-"):
        raise Refused(f"cursor {cursor[:80]!r} is not from a list: take it from the previous page, or omit it")
    values = {"owner": owner, "below": cursor or _ABOVE_ALL, "limit": size + 1}
    sql = _PAGE.replace("{those}", those).replace("{whose}", "" if owner is None else _OWN)
    rows = connection.execute(sql.encode(), values).fetchall()
    counts = [int(str(count)) for count in rows[0][:3]]
    entries = [_entry(*row[3:], is_of_all=owner is None) for row in rows if row[3] is not None]
    is_more = len(entries) > size
    return counts, entries[:size], {"cursor": entries[size - 1]["session_id"]} if is_more else {}


def _entry(
    sid: object, summary: object, is_live: object, changed_s: object, owner: object, node: object, *, is_of_all: bool
) -> dict[str, Any]:
    """A line as history/listing.py has it."""
    line: dict[str, Any] = {"status": "unknown", "last_activity_at": float(str(changed_s)), "next": _UNKNOWN}
    if summary:
        line = json.loads(str(summary))
    line = {**line, "session_id": str(sid), "worker": "live" if is_live else "none"}
    return {**line, "owner": str(owner), "node": _shown(node) if is_live else ""} if is_of_all else line


def _shown(node: object) -> str:
    """Without its token, which tells two processes with one pid apart."""
    return str(node).rpartition(":")[0] or str(node)


def ids(connection: Connection, owner: str, beginning: str) -> list[str]:
    """Of unfinished sessions, newest first."""
    values = {"owner": owner, "beginning": beginning, "limit": _IDS}
    those = _UNFINISHED.format(whose=_OWN)
    sql = f"SELECT s.sid {those} AND starts_with(s.sid, %(beginning)s) ORDER BY s.sid DESC LIMIT %(limit)s"
    return [str(sid) for (sid,) in connection.execute(sql.encode(), values).fetchall()]


def usage(connection: Connection, owner: str) -> tuple[int, int]:
    """Number of the sessions of an owner, and bytes of them and of what its strategies keep."""
    row = connection.execute(
        "SELECT count(*), coalesce(sum(bytes), 0) + (SELECT coalesce(sum(octet_length(key) + octet_length(value)), 0) "
        "FROM alc.state WHERE state.owner = %(owner)s) + (SELECT coalesce(sum(octet_length(summary) + "
        "octet_length(card) + coalesce(octet_length(samples), 0)), 0) FROM alc.cards WHERE cards.owner = %(owner)s) + "
        "(SELECT coalesce(sum(octet_length(alias)), 0) FROM alc.card_aliases WHERE card_aliases.owner = %(owner)s) "
        "FROM alc.sessions WHERE owner = %(owner)s",
        {"owner": owner},
    ).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


def prompts_today(connection: Connection, owner: str) -> int:
    """By the primary key: as fast however many sessions and owners there are."""
    row = connection.execute(
        "SELECT count FROM alc.prompts WHERE day = (clock_timestamp() AT TIME ZONE 'UTC')::date AND owner = %s",
        (owner,),
    ).fetchone()
    return int(str(row[0])) if row else 0
