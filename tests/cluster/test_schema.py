"""The versions of the tables: made once, whole or not at all, and used by their own version only."""

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from algocline_mcp.cli.main import alc
from algocline_mcp.cluster import schema
from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.schema import VERSION
from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused, StorageFailed
from tests.cluster.postgres import Postgres
from tests.rig.journals import header, sid_of, write
from tests.rig.processes import until_blocking

NEXT = (*schema.MIGRATIONS, "ALTER TABLE alc.sessions ADD COLUMN colour text")


def _alc(database: Database, *arguments: str) -> Result:
    return CliRunner().invoke(alc, ["db", *arguments], env={"ALC_DATABASE": database._url}, prog_name="alc")


def _columns(database: Database) -> list[str]:
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'alc' AND table_name = 'sessions'"
        ).fetchall()
    return [str(name) for (name,) in rows]


def test_a_database_is_made_checked_and_made_again(empty: Database) -> None:
    outputs = [_alc(empty, "check"), _alc(empty, "upgrade"), _alc(empty, "init"), _alc(empty, "init")]
    outputs += [_alc(empty, "upgrade"), _alc(empty, "check")]

    assert [output.exit_code for output in outputs] == [1, 1, 0, 0, 0, 0]
    assert outputs[0].output == f"Error: {empty.label} has no tables of alc: run alc db init\n"
    assert outputs[1].output == outputs[0].output
    assert outputs[2].output.endswith(f"schema version {VERSION}, created\n")
    assert outputs[3].output.endswith(f"schema version {VERSION}, as before\n")
    assert outputs[5].output == f"{empty.label}: schema version {VERSION}\n"


def test_an_older_schema_waits_for_its_upgrade(database: Database) -> None:
    with database.connect() as connection:
        versions = f"has schema version {VERSION}, this program needs {VERSION + 1}"
        with pytest.raises(Refused, match=f"{versions}: run alc db upgrade$"):
            schema.check(connection, database, version=VERSION + 1)
        with pytest.raises(Refused, match="run alc db upgrade"):
            schema.migrate(connection, database, begins=True, migrations=NEXT)
        upgraded = schema.migrate(connection, database, begins=False, migrations=NEXT)
        schema.check(connection, database, version=VERSION + 1)

    assert upgraded == (VERSION, VERSION + 1)
    assert "colour" in _columns(database)


def test_an_upgrade_keeps_what_the_first_version_had(empty: Database) -> None:
    with empty.connect() as connection:
        schema.migrate(connection, empty, begins=True, migrations=schema.MIGRATIONS[:1])
        connection.execute("INSERT INTO alc.state VALUES ('ann', 'default', 'k', '1')")
        versions = schema.migrate(connection, empty, begins=False)
        kept = connection.execute("SELECT value, (SELECT count(*) FROM alc.cards) FROM alc.state").fetchall()

    assert versions == (1, VERSION)
    assert kept == [("1", 0)]


def test_a_newer_schema_is_refused_by_every_command(empty: Database, tmp_path: Path) -> None:
    with empty.connect() as connection:
        schema.migrate(connection, empty, begins=True, migrations=NEXT)

    commands = (["db", "check"], ["db", "upgrade"], ["db", "init"], ["export", "--all"], ["import", "--all"])
    environ = {"ALC_HOME": str(tmp_path), "ALC_DATABASE": empty._url}
    for number in range(2):
        write(Home(tmp_path).journal(sid_of(number)), [header(sid_of(number))])

    outputs = [CliRunner().invoke(alc, [*words, "--database", "-"], env=environ) for words in commands]

    assert {output.exit_code for output in outputs} == {1}
    assert {output.output.removeprefix("Error: ").removeprefix("alc: ") for output in outputs} == {
        f"{empty.label} has schema version {VERSION + 1}, this program knows {VERSION} at most: install a newer "
        "algocline-mcp here\n"
    }


def test_of_many_at_once_one_makes_the_tables(empty: Database) -> None:
    begin, results = threading.Barrier(6), list[tuple[int, int]]()

    def migrate() -> None:
        with empty.connect() as connection:
            begin.wait()
            results.append(schema.migrate(connection, empty, begins=True))

    threads = [threading.Thread(target=migrate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [(0, VERSION), *[(VERSION, VERSION)] * 5]


def test_a_migration_that_fails_leaves_nothing(database: Database) -> None:
    with database.connect() as connection, pytest.raises(StorageFailed, match="failed"):
        schema.migrate(connection, database, begins=False, migrations=(*NEXT, "SELECT nothing"))

    with database.connect() as connection:
        schema.check(connection, database)
    assert "colour" not in _columns(database)


def test_an_upgrade_killed_in_the_middle_leaves_nothing_and_is_made_again(database: Database, tmp_path: Path) -> None:
    program = """
        import sys
        from algocline_mcp.cluster import schema
        from algocline_mcp.cluster.connection import Database

        database = Database(sys.argv[1])
        with database.connect() as connection:
            schema.migrate(connection, database, begins=False, migrations=(*schema.MIGRATIONS, sys.argv[2]))
    """
    middle = f"{NEXT[-1]}; SELECT pg_sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), database._url, middle])
    with database.connect() as connection:
        until_blocking(
            lambda: connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()
        )

    process.kill()
    process.wait()
    with database.connect() as connection:
        versions = schema.migrate(connection, database, begins=False, migrations=NEXT)

    assert versions == (VERSION, VERSION + 1)
    assert "colour" in _columns(database)


def test_a_server_that_loses_commits_in_a_power_cut_is_named(database: Database, postgres: Postgres) -> None:
    with database.connect() as connection:
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")
        try:
            until_blocking(lambda: schema.risks(connection, database))
            output = _alc(database, "check")
        finally:
            connection.execute("ALTER SYSTEM RESET full_page_writes")
            connection.execute("SELECT pg_reload_conf()")

    assert output.exit_code == 1
    assert output.output.endswith("has full_page_writes off, a power cut loses sessions: set it to on\n")


@pytest.mark.parametrize("command", ["init", "upgrade", "check"])
def test_a_command_without_a_database_says_what_to_give(command: str) -> None:
    output = CliRunner().invoke(alc, ["db", command], env={"ALC_DATABASE": ""}, prog_name="alc")

    assert output.exit_code == 2
    assert "give --database URL, or set ALC_DATABASE." in output.output


def test_without_the_extra_a_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("psycopg", "algocline_mcp.cluster."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)

    output = CliRunner().invoke(alc, ["db", "check", "--database", "postgresql:///alc"], prog_name="alc")

    assert output.exit_code == 1
    assert "pip install 'algocline-mcp[cluster]'" in output.output
