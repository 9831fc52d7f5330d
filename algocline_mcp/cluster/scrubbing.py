"""ALC_KEEP for sessions in a database: what is not kept of a finished session is removed from its rows.

Contract. `scrub` is one transaction. It locks the row of a finished session that no other program holds, and replaces
its records by those that remain (history/retention.py) under a new epoch: who still writes under the earlier one is
fenced, and a copy in the home of a node is known to be old. Who is killed in the middle has changed nothing; `waiting`
finds the session again. Scrubbed twice, it stays as after the first time. Its time of change stays, because retention
counts from the end of the session.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from algocline_mcp.cluster.connection import Connection
from algocline_mcp.cluster.copies import lines_of
from algocline_mcp.cluster.session_list import IS_LIVE
from algocline_mcp.config.home import Home
from algocline_mcp.errors import JournalCorrupt
from algocline_mcp.history.retention import scrubbed
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import line_of
from algocline_mcp.session.state import fold
from algocline_mcp.storage.journal_lines import decode, encode
from algocline_mcp.storage.owners import parts_of

_AT_ONCE = 500  # sessions that wait; the next ones after a minute
_LEFT_S = 60  # after the end of a session: no call is about to read the copy of its unfinished state
_IS_READY = f"""s.phase = 'finished' AND s.kept = 'all' AND s.lease_until < clock_timestamp()
AND (s.held_by IN ('', %(node)s) OR NOT {IS_LIVE})"""


def waiting(connection: Connection, node: str) -> list[tuple[str, str]]:
    """Sessions that are to be scrubbed: sid and owner."""
    sql = f"SELECT s.sid, s.owner FROM alc.sessions s WHERE {_IS_READY} ORDER BY s.sid LIMIT %(limit)s"
    rows = connection.execute(sql.encode(), {"node": node, "limit": _AT_ONCE}).fetchall()
    return [(str(sid), str(owner)) for sid, owner in rows]


def scrub(connection: Connection, node: str, owner: str, sid: str, keep: str) -> bool:
    """False where it is scrubbed already, or not to be scrubbed now. Raises JournalCorrupt, IllegalRecord."""
    ready = f"SELECT s.length FROM alc.sessions s WHERE s.sid = %(sid)s AND s.owner = %(owner)s AND {_IS_READY}"
    with connection.transaction():
        values = {"sid": sid, "owner": owner, "node": node}
        row = connection.execute(f"{ready} FOR UPDATE OF s".encode(), values).fetchone()
        if row is None:
            return False
        records = scrubbed(_records(connection, sid, int(str(row[0]))), keep)
        lines = [encode(record, 0)[:-1].decode() for record in records]
        connection.execute("DELETE FROM alc.records WHERE sid = %s", (sid,))
        connection.execute(
            "UPDATE alc.sessions SET kept = %s, epoch = nextval('alc.epochs'), held_by = '', length = %s, bytes = %s, "
            "summary = %s WHERE sid = %s",
            (keep, len(lines), sum(len(line) + 1 for line in lines), _line(records), sid),
        )
        connection.cursor().executemany(
            "INSERT INTO alc.records (sid, n, epoch, line) SELECT sid, %s, epoch, %s FROM alc.sessions WHERE sid = %s",
            [(number, line, sid) for number, line in enumerate(lines)],
        )
    return True


def _records(connection: Connection, sid: str, length: int) -> Iterator[Record]:
    for number, line in enumerate(lines_of(connection, sid, length)):
        record = decode(line)
        if record is None:
            raise JournalCorrupt(f"{sid} in the database", number + 1)
        yield record


def _line(records: list[Record]) -> str:
    return json.dumps(line_of(fold(records), hides=True))


def remove_old_copies(connection: Connection, home: Home) -> None:
    """Of sessions that were unfinished here, and have finished at another node meanwhile."""
    paths = {path.stem: path for part in parts_of(home) for path in part.sessions.glob("p-*.journal")}
    for sid in _finished(connection, paths):
        paths[sid].unlink(missing_ok=True)


def _finished(connection: Connection, paths: dict[str, Path]) -> list[str]:
    sql = (
        "SELECT sid FROM alc.sessions WHERE sid = ANY(%s) AND phase = 'finished' "
        "AND changed_at < clock_timestamp() - make_interval(secs => %s)"
    )
    return [str(sid) for (sid,) in connection.execute(sql, (list(paths), _LEFT_S)).fetchall()]
