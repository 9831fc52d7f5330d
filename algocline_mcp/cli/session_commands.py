"""Commands on sessions: run, branch, continue, ps, stop, logs.

Contract: as in main.py. Heavy imports are inside the commands, so --help and a wrong command line wait for nothing.
"""

import json
import os
import re
import shlex
import sys
from difflib import get_close_matches
from typing import Any

import click

from algocline_mcp.cli import output
from algocline_mcp.cli.answering_options import Chosen, answerer_options
from algocline_mcp.cli.arguments import SID, UNFINISHED_SID, SessionId, StrategyFile, entry_file, refuse_others
from algocline_mcp.cli.database import database_option, listed_of_database
from algocline_mcp.cli.pairs import STDIN, context_of, stdin_readers
from algocline_mcp.cli.start import Start
from algocline_mcp.errors import whole

_SLIP = 0.8  # so like an option that it is one with a slip, and no name in ctx
_NAME = re.compile(r"[A-Za-z0-9_-]+")  # of a package; a file has a suffix or a directory before it


# ── run, continue ─────────────────────────────────────────────────────────────────────────────────────────

RUN_EXAMPLES = """\b
Examples:
  alc run panel.py task="Name a fear of databases" rounds=3
  alc run review file=@README.md --model openai:gpt-5-mini     review is built in: alc pkg list
  alc run panel.py task=… --model openai:gpt-5-mini --jobs 8
  alc run panel.py task=… --exec 'llm -m some-model -s "$ALC_SYSTEM"' --watch
  alc run panel.py task=… --answers answers.json --out result.json
  alc run digest.lua text=@book.txt task="What?" --out summary.md
  git diff | alc run panel.py task=@- --exec 'llm -m some-model'
"""


class RunCommand(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            if get_close_matches(exc.option_name, exc.possibilities or (), cutoff=_SLIP):
                raise
            cure = f"A value for ctx is written without dashes: {exc.option_name.lstrip('-')}=…"
            raise click.NoSuchOption(exc.option_name, f"No such option {exc.option_name!r}. {cure}", ctx=ctx) from exc


@click.command(cls=RunCommand, epilog=RUN_EXAMPLES, short_help="Run a strategy; answer its prompts here.")
@click.argument("file", metavar="FILE|NAME", type=StrategyFile())
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@answerer_options
@click.option("--title", help="A few words to find the session by.")
@click.option("--watch", "is_watching", is_flag=True, help="Run again when FILE is saved, and ask only what is new.")
def run(file: str, pairs: tuple[str, ...], title: str | None, wait_s: float | None, **answerer: Any) -> None:
    """Run the strategy in FILE, or the one called NAME (built in, installed, or a directory here), as a client of the
    MCP server, as a host would.

    KEY=VALUE becomes ctx.KEY in the strategy: JSON if it reads as JSON, otherwise a text. KEY=@FILE is the text of
    FILE, KEY:=JSON and KEY:=@FILE are JSON alone, @- is standard input; a text that begins with @ is written with two:
    KEY=@@name. You answer the prompts, unless --model, --exec or --answers is given. The result goes to stdout: a text
    as it is, anything else as JSON.
    """
    _check_stdin(pairs, **answerer)
    file = entry_file(file) or file
    is_name = _NAME.fullmatch(file) is not None and not os.path.isfile(file)
    arguments = {"ctx": context_of(pairs), "title": title or ""}
    start = Start("alc_run", arguments | {"strategy": file}) if is_name else _with_file("alc_run", arguments, file)
    _play_session(start, None, wait_s, **answerer)


BRANCH_EXAMPLES = """\b
Examples:
  alc branch cdef panel.py                       the corrected panel.py, with the answers of that session
  alc branch cdef panel.py rounds=2              the same with another value in ctx
  alc branch cdef --at q-3                       asks q-3 again
  alc branch cdef --at q-3 --response "No."      takes another answer to q-3
  alc branch cdef panel.py --dry-run             shows what would be asked
"""


@click.command(cls=RunCommand, epilog=BRANCH_EXAMPLES, short_help="Correct a session's code and keep its answers.")
@SID
@click.argument("file", metavar="[FILE]", required=False, type=click.Path())
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--at", metavar="QUERY_ID", help="Keep the answers before this prompt, and ask it again.")
@click.option("--response", metavar="TEXT", help="The new answer to the prompt of --at.")
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="Start N branches and print their ids.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Start nothing; show which prompts would be asked.")
@answerer_options
def branch(sid: str, file: str | None, pairs: tuple[str, ...], wait_s: float | None, **options: Any) -> None:
    """Start a session from an old one, finished or not, which is left unchanged.

    With FILE, the corrected strategy: runs it from its beginning with the answers of the old session, and asks only the
    prompts that differ. KEY=VALUE adds a value to the old ctx, or replaces it. Without both: the old code again.
    Prompts are answered and the result is shown as by alc run.
    """
    at, response, count, is_dry = (options.pop(name) for name in ("at", "response", "count", "is_dry"))
    if response is not None and at is None:
        raise click.UsageError("--response is the answer to the prompt of --at: give --at QUERY_ID too.")
    if file is not None and "=" in file and not os.path.exists(file):
        pairs, file = (file, *pairs), None
    if count is None and not is_dry:
        _check_stdin(pairs, **options)
    refuse_others(sid)
    arguments = {"session_id": sid, "n": count, "dry_run": is_dry}
    arguments |= {name: value for name, value in (("at", at), ("response", response)) if value is not None}
    if changes := context_of(pairs):
        arguments["ctx"] = _ctx_of(sid) | changes
    start = _with_file("alc_branch", arguments, file) if file else Start("alc_branch", arguments)
    _play_session(start, None, wait_s, **options)


def _check_stdin(
    pairs: tuple[str, ...], *, command: str | None, model: str | None, answer_file: str | None, **_: Any
) -> None:
    readers = stdin_readers(pairs)
    if readers and command is None and model is None and answer_file is None and not sys.stdin.isatty():
        sentence = f"{readers[0]} takes standard input, which would have to give the answers too"
        raise click.UsageError(f"{sentence}: give --exec, --model or --answers, or a file in place of {STDIN}.")


def _with_file(tool: str, arguments: dict[str, Any], file: str) -> Start:
    return Start(tool, arguments | {"code_file": os.path.abspath(file)}, shlex.quote(file))


def _ctx_of(sid: str) -> dict[str, Any]:
    from algocline_mcp.config.home import Home
    from algocline_mcp.config.limits import Limits
    from algocline_mcp.history.reader import first_record

    header = first_record(Home.from_env(os.environ), Limits.from_env(os.environ), sid)
    return dict(json.loads(header["ctx"]))


CONTINUE_EXAMPLES = """\b
Examples:
  alc continue                                  the session that alc ps lists first
  alc continue cdef                             the session whose id ends, or begins, with cdef
  alc continue p-18c2f0a1b2c3d4e5-0123456789abcdef --exec 'llm -m some-model'
"""


@click.command("continue", epilog=CONTINUE_EXAMPLES, short_help="Go on with a session.")
@click.argument("sid", required=False, type=SessionId(is_unfinished=True))
@answerer_options
def continue_(sid: str | None, wait_s: float | None, **answerer: Any) -> None:
    """Go on with a session, wherever it was started; `alc ps` lists them. Without SID: the one listed first.

    You answer the prompts, unless --model, --exec or --answers is given. The result goes to stdout: a text as it is,
    anything else as JSON.
    """
    if sid is None:
        from algocline_mcp.cli import sessions

        sid, title = sessions.first_listed()
        output.note(f"alc: session {sid} ({title})")
    refuse_others(sid)
    _play_session(None, sid, wait_s, **answerer)


def _play_session(
    start: Start | None,
    sid: str | None,
    wait_s: float | None,
    *,
    is_json: bool,
    out: str | None,
    is_watching: bool = False,
    **answerer: Any,
) -> None:
    chosen = Chosen(**answerer)
    chosen.check()
    arguments = start.arguments if start else {}
    _check_is_unicode(arguments)
    if (path := arguments.get("code_file")) is not None and not os.path.isfile(path):
        raise click.ClickException(f"{path} is not a file: give the path of a strategy, such as examples/panel.py")
    from algocline_mcp.cli import result_file, run, watching

    if out is not None:
        result_file.check(out)
    options = chosen.words()
    options += f" --out {shlex.quote(out)}" if out else ""
    options += " --raw" if output.is_raw() else ""
    how = run.How(wait_s=wait_s, options=options, is_json=is_json, out=out, is_quiet=chosen.is_quiet)
    if is_watching:
        assert start is not None
        sys.exit(watching.play(start, chosen, how))
    sys.exit(run.play(start, sid, chosen.answerer(), how))


def _check_is_unicode(start: dict[str, Any]) -> None:
    """A request to the server is JSON, which holds no bytes that are not UTF-8."""
    for value in (start.get("code_file"), start.get("title"), *start.get("ctx", {}), *start.get("ctx", {}).values()):
        if isinstance(value, str) and whole(value) != value:
            raise click.UsageError(f"{value!r} is not UTF-8: write it in UTF-8, or rename the file or its directory.")


# ── ps, stop, logs ────────────────────────────────────────────────────────────────────────────────────────


@click.command(
    epilog="\b\nExamples:\n  alc ps\n  alc ps --all\n  alc ps --json | jq -r '.sessions[].session_id'\n"
    "  alc ps --all-nodes                       the servers that share the database in ALC_DATABASE",
    short_help="List the unfinished sessions.",
)
@click.option("--all", "also_finished", is_flag=True, help="The newest finished sessions too.")
@click.option("--all-nodes", "of_database", is_flag=True, help="Those of every server and owner in the database.")
@database_option
@click.option("--json", "is_json", is_flag=True, help="As JSON, with all fields.")
def ps(also_finished: bool, of_database: bool, url: str | None, is_json: bool) -> None:
    """List the unfinished sessions, those of this directory first, with pending prompts and the pid of the worker."""
    from algocline_mcp.cli import sessions

    if of_database or url:
        listed = listed_of_database(url, also_finished=also_finished)
    else:
        listed = sessions.listed(also_finished=also_finished)
    output.result(json.dumps(listed, indent=2, ensure_ascii=False) if is_json else sessions.table(listed))


STOP_EXAMPLES = """\b
Examples:
  alc stop p-18c2f0a1b2c3d4e5-0123456789abcdef            free its processes; alc continue revives it
  alc stop p-18c2f0a1b2c3d4e5-0123456789abcdef --cancel   end it for good
  alc stop p-18c2f0a1b2c3d4e5-0123456789abcdef --delete   end it and delete its journal
"""


@click.command(epilog=STOP_EXAMPLES, short_help="Free a session's processes, or end it.")
@UNFINISHED_SID
@click.option("--cancel", is_flag=True, help="End the session for good; its journal stays.")
@click.option("--delete", is_flag=True, help="End it and delete its journal.")
def stop(sid: str, cancel: bool, delete: bool) -> None:
    """End the worker of a session. Nothing is lost: the next request for the session starts another worker."""
    if cancel and delete:
        raise click.UsageError("give --cancel or --delete, not both.")
    from algocline_mcp.cli import sessions

    output.result(sessions.stop(sid, "cancel" if cancel else "delete" if delete else "hibernate"))


@click.command(
    epilog="\b\nExample:\n  alc logs p-18c2f0a1b2c3d4e5-0123456789abcdef", short_help="Show the log of a session."
)
@SID
def logs(sid: str) -> None:
    """Show the log of a strategy (alc.log, print, alc.progress) and the stderr of its worker."""
    from algocline_mcp.cli import sessions

    lines = sessions.log(sid)
    for line in lines:
        output.result(line)
    if not lines:
        output.note(f"session {sid} has no log lines")


RAW_RESULT = "The result as it is: no line feed behind a text, control characters too."
for command in (run, branch, continue_):
    command.params.append(output.raw_option(RAW_RESULT))
COMMANDS: tuple[click.Command, ...] = (run, branch, continue_, ps, stop, logs)
