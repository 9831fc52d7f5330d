"""One PostgreSQL for all tests that a process runs, and no tables at the beginning of each test."""

from collections.abc import Iterator

import pytest

from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.schema import migrate
from tests.cluster.postgres import Postgres, Unavailable


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    try:
        server = Postgres()
    except Unavailable as exc:
        pytest.skip(str(exc))
    yield server
    server.remove()


@pytest.fixture
def empty(postgres: Postgres) -> Database:
    """Without tables."""
    return Database(postgres.emptied())


@pytest.fixture
def database(empty: Database) -> Database:
    with empty.connect() as connection:
        migrate(connection, empty, begins=True)
    return empty
