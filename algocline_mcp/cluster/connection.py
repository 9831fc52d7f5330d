"""Connections to PostgreSQL: each wait on them is bounded, and each failure is one sentence without a password.

Contract. `connect` makes one attempt. What is committed on its connection is on the database's disk:
`synchronous_commit` is set here, because a database or a role may have it off. `bounded` ends a statement that the
database does not answer at all, which no setting of the database can do. `sentences` translates the errors of psycopg.
"""

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from algocline_mcp.cluster.deadlines import Deadlines
from algocline_mcp.errors import Refused, StorageFailed

try:
    import psycopg
    from psycopg import conninfo
except ImportError as exc:  # also where the library of PostgreSQL is missing
    raise Refused("--database needs psycopg: pip install 'algocline-mcp[cluster]' (in the environment of alc)") from exc

Connection = psycopg.Connection[tuple[object, ...]]
Parameters = Sequence[object] | Mapping[str, object]

CONNECT_S = 5  # for one attempt, per address of the host
STATEMENT_S = 30.0  # the longest statement; a batch of records takes milliseconds
LOCK_S = 5.0  # a statement waits for the lock of another transaction
IDLE_S = 10.0  # a transaction whose client is silent: a frozen process must not keep its locks
_SILENT_S = 5.0  # beyond STATEMENT_S: a database that has not answered by then does not answer
_WRITTEN = re.compile(r"postgres(?:ql)?://[^/?@]*@?[^/?@]*(?:[/?][^@]*)?")

_DEADLINES = Deadlines()

# What the database says by its code, as far as a user can do something about it.
_REFUSALS = {
    "28P01": "refuses the password or the role: correct the URL, or PGPASSWORD or ~/.pgpass where it has none",
    "28000": "refuses the role or this address: correct the URL, or pg_hba.conf of the server",
    "3D000": "does not exist: create the database (createdb), or correct its name",
    "53300": "has no connection left: raise max_connections of the server, or try again later",
    "57P03": "is starting or stopping: try again",
    "42501": "does not permit it to this role: GRANT it CREATE on the database, or give the role of alc db init",
    "25006": "is read-only, such as a standby: give the URL of the primary",
    "55P03": f"is changed by another process for over {LOCK_S:g} s: try again",
    "57014": "took too long: try again, with less load on the database",
    "53100": "has no space left on its disk: free some",
}


class Database:
    """A database by its URL, with the name under which sentences show it."""

    def __init__(self, url: str) -> None:
        """Raises Refused for what is no URL; no part of it is shown, because any part may be of a password."""
        if not _WRITTEN.fullmatch(url):
            raise Refused(
                "the database is no URL: write postgresql://USER@HOST:PORT/NAME, with each of @ : / ? # % in a name "
                "or password as %40 %3A %2F %3F %23 %25"
            )
        try:
            parts = conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            raise Refused(
                "the URL of the database cannot be read: write postgresql://USER@HOST:PORT/NAME?OPTION=VALUE, with "
                "each % in a name or password as %25"
            ) from None
        self._url = url
        user = f"{parts['user']}@" if "user" in parts else ""
        port = f":{parts['port']}" if "port" in parts else ""
        self.label = f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"

    def connect(self) -> Connection:
        """Raises StorageFailed where the database cannot be reached or refuses."""
        limits = {
            "statement_timeout": STATEMENT_S,
            "lock_timeout": LOCK_S,
            "idle_in_transaction_session_timeout": IDLE_S,
            "client_connection_check_interval": 1,  # what a killed client had begun ends
        }
        options = " ".join(f"-c {name}={seconds * 1000:.0f}" for name, seconds in limits.items())
        with self.sentences():
            return psycopg.connect(
                self._url,
                autocommit=True,  # transactions are written out
                connect_timeout=CONNECT_S,
                options=f"{options} -c synchronous_commit=on",
                application_name="alc",
                keepalives_idle=5,  # seconds; a host that is gone is noticed in 11
                keepalives_interval=2,
                keepalives_count=3,
                tcp_user_timeout=10_000,  # milliseconds
            )

    @contextmanager
    def sentences(self) -> Iterator[None]:
        """Translates each error of psycopg to StorageFailed."""
        try:
            yield
        except psycopg.Error as exc:
            raise StorageFailed(f"{self.label} {self._reason(exc)}", code=self._code(exc)) from exc

    @staticmethod
    def _code(exc: psycopg.Error) -> str:
        return "storage_failed" if exc.sqlstate else "database_unreachable"

    @staticmethod
    def _reason(exc: psycopg.Error) -> str:
        text = " ".join(str(exc).split())
        if exc.sqlstate in _REFUSALS:
            return _REFUSALS[exc.sqlstate]
        if exc.sqlstate is None and "password" in text:  # libpq gives no code for what ends an attempt to connect
            return _REFUSALS["28P01"]
        for code, words in (("3D000", "does not exist"), ("57P03", "the database system is"), ("53300", "too many")):
            if exc.sqlstate is None and words in text:
                return _REFUSALS["28000" if "role" in text else code]
        if exc.sqlstate is None:
            return f"does not answer ({text[-200:]}): start it, or correct the URL, then try again"
        return f"failed ({text[:200]}): repair the database, then try again"


@contextmanager
def bounded(connection: Connection, limit_s: float = STATEMENT_S + _SILENT_S) -> Iterator[None]:
    """Cuts the connection after the limit, so a wait for a frozen database ends with an error of psycopg."""
    key = _DEADLINES.add(limit_s, partial(cut, connection))
    try:
        yield
    finally:
        _DEADLINES.remove(key)


def fetch(connection: Connection, sql: str, parameters: Parameters = ()) -> list[tuple[object, ...]]:
    """The rows of one statement; none where it has none."""
    cursor = connection.execute(sql.encode(), parameters)
    return cursor.fetchall() if cursor.description else []


def cut(connection: Connection) -> None:
    """Ends the connection under whoever waits on it."""
    try:
        with socket.socket(fileno=socket.dup(connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        return  # it is closed already
