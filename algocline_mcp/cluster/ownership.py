"""Statements by which a node registers, takes hold of sessions and gives them back. Each is one transaction.

A session is free when the lease of a program that is no node (`alc export`) has run out, and no node whose own lease
holds is named in `held_by`. Who takes hold gives the session a new epoch, which each later write compares. All times
are those of the database. Each function may run twice: the second time it finds what the first one did.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from algocline_mcp.cluster.connection import Connection
from algocline_mcp.cluster.session_list import IS_LIVE
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import line_of
from algocline_mcp.session.state import Phase, Session
from algocline_mcp.storage.journal_lines import encode

_IS_REGISTERED = "EXISTS (SELECT 1 FROM alc.nodes me WHERE me.node = %(node)s AND me.lease_until > clock_timestamp())"
_DELETED_AT_ONCE = 500  # sessions past their retention
_NODE_KEPT_S = 3600  # a row of a node that died


@dataclass(frozen=True, slots=True)
class Taken:
    """`before`: the epoch until now."""

    before: int
    epoch: int
    length: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A session as its row shows it. `holder`: the live node that holds it, or ""."""

    is_finished: bool
    epoch: int
    length: int
    is_leased: bool
    holder: str


# ── the row of the node ───────────────────────────────────────────────────────────────────────────────────


def renew(connection: Connection, node: str, lease_s: float) -> bool:
    """False where the lease has run out, or the node is not registered."""
    return (
        connection.execute(
            "UPDATE alc.nodes SET lease_until = clock_timestamp() + make_interval(secs => %s) "
            "WHERE node = %s AND lease_until > clock_timestamp()",
            (lease_s, node),
        ).rowcount
        == 1
    )


def register(connection: Connection, node: str, lease_s: float) -> None:
    """Begins a lease. What the node held before is free."""
    with connection.transaction():
        connection.execute("UPDATE alc.sessions SET held_by = '' WHERE held_by = %s", (node,))
        connection.execute(
            "INSERT INTO alc.nodes (node, lease_until) VALUES (%s, clock_timestamp() + make_interval(secs => %s)) "
            "ON CONFLICT (node) DO UPDATE SET lease_until = EXCLUDED.lease_until",
            (node, lease_s),
        )
        connection.execute(
            "DELETE FROM alc.nodes n WHERE lease_until < clock_timestamp() - make_interval(secs => %s) "
            "AND NOT EXISTS (SELECT 1 FROM alc.sessions s WHERE s.held_by = n.node)",
            (_NODE_KEPT_S,),
        )


def leave(connection: Connection, node: str) -> None:
    """Gives everything back, and removes the row."""
    with connection.transaction():
        connection.execute("UPDATE alc.sessions SET held_by = '' WHERE held_by = %s", (node,))
        connection.execute("DELETE FROM alc.nodes WHERE node = %s", (node,))


# ── holding a session ─────────────────────────────────────────────────────────────────────────────────────


def next_epoch(connection: Connection) -> int:
    """Of a new session."""
    return _int(connection.execute("SELECT nextval('alc.epochs')").fetchone())


def take(connection: Connection, node: str, owner: str, sid: str) -> Taken | None:
    """None where the session is not free, has finished, is not there, or where the node has no lease."""
    row = connection.execute(
        f"""UPDATE alc.sessions s SET epoch = nextval('alc.epochs'), node = %(node)s, held_by = %(node)s
            FROM (SELECT sid, epoch FROM alc.sessions WHERE sid = %(sid)s AND owner = %(owner)s FOR UPDATE) before
            WHERE s.sid = before.sid AND s.phase <> 'finished'
            AND s.lease_until < clock_timestamp() AND (s.held_by IN ('', %(node)s) OR NOT {IS_LIVE})
            AND {_IS_REGISTERED}
            RETURNING before.epoch, s.epoch, s.length""".encode(),
        {"node": node, "owner": owner, "sid": sid},
    ).fetchone()
    return None if row is None else Taken(*(int(str(value)) for value in row))


def standing(connection: Connection, owner: str, sid: str) -> Standing | None:
    """None where this owner has no such session."""
    row = connection.execute(
        f"""SELECT s.phase, s.epoch, s.length, s.lease_until > clock_timestamp(),
            CASE WHEN {IS_LIVE} THEN s.held_by ELSE '' END
            FROM alc.sessions s WHERE s.sid = %s AND s.owner = %s""".encode(),
        (sid, owner),
    ).fetchone()
    if row is None:
        return None
    phase, epoch, length, is_leased, holder = row
    return Standing(phase == Phase.FINISHED, int(str(epoch)), int(str(length)), bool(is_leased), str(holder))


def give_back(connection: Connection, node: str, sid: str, epoch: int) -> int | None:
    """The length of the session; None where the node no longer held it under this epoch."""
    row = connection.execute(
        "UPDATE alc.sessions SET held_by = '' WHERE sid = %s AND epoch = %s AND held_by = %s RETURNING length",
        (sid, epoch, node),
    ).fetchone()
    return None if row is None else _int(row)


# ── ends of a session ─────────────────────────────────────────────────────────────────────────────────────


def finish(connection: Connection, epoch: int, length: int, session: Session, records: Sequence[Record]) -> bool:
    """Appends the last records of a session without a worker. `session`: with them. False where another node has taken
    hold, or the session is of another length: nothing is written then."""
    lines = [encode(record, 0)[:-1].decode() for record in records]
    size = sum(len(line) + 1 for line in lines)
    with connection.transaction():
        is_done = connection.execute(
            "UPDATE alc.sessions SET phase = %s, summary = %s, length = length + %s, bytes = bytes + %s, held_by = '', "
            "changed_at = clock_timestamp() WHERE sid = %s AND epoch = %s AND length = %s",
            (
                str(session.phase),
                json.dumps(line_of(session, hides=True)),
                len(lines),
                size,
                session.sid,
                epoch,
                length,
            ),
        ).rowcount
        if is_done:
            connection.cursor().executemany(
                "INSERT INTO alc.records (sid, n, epoch, line) VALUES (%s, %s, %s, %s)",
                [(session.sid, number, epoch, line) for number, line in enumerate(lines, length)],
            )
            connection.execute("DELETE FROM alc.effects WHERE sid = %s", (session.sid,))
    return is_done == 1


def delete(connection: Connection, node: str, owner: str, sid: str) -> bool:
    """False where the session is not finished and this node does not hold it."""
    return (
        connection.execute(
            "DELETE FROM alc.sessions WHERE sid = %s AND owner = %s AND (phase = 'finished' OR held_by = %s)",
            (sid, owner, node),
        ).rowcount
        == 1
    )


def delete_expired(connection: Connection, days: float) -> None:
    """Sessions that finished so long ago, of all owners; the oldest first, some at once."""
    connection.execute(
        "DELETE FROM alc.sessions WHERE sid IN (SELECT sid FROM alc.sessions WHERE phase = 'finished' "
        "AND changed_at < clock_timestamp() - make_interval(secs => %s) ORDER BY sid LIMIT %s)",
        (days * 86_400, _DELETED_AT_ONCE),
    )


def _int(row: tuple[object, ...] | None) -> int:
    assert row is not None
    return int(str(row[0]))
