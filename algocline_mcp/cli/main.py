"""Commands at the terminal. `alc` without arguments is not a command: it serves MCP.

Contract: results go to stdout, everything else to stderr. Exit code 0 if the strategy completed or the command did its
work, 1 if not or if it was refused, 2 for a wrong command line, 130 after an interrupt; a sentence then says how to go
on. Each command imports what it needs when it runs, so --help and a wrong command line wait for nothing.
"""

import os
import shlex
import sys
from typing import Any

import click

from algocline_mcp import __version__
from algocline_mcp.cli import authoring, hosts, journal_commands, output, session_commands
from algocline_mcp.cli.database import db
from algocline_mcp.cli.evaluate import evaluate
from algocline_mcp.cli.packages import new, pkg
from algocline_mcp.cli.serve import serve
from algocline_mcp.cli.token import token
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.errors import AlcError, Refused

EXAMPLES = """\b
Examples:
  alc                                    serve MCP on stdin and stdout (what a host starts)
  alc demo                               watch a run survive kill -9, in ten seconds
  alc config claude-desktop --write      add the server to a host
  alc run panel.py task="Name it"        run a strategy, answer its prompts here
  alc pkg list                           list the strategies that alc run knows by name
  alc ps                                 list the unfinished sessions
"""


class ErrorsAsSentences(click.Group):
    """A group whose commands end with one sentence and exit code 1 after an AlcError."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with output.clean_errors():
            return super().make_context(*args, **extra)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0].endswith((".py", ".lua")):
            raise click.UsageError(f"{args[0]} is a strategy: write alc run {shlex.join(args)}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with output.clean_errors():
            try:
                return super().invoke(ctx)
            except AlcError as exc:
                raise click.ClickException(at_terminal(str(exc))) from exc


@click.group(cls=ErrorsAsSentences, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="alc", message="%(prog)s %(version)s")
def alc() -> None:
    """Durable, multi-step prompting: code decides what to ask next, a model or a person answers, no answer is lost.

    Without a command, alc serves MCP over stdin and stdout.
    """


@alc.command(epilog="\b\nExample:\n  alc demo", short_help="Watch a run survive kill -9.")
def demo() -> None:
    """Run a strategy with scripted answers, kill -9 its server and worker half-way, and watch the session go on.

    The demo needs no model and no network, and removes its files.
    """
    from algocline_mcp.cli.demo import play

    sys.exit(play(output.result))


@alc.command(
    epilog="\b\nExamples:\n  alc doctor\n  ALC_HOME=/data alc doctor && echo fine",
    short_help="Find problems of this installation, with cures.",
)
def doctor() -> None:
    """Check everything that a session needs, start and stop one worker, and name the cure for each problem.

    Exit code 0 without a problem, otherwise 1.
    """
    from algocline_mcp.cli.doctor import examine

    sys.exit(examine(output.result))


class HostName(click.Choice[str]):
    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        return f"{super().get_invalid_choice_message(value, ctx)} alc config alone shows an entry for any host."


CONFIG_EXAMPLES = """\b
Examples:
  alc config                               show what to paste into any host
  alc config claude-desktop                show what to paste, and where
  alc config codex --write                 add the server; the old file is kept beside the new one
  alc config cursor --remove               remove the server again
  alc config vscode --file ~/.config/Code/User/mcp.json --write
"""


@alc.command(epilog=CONFIG_EXAMPLES, short_help="Add the server to a host.")
@click.argument("host", metavar="[HOST]", required=False, type=HostName(list(hosts.HOSTS)))
@click.option("--write", "is_written", is_flag=True, help="Write the entry into the host's file, keeping a backup.")
@click.option("--remove", "is_removed", is_flag=True, help="Remove the entry from the host's file, and the backups.")
@click.option("--file", "path", type=click.Path(dir_okay=False), help="Another file than the host's usual one.")
def config(host: str | None, is_written: bool, is_removed: bool, path: str | None) -> None:
    """Show the entry that HOST needs in its configuration, or write it there. The rest of that file stays.

    HOST is one of: claude-desktop, claude-code, vscode, cursor, codex, goose. Without HOST: an entry for any host.
    """
    if is_written and is_removed:
        raise click.UsageError("give --write or --remove, not both.")
    entry = hosts.own_entry(os.environ)
    if host is None:
        if is_written or is_removed or path:
            raise click.UsageError(f"name the host: {', '.join(hosts.HOSTS)}.")
        snippet, steps = hosts.general_advice(entry)
    else:
        target = hosts.target(hosts.HOSTS[host], path)
        snippet, steps = hosts.advice(host, entry, target)
        if is_removed:
            output.result(hosts.remove(hosts.HOSTS[host], target))
            return
        if is_written:
            from algocline_mcp.cli import first_start

            try:
                output.result(hosts.write(hosts.HOSTS[host], entry, target))
            except Refused:
                output.result(snippet, nl=False)  # to paste by hand, as the error says
                raise
            first_start.save_replies(entry, os.environ)
            return
    output.note("\n".join(steps) + "\n")
    output.result(snippet, nl=False)


for command in (
    *session_commands.COMMANDS,
    *journal_commands.COMMANDS,
    *authoring.COMMANDS,
    new,
    pkg,
    evaluate,
    serve,
    db,
    token,
):
    alc.add_command(command)
for group in (alc, pkg, evaluate, db, token):
    for command in group.commands.values():
        if not isinstance(command, click.Group) and not any("--raw" in option.opts for option in command.params):
            command.params.append(output.raw_option())


def main() -> None:
    alc(prog_name="alc")
