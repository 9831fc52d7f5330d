"""The commands at the terminal. `alc` without arguments is not one of them: it serves MCP.

Contract: results go to stdout, everything else to stderr. Exit code 0 when the strategy completed or the command did
what it says, 1 when it did not or was refused, 2 for a wrong command line, 130 when interrupted; then a sentence says
how to go on. Each command imports what it needs when it runs: --help and a wrong command line wait for nothing.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from algocline_mcp import __version__
from algocline_mcp.cli import hosts, journal_commands
from algocline_mcp.cli.packages import pkg
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.errors import AlcError

EXAMPLES = """\b
Examples:
  alc                                    serve MCP on stdin and stdout (what a host starts)
  alc demo                               see in ten seconds what it is for
  alc config claude-desktop --write      enter it into a host
  alc run panel.lua task="Name it"       run a strategy, answer its prompts here
  alc pkg list                           which packages are installed
  alc ps                                 what is unfinished
"""
_NAME = re.compile(r"[A-Za-z0-9_-]+")  # of a package; a file has a suffix or a directory before it
JOBS = 4  # models behind a command rarely allow more


class Told(click.Group):
    """An error of ours becomes one sentence and exit code 1, whatever command it ends."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AlcError as exc:
            raise click.ClickException(at_terminal(str(exc))) from exc


@click.group(cls=Told, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="alc", message="%(prog)s %(version)s")
def alc() -> None:
    """Reasoning strategies: code decides what to ask next, a model or a person answers, nothing is lost.

    Without a command, alc serves MCP over stdin and stdout.
    """


def complete_sid(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The unfinished sessions, for shells that complete."""
    from algocline_mcp.cli.sessions import titles

    return [CompletionItem(sid, help=title) for sid, title in titles(incomplete)]


SID = click.argument("sid", shell_complete=complete_sid)

# ── run, continue ─────────────────────────────────────────────────────────────────────────────────────────

Function = TypeVar("Function", bound=Callable[..., Any])


def answering(command: Function) -> Function:
    """The options that say who answers; both commands that play a session have them."""
    for option in reversed(
        [
            click.option(
                "--exec",
                "command",
                metavar="CMD",
                help="A shell command that answers: the prompt on its stdin, the answer on its stdout; "
                "$ALC_SYSTEM, $ALC_QUERY_ID, $ALC_MAX_TOKENS.",
            ),
            click.option(
                "--jobs",
                type=click.IntRange(min=1),
                metavar="N",
                help=f"How many of --exec run at once when several prompts wait ({JOBS}).",
            ),
            click.option(
                "--answers",
                "sheet",
                metavar="FILE",
                type=click.Path(),
                help="A file that answers: a JSON list in order, a JSON object from query_id to answer, or .txt, "
                "one per line.",
            ),
            click.option(
                "--wait", "wait_s", type=click.FloatRange(min=0), metavar="S", help="Longest wait of one call."
            ),
        ]
    ):
        command = option(command)
    return command


RUN_EXAMPLES = """\b
Examples:
  alc run panel.lua task="Name a fear of databases" rounds=3
  alc run cot task="Why is the sky blue?"
  alc run panel.lua task=… --exec 'llm -m some-model -s "$ALC_SYSTEM"' --jobs 8
  alc run panel.lua task=… --answers answers.json > result.json
"""


@alc.command(epilog=RUN_EXAMPLES, short_help="Run a strategy; answer its prompts here.")
@click.argument("file", metavar="FILE|NAME", type=click.Path())
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@answering
@click.option("--title", help="A few words to find the session by.")
def run(file: str, pairs: tuple[str, ...], title: str | None, wait_s: float | None, **who: Any) -> None:
    """Run the strategy in FILE, or the installed one called NAME, as a client of the MCP server, as a host would.

    KEY=VALUE becomes ctx.KEY in the strategy: JSON if it reads as JSON, else a text. A person answers the prompts
    unless --exec or --answers is given. The result is written to stdout as JSON.
    """
    is_name = _NAME.fullmatch(file) is not None and not os.path.isfile(file)
    what = {"strategy": file} if is_name else {"code_file": os.path.abspath(file)}
    _play({**what, "ctx": dict(map(_pair, pairs)), "title": title or os.path.basename(file)}, None, wait_s, **who)


CONTINUE_EXAMPLES = """\b
Examples:
  alc continue p-18c2f0a1b2c3d4e5-0123456789abcdef
  alc continue p-18c2f0a1b2c3d4e5-0123456789abcdef --exec 'llm -m some-model'
"""


@alc.command("continue", epilog=CONTINUE_EXAMPLES, short_help="Go on with a session.")
@SID
@answering
def continue_(sid: str, wait_s: float | None, **who: Any) -> None:
    """Go on with a session, wherever it was started; `alc ps` lists them.

    A person answers the prompts unless --exec or --answers is given. The result is written to stdout as JSON.
    """
    _play({}, sid, wait_s, **who)


def _play(
    start: dict[str, Any],
    sid: str | None,
    wait_s: float | None,
    *,
    command: str | None,
    sheet: str | None,
    jobs: int | None,
) -> None:
    if command is not None and sheet is not None:
        raise click.UsageError("give --exec or --answers, not both.")
    if jobs is not None and command is None:
        raise click.UsageError("--jobs belongs to --exec: give the command too, or leave --jobs out.")
    file = start.get("code_file")
    if file is not None and not os.path.isfile(file):
        raise click.ClickException(f"{file} is no file: give the path of a strategy, such as examples/panel.lua")
    from algocline_mcp.cli import run

    options = f" --exec {shlex.quote(command)}" if command else f" --answers {shlex.quote(sheet)}" if sheet else ""
    options += f" --jobs {jobs}" if jobs else ""
    answerer = run.choose(command, sheet, jobs or JOBS)
    sys.exit(run.play(start, sid, answerer, wait_s=wait_s, options=options))


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"{text!r} is no KEY=VALUE: write for example task={shlex.quote(text)}.")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


# ── ps, stop, logs ────────────────────────────────────────────────────────────────────────────────────────


@alc.command(
    epilog="\b\nExamples:\n  alc ps\n  alc ps --json | jq -r '.sessions[].session_id'",
    short_help="List the unfinished sessions.",
)
@click.option("--json", "is_json", is_flag=True, help="As JSON, with all fields.")
def ps(is_json: bool) -> None:
    """List the unfinished sessions, those of this directory first: what each waits for, and the pid of its worker."""
    from algocline_mcp.cli import sessions

    listed = sessions.listed()
    click.echo(json.dumps(listed, indent=2, ensure_ascii=False) if is_json else sessions.table(listed))


STOP_EXAMPLES = """\b
Examples:
  alc stop p-18c2f0a1b2c3d4e5-0123456789abcdef            free its processes; alc continue wakes it
  alc stop p-18c2f0a1b2c3d4e5-0123456789abcdef --cancel   end it for good
  alc stop p-18c2f0a1b2c3d4e5-0123456789abcdef --delete   and delete it
"""


@alc.command(epilog=STOP_EXAMPLES, short_help="Send a worker away, or end a session.")
@SID
@click.option("--cancel", is_flag=True, help="End the session for good; what was answered stays in its journal.")
@click.option("--delete", is_flag=True, help="End it and delete its journal.")
def stop(sid: str, cancel: bool, delete: bool) -> None:
    """Send the worker of a session away. Nothing is lost: the session sleeps on disk until it is asked again."""
    if cancel and delete:
        raise click.UsageError("give --cancel or --delete, not both.")
    from algocline_mcp.cli import sessions

    click.echo(sessions.stop(sid, "cancel" if cancel else "delete" if delete else "hibernate"))


@alc.command(
    epilog="\b\nExample:\n  alc logs p-18c2f0a1b2c3d4e5-0123456789abcdef", short_help="Show what a strategy has logged."
)
@SID
def logs(sid: str) -> None:
    """Show what a strategy has logged (alc.log, print, alc.progress), and what its worker said on stderr."""
    from algocline_mcp.cli import sessions

    lines = sessions.log(sid)
    for line in lines:
        click.echo(line)
    if not lines:
        click.echo(f"session {sid} has logged nothing", err=True)


# ── demo, doctor, config ──────────────────────────────────────────────────────────────────────────────────


@alc.command(epilog="\b\nExample:\n  alc demo", short_help="Kill it half-way and see it go on.")
def demo() -> None:
    """Run a strategy with scripted answers, kill -9 its server and worker half-way, and see it go on.

    Needs no model and no network, and leaves nothing behind.
    """
    from algocline_mcp.cli.demo import play

    sys.exit(play(click.echo))


@alc.command(
    epilog="\b\nExamples:\n  alc doctor\n  ALC_HOME=/data alc doctor && echo fine",
    short_help="Find out what does not work here, and the cure.",
)
def doctor() -> None:
    """Look at all that a session needs, start and stop one worker, and name the cure for each problem.

    Exit code 0 if all is well, 1 if something is not.
    """
    from algocline_mcp.cli.doctor import examine

    sys.exit(examine(click.echo))


CONFIG_EXAMPLES = """\b
Examples:
  alc config claude-desktop                what to paste, and where
  alc config codex --write                 enter it; the old file is kept beside the new one
  alc config cursor --remove               take it out again
  alc config vscode --file ~/.config/Code/User/mcp.json --write
"""


@alc.command(epilog=CONFIG_EXAMPLES, short_help="Show or write what a host needs.")
@click.argument("host", metavar="HOST", type=click.Choice(list(hosts.HOSTS)))
@click.option("--write", "is_written", is_flag=True, help="Enter it into the host's file, keeping a backup.")
@click.option("--remove", "is_removed", is_flag=True, help="Take it out of the host's file, keeping a backup.")
@click.option("--file", "path", type=click.Path(dir_okay=False), help="Another file than the host's usual one.")
def config(host: str, is_written: bool, is_removed: bool, path: str | None) -> None:
    """Show what HOST needs in its configuration, or write it there. Whatever else is in that file stays.

    HOST is one of: claude-desktop, claude-code, vscode, cursor, codex, goose.
    """
    if is_written and is_removed:
        raise click.UsageError("give --write or --remove, not both.")
    entry = hosts.own_entry(os.environ)
    target = hosts.target(hosts.HOSTS[host], path)
    if is_written:
        click.echo(hosts.write(hosts.HOSTS[host], entry, target))
    elif is_removed:
        click.echo(hosts.remove(hosts.HOSTS[host], target))
    else:
        snippet, told = hosts.advice(host, entry, target)
        click.echo("\n".join(told) + "\n", err=True)
        click.echo(snippet, nl=False)


# ── show, verify, purge, export, import ───────────────────────────────────────────────────────────────────

for command in journal_commands.COMMANDS:
    alc.add_command(command)


alc.add_command(pkg)


def main() -> None:
    alc(prog_name="alc")
