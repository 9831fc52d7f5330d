"""Commands on a database that holds sessions: alc db init, upgrade, check; what others do with one.

Contract: as in main.py. psycopg is an extra and takes 0.1 s to import, so it is imported inside the commands.
"""

import os
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import click

from algocline_mcp.cli import output
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.errors import AlcError, Refused, StorageFailed

if TYPE_CHECKING:
    from algocline_mcp.config.home import Home
    from algocline_mcp.config.limits import Limits

Command = TypeVar("Command", bound=Callable[..., Any])

EXAMPLES = """\b
Examples:
  alc db init --database postgresql://alc@db.example/alc
  ALC_DATABASE=postgresql://alc@db.example/alc alc db check
"""


def database_option(command: Command) -> Command:
    return click.option(
        "--database",
        "url",
        metavar="URL",
        help="postgresql://USER@HOST:PORT/NAME, or - for the URL in ALC_DATABASE. Other users of this machine see a "
        "command line: keep the password in ALC_DATABASE, PGPASSWORD or ~/.pgpass.",
    )(command)


def chosen(url: str | None) -> str:
    """The URL; without one, or with -, that of the environment."""
    url = os.environ.get("ALC_DATABASE") if url in (None, "-") else url
    if not url:
        raise click.UsageError("give --database URL, or set ALC_DATABASE.")
    return url


@click.group(epilog=EXAMPLES, short_help="Prepare a PostgreSQL database for sessions.")
def db() -> None:
    """Prepare a PostgreSQL database for sessions: alc export and alc import move them there and back."""


@db.command(short_help="Create the tables.")
@database_option
def init(url: str | None) -> None:
    """Create the tables, in the schema alc of an existing database. Where they are there already, nothing is done."""
    _migrate(chosen(url), begins=True)


@db.command(short_help="Bring the tables to this version.")
@database_option
def upgrade(url: str | None) -> None:
    """Bring the tables of an older version to that of this program, in one transaction."""
    _migrate(chosen(url), begins=False)


def _migrate(url: str, *, begins: bool) -> None:
    from algocline_mcp.cluster import schema
    from algocline_mcp.cluster.connection import Database

    database = Database(url)
    with database.connect() as connection:
        before, version = schema.migrate(connection, database, begins=begins)
    was = "as before" if before == version else f"before: {before}" if before else "created"
    output.result(f"{database.label}: schema version {version}, {was}")


@db.command(short_help="Check that this program can use the database.")
@database_option
def check(url: str | None) -> None:
    """Check that the database can be reached, has the tables of this program's version, and loses nothing in a power
    cut. Exit code 0 if so, otherwise 1."""
    from algocline_mcp.cluster import schema
    from algocline_mcp.cluster.connection import Database

    database = Database(chosen(url))
    with database.connect() as connection:
        schema.check(connection, database)
        risks = schema.risks(connection, database)
    if risks:
        raise Refused(f"{database.label} has {' and '.join(risks)} off, a power cut loses sessions: set it to on")
    output.result(f"{database.label}: schema version {schema.VERSION}")


# ── alc ps --all-nodes ────────────────────────────────────────────────────────────────────────────────────


def listed_of_database(url: str | None, *, also_finished: bool) -> dict[str, Any]:
    """As sessions.listed: of every owner, each line with its `node`; beside them `nodes`."""
    from algocline_mcp.cli.sessions import add_age
    from algocline_mcp.cluster import schema, session_list
    from algocline_mcp.cluster.connection import Database, bounded
    from algocline_mcp.config.limits import Limits

    size = Limits.from_env(os.environ).listed
    database = Database(chosen(url))
    with database.connect() as connection:
        schema.check(connection, database)
        with database.sentences(), bounded(connection):
            listed = session_list.unfinished_page(connection, None, size, None)
            if also_finished:
                listed |= session_list.finished_page(connection, None, size, None)
            listed |= {"nodes": session_list.nodes(connection)}
    for line in [*listed["sessions"], *listed.get("finished", ())]:
        line["pid"] = None  # of another machine, perhaps
        add_age(line)
    return listed


# ── alc export and alc import, with --database ────────────────────────────────────────────────────────────


def export_sessions(home: "Home", limits: "Limits", url: str, sid: str | None) -> None:
    """One session, or all of the home, of every owner."""
    from algocline_mcp.cluster.connection import Database
    from algocline_mcp.cluster.moving import export_rows
    from algocline_mcp.cluster.rows import SessionRows
    from algocline_mcp.history.listing import fitting_ids
    from algocline_mcp.storage.owners import parts_of

    with closing(SessionRows(Database(chosen(url)))) as rows:
        sids = [sid] if sid else [each for part in parts_of(home) for each in fitting_ids(part, "p-")]
        _move(lambda each: export_rows(home, limits, rows, each), sids)


def import_sessions(home: "Home", limits: "Limits", url: str, part: str | None) -> None:
    """The one session whose id begins or ends with `part`, or all of the database."""
    from algocline_mcp.cluster.connection import Database
    from algocline_mcp.cluster.moving import import_rows
    from algocline_mcp.cluster.rows import SessionRows

    with closing(SessionRows(Database(chosen(url)))) as rows:
        sids = rows.sids()
        if part is not None:
            fitting = [sid for sid in sids if sid == part or (len(part) > 3 and sid.startswith(part))]
            fitting += [sid for sid in sids if len(part) > 3 and sid.endswith(part) and sid not in fitting]
            if len(fitting) != 1:
                what = f"fits {len(fitting)} sessions" if fitting else "is no session"
                raise Refused(f"{part!r} {what} in {rows.database.label}: give the whole id of one, or --all")
            sids = fitting
        _move(lambda each: import_rows(home, limits, rows, each), sids)


def _move(move: Callable[[str], str], sids: list[str]) -> None:
    """Each of them; one that is refused does not stop the others. A database that is away does."""
    refused = 0
    for sid in sids:
        try:
            output.result(f"{sid} {move(sid)}")
        except StorageFailed:
            raise
        except AlcError as exc:
            if len(sids) == 1:
                raise
            output.note(f"alc: {sid}: {at_terminal(str(exc))}")
            refused += 1
    if refused:
        output.note(f"alc: {refused} of {len(sids)} sessions were not moved")
        sys.exit(1)
