"""The tables, and the way from each version of them to the next.

Contract. Everything lies in the schema `alc` of the database. `schema_version` holds one number, how many of MIGRATIONS
were applied. They are applied in one transaction under an advisory lock: two processes at once do it once, and of one
that is killed in the middle nothing stays. A migration that was released is never changed; a new one is added.

A program uses only its own version: an older database waits for `alc db upgrade`, a newer one for a newer program.
"""

from collections.abc import Sequence

from algocline_mcp.cluster.connection import Connection, Database, bounded
from algocline_mcp.errors import Refused

MIGRATE_S = 600.0  # a migration of large tables
_LOCK = 0x616C63  # of advisory locks: "alc"

MIGRATIONS = (
    """
    CREATE SEQUENCE alc.epochs;                -- where the epochs of a new journal begin
    CREATE TABLE alc.nodes (                   -- servers that share this database
        node text COLLATE "C" PRIMARY KEY,     -- host:pid:token
        lease_until timestamptz NOT NULL       -- by the clock of the database; then its sessions are free
    );
    CREATE TABLE alc.sessions (
        sid text COLLATE "C" PRIMARY KEY,
        owner text NOT NULL,                   -- a principal; empty: the user of the home
        project text NOT NULL DEFAULT '',      -- the directory in which it was started
        phase text NOT NULL,
        epoch bigint NOT NULL,                 -- of the newest owner of the journal: an older one writes no more
        node text NOT NULL,                    -- who that owner is, for people
        held_by text COLLATE "C" NOT NULL DEFAULT '',  -- the node whose worker may write; empty: no node
        lease_until timestamptz NOT NULL,      -- of an owner that is no node, by the clock of the database
        length bigint NOT NULL,                -- of its records
        bytes bigint NOT NULL DEFAULT 0,       -- of their lines
        summary text NOT NULL DEFAULT '',      -- its line of the list, as JSON
        changed_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX unfinished ON alc.sessions (owner, sid) WHERE phase <> 'finished';
    CREATE INDEX finished ON alc.sessions (owner, sid) WHERE phase = 'finished';
    CREATE INDEX running ON alc.sessions (changed_at) WHERE phase = 'running';
    CREATE INDEX held ON alc.sessions (held_by) WHERE held_by <> '';
    CREATE TABLE alc.records (
        sid text COLLATE "C" NOT NULL REFERENCES alc.sessions ON DELETE CASCADE,
        n bigint NOT NULL,                     -- from 0, without gaps
        epoch bigint NOT NULL,                 -- of who wrote it
        line text NOT NULL,                    -- as in a journal, with its checksum
        PRIMARY KEY (sid, n)
    );
    CREATE TABLE alc.requests (                -- what one node asks of another
        id text COLLATE "C" PRIMARY KEY,
        sid text COLLATE "C" NOT NULL,
        owner text NOT NULL,                   -- who asks
        node text COLLATE "C" NOT NULL,        -- which node is asked
        request text NOT NULL,
        response text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE INDEX unanswered ON alc.requests (node) WHERE response IS NULL;
    CREATE TABLE alc.state (                   -- what strategies keep for later runs
        owner text NOT NULL,
        namespace text COLLATE "C" NOT NULL,
        key bytea NOT NULL,                    -- UTF-8: a key may hold NUL
        value text NOT NULL,
        PRIMARY KEY (owner, namespace, key)
    );
    CREATE TABLE alc.effects (                 -- the last change of each stream, so that it happens once
        sid text COLLATE "C" NOT NULL REFERENCES alc.sessions ON DELETE CASCADE,
        stream text COLLATE "C" NOT NULL,
        n bigint NOT NULL,
        name text NOT NULL,
        digest text NOT NULL,
        outcome text NOT NULL,
        PRIMARY KEY (sid, stream)
    );
    """,
    """
    CREATE TABLE alc.prompts (                 -- how many the strategies of each principal ask, where there is a quota
        day date NOT NULL,                     -- UTC
        owner text NOT NULL,
        count bigint NOT NULL,
        PRIMARY KEY (day, owner)
    );
    ALTER TABLE alc.sessions ADD COLUMN kept text NOT NULL DEFAULT 'all';  -- of its records, since it was scrubbed
    CREATE TABLE alc.cards (                   -- records of runs that strategies keep
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        owner text NOT NULL,
        card_id text COLLATE "C" NOT NULL,
        pkg text COLLATE "C" NOT NULL,
        created_at text COLLATE "C" NOT NULL,
        prior text COLLATE "C",                -- the card that it was made from
        summary text NOT NULL,                 -- its line of a list, as JSON
        card text NOT NULL,                    -- JSON
        samples text,                          -- JSON, one a line; NULL: none were written
        UNIQUE (owner, card_id)
    );
    CREATE INDEX cards_of_package ON alc.cards (owner, pkg);
    CREATE INDEX children ON alc.cards (owner, prior) WHERE prior IS NOT NULL;
    CREATE TABLE alc.card_aliases (            -- names for cards, which can be moved to others
        number bigint GENERATED ALWAYS AS IDENTITY,  -- in which order they were set
        owner text NOT NULL,
        name text COLLATE "C" NOT NULL,
        card_id text COLLATE "C" NOT NULL,
        alias text NOT NULL,                   -- all of it, as JSON
        PRIMARY KEY (owner, name)
    );
    """,
)
VERSION = len(MIGRATIONS)


def version_of(connection: Connection) -> int:
    """0: there are no tables."""
    row = connection.execute("SELECT to_regclass('alc.schema_version') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return 0
    row = connection.execute("SELECT version FROM alc.schema_version").fetchone()
    return int(str(row[0])) if row else 0


def migrate(
    connection: Connection, database: Database, *, begins: bool, migrations: Sequence[str] = MIGRATIONS
) -> tuple[int, int]:
    """Brings the tables to this program's version; returns the version before and now. `begins`: there may be no tables
    yet; otherwise there must be some. Raises Refused, StorageFailed."""
    with database.sentences(), bounded(connection, MIGRATE_S + 10), connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = {MIGRATE_S * 1000:.0f}")
        connection.execute(f"SET LOCAL lock_timeout = {MIGRATE_S * 1000:.0f}")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        before, version = version_of(connection), len(migrations)
        if not before and not begins:
            raise Refused(_sentence(database, before, version))
        if before > version or (begins and 0 < before < version):
            raise Refused(_sentence(database, before, version))
        if not before:
            connection.execute("CREATE SCHEMA IF NOT EXISTS alc")
            connection.execute("CREATE TABLE alc.schema_version (version integer NOT NULL)")
            connection.execute("INSERT INTO alc.schema_version VALUES (0)")
        for migration in migrations[before:]:
            connection.execute(migration.encode())
        connection.execute("UPDATE alc.schema_version SET version = %s", (version,))
    return before, version


def check(connection: Connection, database: Database, version: int = VERSION) -> None:
    """Raises Refused where the tables are not of this program's version; StorageFailed."""
    with database.sentences(), bounded(connection):
        actual = version_of(connection)
    if actual != version:
        raise Refused(_sentence(database, actual, version))


def risks(connection: Connection, database: Database) -> list[str]:
    """Settings of the server with which a power cut loses what was committed."""
    with database.sentences(), bounded(connection):
        rows = connection.execute(
            "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name"
        ).fetchall()
    return [str(name) for (name,) in rows]


def _sentence(database: Database, actual: int, version: int) -> str:
    if not actual:
        return f"{database.label} has no tables of alc: run alc db init"
    if actual < version:
        return f"{database.label} has schema version {actual}, this program needs {version}: run alc db upgrade"
    return (
        f"{database.label} has schema version {actual}, this program knows {version} at most: install a newer "
        "algocline-mcp here"
    )
