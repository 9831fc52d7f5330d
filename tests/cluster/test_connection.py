"""What a database that is down, refuses or freezes gets: one sentence, in bounded time, without a password."""

import os
import signal
import socket

import psycopg
import pytest

from algocline_mcp.cluster import connection as connections
from algocline_mcp.cluster.connection import Database, bounded
from algocline_mcp.errors import Refused, StorageFailed
from tests.cluster.postgres import Postgres

SECRET = "s3cr3t-w0rd"


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://alc:{SECRET}@host/alc",
        f"host=db user=alc password={SECRET}",
        f"postgresql://alc:{SECRET}@{SECRET}@host/alc",
        f"postgresql://alc:a/{SECRET}@host/alc",
        f"postgresql://alc:{SECRET}?{SECRET}@host/alc",
        f"postgresql://alc:%{SECRET}@host/alc",
        f"postgresql://alc:{SECRET}@host/alc?nothing={SECRET}",
        SECRET,
        "",
    ],
)
def test_what_is_no_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Refused, match="write postgresql://USER@HOST") as caught:
        Database(url)

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_database_is_named_without_its_password() -> None:
    database = Database(f"postgresql://alc:{SECRET}@db.example:5433/team?password={SECRET}&sslmode=require")

    assert database.label == "postgresql://alc@db.example:5433/team"


def test_a_database_that_is_down_gets_one_sentence() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        database = Database(f"postgresql://alc:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/alc")

        with pytest.raises(StorageFailed, match=r"refused.*: start it, or correct the URL, then try again$") as caught:
            database.connect()

    assert caught.value.code == "database_unreachable"
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_accepts_and_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECT_S", 2)  # the least that libpq takes
    with socket.create_server(("127.0.0.1", 0)) as mute:
        database = Database(f"postgresql://alc:{SECRET}@127.0.0.1:{mute.getsockname()[1]}/alc")

        with pytest.raises(StorageFailed, match="timeout expired"):
            database.connect()


@pytest.mark.parametrize(
    ("user", "name", "sentence"),
    [
        (f"locked:{SECRET}", "postgres", "refuses the password or the role"),
        ("locked", "postgres", "refuses the password or the role"),
        ("alc", "nowhere", "does not exist: create the database"),
        ("nobody", "postgres", "refuses the role or this address"),
    ],
)
def test_each_refusal_of_the_database_names_its_cure(postgres: Postgres, user: str, name: str, sentence: str) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS locked")
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'another'")

    with pytest.raises(StorageFailed, match=sentence) as caught:
        Database(postgres.url(name, user)).connect()

    assert SECRET not in str(caught.value)


def test_a_commit_is_on_the_disk_whatever_the_role_has_set(empty: Database) -> None:
    with empty.connect() as connection:
        connection.execute("ALTER ROLE alc SET synchronous_commit = off")

    with empty.connect() as connection:
        row = connection.execute("SHOW synchronous_commit").fetchone()
        connection.execute("ALTER ROLE alc RESET synchronous_commit")

    assert row == ("on",)


def test_a_statement_that_takes_too_long_ends_with_a_sentence(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STATEMENT_S", 0.1)

    with empty.connect() as connection, pytest.raises(StorageFailed, match="took too long"), empty.sentences():
        connection.execute("SELECT pg_sleep(60)")


def test_a_database_that_freezes_is_not_waited_for(empty: Database) -> None:
    with empty.connect() as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(StorageFailed, match="does not answer"), empty.sentences(), bounded(connection, 0.1):
                connection.execute("SELECT 1")
        finally:
            os.kill(backend, signal.SIGCONT)
