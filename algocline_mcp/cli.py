"""The commands at the terminal. `alc` without arguments is not one of them: it serves MCP.

Contract: results go to stdout, everything else to stderr. Exit code 0 when the strategy completed, 1 when
it did not or was refused, 2 for a wrong command line, 130 when interrupted; then a sentence says how to go on.
"""

import json
import os
import shlex
import sys
from typing import Any

import click

from algocline_mcp import __version__
from algocline_mcp.terminal import journals

EXAMPLES = """\b
Examples:
  alc                                    serve MCP on stdin and stdout (what a host starts)
  alc run panel.lua task="Name it"       run a strategy, answer its prompts here
  alc run --help                         more ways to answer
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="alc", message="%(prog)s %(version)s")
def alc() -> None:
    """Reasoning strategies: code decides what to ask next, a model or a person answers, nothing is lost.

    Without a command, alc serves MCP over stdin and stdout.
    """


RUN_EXAMPLES = """\b
Examples:
  alc run panel.lua task="Name a fear of databases" rounds=3
  alc run panel.lua task=… --exec 'llm -m some-model -s "$ALC_SYSTEM"'
  alc run panel.lua task=… --answers answers.json > result.json
  alc run --session p-18c2f0a1b2c3d4e5-0123456789abcdef
"""


@alc.command(epilog=RUN_EXAMPLES)
@click.argument("file", required=False, type=click.Path())
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--session", metavar="SID", help="Go on with this session instead of starting FILE.")
@click.option(
    "--exec",
    "command",
    metavar="CMD",
    help="A shell command that answers: the prompt on its stdin, the answer on its stdout; "
    "$ALC_SYSTEM, $ALC_QUERY_ID, $ALC_MAX_TOKENS.",
)
@click.option(
    "--answers",
    "sheet",
    metavar="FILE",
    type=click.Path(),
    help="A file that answers: a JSON list in order, a JSON object from query_id to answer, or .txt, one per line.",
)
@click.option("--title", help="A few words to find the session by.")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), metavar="S", help="Longest wait of one call.")
def run(
    file: str | None,
    pairs: tuple[str, ...],
    session: str | None,
    command: str | None,
    sheet: str | None,
    title: str | None,
    wait_s: float | None,
) -> None:
    """Run the strategy in FILE as a client of the MCP server, exactly as a host would.

    KEY=VALUE becomes ctx.KEY in the strategy: JSON if it reads as JSON, else a text. A person answers the prompts
    unless --exec or --answers is given. The result is written to stdout as JSON.
    """
    if (file is None) == (session is None):
        raise click.UsageError("give the FILE of a strategy, or --session SID to go on with one (not both).")
    if session is not None and (pairs or title):
        raise click.UsageError("--session goes on with what was started: leave KEY=VALUE and --title out.")
    if command is not None and sheet is not None:
        raise click.UsageError("give --exec or --answers, not both.")
    start: dict[str, Any] = {}
    if file is not None:
        start = {"code_file": os.path.abspath(file), "ctx": dict(map(_pair, pairs)), "title": title or file}
    from algocline_mcp.terminal import (
        play,  # 0.8 s for the SDK, which --help and a wrong command line need not wait for
    )

    answerer = play.choose(command, sheet)
    options = f" --exec {shlex.quote(command)}" if command else f" --answers {shlex.quote(sheet)}" if sheet else ""
    sys.exit(play.play(start, session, answerer, wait_s=wait_s, options=options))


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"{text!r} is no KEY=VALUE: write for example task={shlex.quote(text)}.")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


for command in journals.COMMANDS:
    alc.add_command(command)


def main() -> None:
    alc(prog_name="alc")
