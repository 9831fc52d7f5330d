"""Sessions that move between homes and a database, by `alc export` and `alc import` with `--database`."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from algocline_mcp.cli.demo import end_workers
from algocline_mcp.cli.main import alc
from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.rows import SessionRows
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.history.listing import fitting_ids
from algocline_mcp.history.reader import session_of
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Phase
from algocline_mcp.storage import home_setup, journal
from tests.cluster.postgres import Postgres
from tests.history.terminal import alc as run
from tests.rig.journals import answer, answered, final, header, prompt, sid_of, write
from tests.rig.programs import ROOMY_VARIABLES

PAUSED, FINISHED, THEIRS = (sid_of(number) for number in range(3))
GONE = "p-18c2f0a1b2c3d4e5-0123456789abcdef"
BEGINNING = [header(PAUSED), prompt("q-0"), answer("q-0"), prompt("q-1")]
END = [answer("q-1", t=1004.0), final(t=1005.0)]


@dataclass
class Terminal:
    """Commands in a home, with the database."""

    home: Home
    database: Database

    def run(self, *arguments: str, url: str = "-") -> Result:
        environ = {"ALC_HOME": str(self.home.root), "ALC_DATABASE": self.database._url}
        return CliRunner().invoke(alc, [*arguments, "--database", url], env=environ, prog_name="alc")

    def export(self, *arguments: str) -> Result:
        return self.run("export", *(arguments or ["--all"]))

    def take(self, *arguments: str) -> Result:
        return self.run("import", *(arguments or ["--all"]))

    def file(self, sid: str) -> bytes:
        """The session as `alc export` writes it, without marks."""
        environ = {"ALC_HOME": str(self.home.root)}
        done = CliRunner().invoke(alc, ["export", sid, "-"], env=environ)
        return b"\n".join(line for line in done.stdout_bytes.split(b"\n") if b'"kind":"flushed"' not in line)

    def show(self, sid: str) -> str:
        return CliRunner().invoke(alc, ["show", sid, "--full"], env={"ALC_HOME": str(self.home.root)}).output


@pytest.fixture
def terminals(database: Database) -> Iterator[tuple[Terminal, Terminal]]:
    with tempfile.TemporaryDirectory(prefix="alc") as directory:  # short, for the names of sockets
        made = Terminal(Home(Path(directory) / "a"), database), Terminal(Home(Path(directory) / "b"), database)
        for terminal in made:
            home_setup.prepare(terminal.home)
        yield made
        for terminal in made:
            end_workers(terminal.home)


@pytest.fixture
def here(terminals: tuple[Terminal, Terminal]) -> Terminal:
    """With a paused and a finished session, and one of a principal."""
    home = terminals[0].home
    write(home.journal(PAUSED), BEGINNING)
    write(home.finished_journal(FINISHED), [*answered(FINISHED, 3, "\x00 \ud83d é 🎈"), final()])
    home_setup.prepare(home.of("ann"), "ann")
    write(home.of("ann").journal(THEIRS), [header(THEIRS, owner="ann"), prompt("q-0")])
    return terminals[0]


@pytest.fixture
def there(terminals: tuple[Terminal, Terminal]) -> Terminal:
    return terminals[1]


def _append(terminal: Terminal, records: list[Record]) -> None:
    fd = journal.lock(terminal.home.journal(PAUSED))
    assert fd is not None
    opened = journal.Journal.adopt(fd, terminal.home.journal(PAUSED), lambda record, start: None)
    for record in records:
        opened.append(record)
    opened.flush()
    opened.close()


def test_sessions_are_the_same_after_a_round_trip(here: Terminal, there: Terminal) -> None:
    out, into = here.export(), there.take()

    assert (out.exit_code, into.exit_code) == (0, 0), out.output + into.output
    for sid in (PAUSED, FINISHED, THEIRS):
        assert there.file(sid) == here.file(sid) != b""
        assert there.show(sid) == here.show(sid)
    assert f"{PAUSED} copied, it is paused\n" in into.stdout
    assert there.home.finished_journal(FINISHED).exists()
    assert there.home.of("ann").journal(THEIRS).exists()


def test_a_second_move_changes_nothing(here: Terminal, there: Terminal) -> None:
    here.export()
    there.take()
    before = there.home.journal(PAUSED).read_bytes()

    again = [here.export(), there.take(), there.export(), here.take()]

    assert {output.exit_code for output in again} == {0}
    assert all(line.endswith(" already") for output in again for line in output.stdout.splitlines())
    assert there.home.journal(PAUSED).read_bytes() == before


def test_a_session_that_went_on_elsewhere_gets_what_it_lacks(here: Terminal, there: Terminal) -> None:
    here.export(PAUSED)
    there.take(PAUSED[:-1])
    _append(there, END)

    out = there.export(PAUSED)
    into = here.take(PAUSED)

    assert out.stdout == f"{PAUSED} has 2 more records in {here.database.label}\n"
    assert into.stdout == f"{PAUSED} has 2 more records, it is finished\n"
    assert here.home.finished_journal(PAUSED).exists()
    assert not here.home.journal(PAUSED).exists()
    assert here.show(PAUSED) == there.show(PAUSED)
    assert session_of(here.home, Limits(), PAUSED).phase is Phase.FINISHED


def test_a_session_that_went_on_in_two_places_is_refused_and_stays(here: Terminal, there: Terminal) -> None:
    here.export()
    there.take()
    _append(there, [answer("q-1", "there")])
    there.export()
    _append(here, [answer("q-1", "here")])
    before = here.file(PAUSED), there.file(PAUSED)

    outputs = [here.export(), here.take(), here.export(PAUSED)]

    assert [output.exit_code for output in outputs] == [1, 1, 1]
    assert all("it went on in both: keep one" in output.stderr for output in outputs)
    assert all(output.stderr.endswith("1 of 3 sessions were not moved\n") for output in outputs[:2])
    assert (here.file(PAUSED), there.file(PAUSED)) == before
    assert there.take().stdout.count("already") == 3


def test_a_session_with_a_worker_is_not_changed(here: Terminal, there: Terminal) -> None:
    here.export(PAUSED)
    there.take(PAUSED)
    _append(there, END)
    there.export(PAUSED)
    held = journal.lock(here.home.journal(PAUSED))
    assert held is not None

    refused = here.take(PAUSED)
    os.close(held)
    done = here.take(PAUSED)

    assert (refused.exit_code, f"alc stop {PAUSED}, then import it again" in refused.stderr) == (1, True)
    assert done.exit_code == 0


def test_a_session_that_another_process_writes_is_not_extended(here: Terminal, there: Terminal) -> None:
    here.export(PAUSED)
    rows = SessionRows(here.database)
    owner = rows.lock(PAUSED)
    _append(here, END)
    assert owner is not None

    refused = here.export(PAUSED)
    owner.close()
    done = here.export(PAUSED)
    rows.close()

    assert (refused.exit_code, "is being written in" in refused.stderr) == (1, True)
    assert done.exit_code == 0


def _limits(terminal: Terminal) -> Result:
    environ = {"ALC_HOME": str(terminal.home.root), "ALC_DATABASE": terminal.database._url, "ALC_STRIKES": "1"}
    return CliRunner().invoke(alc, ["import", PAUSED, "--database", "-"], env=environ, prog_name="alc")


def test_a_home_with_smaller_limits_knows_the_session_again(here: Terminal, there: Terminal) -> None:
    here.export(PAUSED)

    outputs = [_limits(there), _limits(there), there.export(PAUSED)]

    assert [output.exit_code for output in outputs] == [0, 0, 0]
    assert session_of(there.home, Limits(), PAUSED).limits["strikes"] == 1
    assert outputs[2].stdout.endswith("already\n")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["import", GONE], 1, f"'{GONE}' is no session in postgresql://"),
        (["import", "p-18"], 1, "fits 3 sessions in postgresql://"),
        (["import"], 2, "give one FILE, or --all (not both)."),
        (["export", PAUSED, "file"], 2, "give FILE or --database, not both."),
        (["export", PAUSED, "--all"], 2, "give one SID, or --all (not both)."),
        (["import", PAUSED, "--owner", "ann"], 2, "give --owner or --database, not both"),
        (["export", GONE], 1, "not found"),
    ],
)
def test_wrong_uses_get_a_sentence(here: Terminal, arguments: list[str], code: int, sentence: str) -> None:
    here.export()

    output = here.run(*arguments)

    assert output.exit_code == code
    assert sentence in " ".join(output.stderr.split())


@pytest.mark.parametrize("move", [Terminal.export, Terminal.take])
def test_a_database_that_is_down_gets_one_sentence(
    here: Terminal, postgres: Postgres, move: Callable[[Terminal], Result]
) -> None:
    here.export()
    postgres.end(signal.SIGQUIT)
    try:
        output = move(here)
    finally:
        postgres.start()

    assert output.exit_code == 1
    assert output.stderr.startswith(f"alc: {here.database.label} does not answer (")
    assert len(output.stderr.splitlines()) == 1


def test_a_move_that_was_killed_goes_on(here: Terminal, there: Terminal) -> None:
    sids = [sid_of(number) for number in range(10, 40)]
    for sid in sids:
        write(here.home.journal(sid), answered(sid, 20))
    for terminal, word in ((here, "export"), (there, "import")):
        environ = {**os.environ, "ALC_HOME": str(terminal.home.root), "ALC_DATABASE": here.database._url}
        command = [sys.executable, "-m", "algocline_mcp", word, "--all", "--database", "-"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.kill()

        output = terminal.run(word, "--all")

        assert output.exit_code == 0, output.output
        assert "already" in output.stdout

    assert [there.file(sid) for sid in sids] == [here.file(sid) for sid in sids]


@pytest.mark.slow
def test_a_session_replays_and_goes_on_where_it_came_to(
    terminals: tuple[Terminal, Terminal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ROOMY_VARIABLES.items():
        monkeypatch.setenv(name, value)
    here, there = terminals
    code, answers = tmp_path / "ask.lua", tmp_path / "answers.json"
    code.write_text('local a = alc.llm("first") return a .. math.random(1000000) .. alc.llm("second " .. a)')
    answers.write_text('["one"]')
    begun = run(here.home, "run", str(code), "--answers", str(answers))
    (sid,) = fitting_ids(here.home, "p-") or [begun.stderr]

    moved = here.export(sid), there.take(sid)
    verified = run(there.home, "verify", sid)
    done = [run(terminal.home, "continue", sid, "--exec", "cat") for terminal in terminals]

    assert [output.exit_code for output in moved] == [0, 0], (begun, moved[0].output)
    assert verified.stdout == f"{sid} replays as recorded\n"
    assert done[0].stdout == done[1].stdout != ""
