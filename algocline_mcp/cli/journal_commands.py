"""Commands on journals: show, verify, purge, export, import.

Contract: as in main.py. These commands need no server. Heavy imports are inside the commands, so `alc --help` is fast.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, product
from pathlib import Path

import click

from algocline_mcp.cli import output
from algocline_mcp.cli.arguments import LISTED, WHOLE_SID, SessionId, fitting_ids, home_of
from algocline_mcp.cli.database import database_option, export_sessions, import_sessions
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.session.state import Phase

_WIDEST = 100  # columns: longer lines are hard to read


@contextmanager
def _home_and_limits() -> Iterator[tuple[Home, Limits]]:
    """The home and limits of the environment. An error inside becomes one sentence and exit code 1."""
    try:
        yield Home.from_env(os.environ), Limits.from_env(os.environ)
    except AlcError as exc:
        output.note(f"alc: {at_terminal(str(exc))}")
        sys.exit(1)
    except BrokenPipeError:
        raise  # the reader, such as head, has had enough: click ends the command in silence
    except OSError as exc:
        output.note(f"alc: {exc.filename or 'this machine'}: {exc.strerror}")
        sys.exit(1)


def _private(name: str, flags: int) -> int:
    """Opens a file for its user alone; a file that exists keeps its mode."""
    return os.open(name, flags, 0o600)


def _session_id(sid: str) -> str:
    if not WHOLE_SID.fullmatch(sid):
        raise click.UsageError(f"{sid!r} is not a session id: {LISTED}.")
    return sid


SHOW_EXAMPLES = """\b
Examples:
  alc show                                the newest session
  alc show cdef                           the one whose id ends, or begins, with cdef
  alc show cdef --html --out session.html
"""


@click.command(epilog=SHOW_EXAMPLES, short_help="Show a session as a timeline or a page.")
@click.argument("sid", required=False, type=SessionId(is_unfinished=False))
@click.option("--html", "as_page", is_flag=True, help="One self-contained page, on stdout or in --out.")
@click.option("--out", type=click.Path(dir_okay=False), metavar="FILE", help="Write to FILE instead of stdout.")
@click.option("--full", is_flag=True, help="Show prompts and answers whole.")
def show(sid: str | None, as_page: bool, out: str | None, full: bool) -> None:
    """Show session SID as a timeline: each round's prompts and answers, who answered, how long it took. Without SID:
    the newest session."""
    from algocline_mcp.cli.html import parts_of
    from algocline_mcp.cli.timeline import lines_of
    from algocline_mcp.history.reader import stored_records

    if sid is not None:
        _session_id(sid)
    with _home_and_limits() as (home, limits):
        sid = sid or _newest(home)
        records = stored_records(home_of(sid), limits, sid)
        width = min(shutil.get_terminal_size().columns, _WIDEST)
        lines = (line + "\n" for line in lines_of(records, width=width, is_full=full or out is not None))
        parts = (part.encode("utf-8", "replace") for part in (parts_of(records) if as_page else lines))
        first = next(parts)  # reads all; raises where the journal does not fold: then no file is made
        if (damage := records.damage) is not None:
            output.note(f"The records before the damage are shown: {damage}")
        if out is not None:
            with open(out, "wb", opener=_private) as stream:
                stream.writelines(chain((first,), parts))
            output.result(out)
            return
        output.content(chain((first,), parts))


def _newest(home: Home) -> str:
    sids = fitting_ids(home, "p-")
    if not sids:
        raise Refused("there is no session yet: start one with alc_run")
    return sids[0]


PURGE_EXAMPLES = """\b
Examples:
  alc purge --dry-run       list the finished sessions older than ALC_RETENTION_DAYS
  alc purge --days 7        delete the finished sessions without a change for a week
  alc purge --days 0 --all  delete all sessions without a worker, unfinished ones too
"""


@click.command(epilog=PURGE_EXAMPLES, short_help="Delete old sessions.")
@click.option("--days", type=click.FloatRange(min=0), metavar="N", help="Older than N days (ALC_RETENTION_DAYS).")
@click.option("--all", "also_unfinished", is_flag=True, help="Unfinished sessions too; each is named.")
@click.option("--dry-run", is_flag=True, help="List them, delete nothing.")
def purge(days: float | None, also_unfinished: bool, dry_run: bool) -> None:
    """Delete sessions without a change for N days: finished sessions, with --all also unfinished ones."""
    from algocline_mcp.cli.sessions import live_pids
    from algocline_mcp.history.retention import delete_session, expired
    from algocline_mcp.storage.owners import parts_of

    with _home_and_limits() as (home, limits):
        if days is None and not limits.retention_days:
            raise Refused("ALC_RETENTION_DAYS is 0, sessions are kept for ever: give --days N")
        age = limits.retention_days if days is None else days
        live = live_pids(home) if dry_run else {}
        count = 0
        kinds = ("finished", "unfinished") if also_unfinished else ("finished",)
        for part, kind in product(parts_of(home), kinds):
            directory = part.finished if kind == "finished" else part.sessions
            for sid in sorted(expired(directory, age, time.time())):
                if sid not in live if dry_run else delete_session(part, sid):
                    output.result(f"{sid} {kind}")
                    count += 1
                else:
                    output.note(f"alc: {sid} has a worker and is not deleted: alc stop {sid} --delete")
        sentence = f"{count} session{'' if count == 1 else 's'} {'would be deleted' if dry_run else 'deleted'}"
        output.note(f"alc: {sentence}, of those without a change for {age:g} days")


EXPORT_EXAMPLES = """\b
Examples:
  alc export p-18c2f0a1b2c3d4e5-0123456789abcdef session.journal
  alc export --all --database postgresql://alc@db.example/alc
"""


def _check_words(name: str | None, word: str, url: str | None, all_: bool) -> None:
    if all_ and url is None:
        raise click.UsageError("--all needs --database URL.")
    if (name is None) == (not all_):
        raise click.UsageError(f"give one {word}{', or --all (not both)' if url is not None else ''}.")


@click.command(
    epilog=EXPORT_EXAMPLES,
    short_help="Write a session to a file or a database.",
)
@click.argument("sid", required=False, type=SessionId(is_unfinished=False))
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@database_option
@click.option("--all", "all_", is_flag=True, help="With --database: every session of this home.")
def export(sid: str | None, file: str | None, url: str | None, all_: bool) -> None:
    """Write session SID to FILE (SID.journal, or - for stdout), so that alc import can continue it elsewhere. With
    --database: into that PostgreSQL, where it gets what it lacks there.

    The file holds the whole session, also the values that it read from the environment. The session also stays here:
    delete it, or answer it in one place only.
    """
    from algocline_mcp.history.export import export_session

    _check_words(sid, "SID", url, all_)
    if url is not None and file is not None:
        raise click.UsageError("give FILE or --database, not both.")
    if sid is not None:
        _session_id(sid)
    with _home_and_limits() as (home, limits):
        if url is not None or sid is None:
            export_sessions(home, limits, url or "-", sid)
            return
        lines = export_session(home_of(sid), limits, sid)
        if file == "-":
            output.content(lines)
            return
        target = Path(file or f"{sid}.journal")
        try:
            fd = _private(os.fspath(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        except FileExistsError:
            output.note(f"alc: {target} exists: remove it or name another file")
            sys.exit(1)
        with _removed_on_error(target), open(fd, "wb") as stream:
            stream.writelines(lines)
        output.result(os.fspath(target))


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise


IMPORT_EXAMPLES = """\b
Examples:
  alc import session.journal
  alc import p-18c2f0a1b2c3d4e5-0123456789abcdef --database postgresql://alc@db.example/alc
"""


@click.command(
    name="import",
    epilog=IMPORT_EXAMPLES,
    short_help="Import a session from a file or a database.",
)
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@database_option
@click.option("--all", "all_", is_flag=True, help="With --database: every session in it.")
@click.option("--owner", default="", metavar="NAME", help="Whose it becomes: a principal of alc serve; else yours.")
def import_(file: str | None, owner: str, url: str | None, all_: bool) -> None:
    """Import the session in FILE, which alc export wrote (- for stdin), into this home. With --database: FILE is the id
    of a session in that PostgreSQL, which keeps its owner; a session that is here already gets what it lacks."""
    from algocline_mcp.history.export import import_session, open_file, spool

    _check_words(file, "FILE", url, all_)
    if url is not None and owner:
        raise click.UsageError("give --owner or --database, not both: a session from a database keeps its owner.")
    with _home_and_limits() as (home, limits):
        if url is not None or file is None:
            import_sessions(home, limits, url or "-", file)
            return
        with spool(sys.stdin.buffer, limits) if file == "-" else open_file(Path(file), limits) as source:
            sid, phase = import_session(home, source, limits, owner)
        output.result(sid)
        is_others = owner or phase is Phase.FINISHED
        then = f"alc show {sid} shows it" if is_others else f"go on with: alc continue {sid}"
        output.note(f"alc: the session is {phase}; {then}")


@click.command(epilog="\b\nExamples:\n  alc verify --all", short_help="Check that unfinished sessions still replay.")
@click.argument("sid", required=False, type=SessionId(is_unfinished=True))
@click.option("--all", "all_", is_flag=True, help="Every unfinished session of this home.")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0.1), default=30.0, metavar="S", help="For each replay.")
def verify(sid: str | None, all_: bool, wait_s: float) -> None:
    """Replay unfinished sessions under this version, without new answers, and name those that would diverge.

    Each replay runs on a copy in a temporary home; no session is changed. Exit code 0: every session replays. Exit code
    1: some do not.
    """
    import anyio

    from algocline_mcp.pool import verify as verification
    from algocline_mcp.storage.owners import parts_of

    if (sid is None) == (not all_):
        raise click.UsageError("give one SID, or --all (not both).")
    with _home_and_limits() as (home, limits):
        if sid is None:
            sids = [(part, one) for part in parts_of(home) for one in verification.unfinished_sids(part)]
        else:
            sids = [(home_of(_session_id(sid)), sid)]

        async def replay_all() -> list[str]:
            failed = []
            async with verification.scratch_pool(home, limits, os.environ) as pool:
                for part, one in sids:
                    report = await verification.verify_session(pool, part, one, wait_s=wait_s)
                    output.result(f"{one} {_OUTCOMES[report['outcome']]}")
                    if report["outcome"] not in verification.OK:
                        failed.append(one)
                        _explain(report)
            return failed

        failed = anyio.run(replay_all)
        if all_:
            output.note(f"alc: {len(sids) - len(failed)} of {len(sids)} unfinished sessions replay")
        if failed:
            sys.exit(1)


# What follows the id, by outcome. The words with an underscore are those of `error_code`.
_OUTCOMES = {
    "same": "replays as recorded",
    "finished": "has ended: there is nothing to replay",
    "diverged": "has diverged: the strategy now asks something else than its journal holds",
    "needs_version": "needs_version: another version of the program or the language wrote it",
    "corrupt": "is corrupt: its journal is damaged",
    "crash_loop": "crash_loop: the engine dies again and again in the same step",
    "unknown": "could not be replayed to its end",
}


def _explain(report: dict[str, object]) -> None:
    for key in ("error", "recorded", "replayed"):
        if key in report:
            output.note(f"    {key}: {report[key]}")


COMMANDS: tuple[click.Command, ...] = (show, verify, purge, export, import_)
