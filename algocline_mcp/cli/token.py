"""`alc token`: makes, lists and removes the tokens of those who may call `alc serve`."""

import os
from datetime import UTC, datetime

import click

from algocline_mcp.cli import output
from algocline_mcp.config.home import Home

EXAMPLES = """\b
Examples:
  alc token new anna             prints a token, once
  alc token list
  alc token remove anna          her token is refused from now on; her sessions stay
"""
NAME = click.argument("name")


@click.group(epilog=EXAMPLES, short_help="Make and remove tokens of alc serve.")
def token() -> None:
    """Tokens say who calls `alc serve`. With one token, a server that starts asks everybody for one."""


@token.command(epilog="\b\nExample:\n  alc token new anna > anna.token")
@NAME
def new(name: str) -> None:
    """Make the token of NAME and print it. It cannot be shown again: this home keeps a digest of it.

    Whoever has the token is NAME.
    """
    from algocline_mcp.http.tokens import new_token

    made = new_token(Home.from_env(os.environ), name)
    output.note(f"the token of {name}, shown this once; a client sends it as the header Authorization: Bearer TOKEN")
    output.result(made)


@token.command("list", epilog="\b\nExample:\n  alc token list")
def list_() -> None:
    """List who has a token, and since when."""
    from algocline_mcp.http.tokens import principals_of

    principals = principals_of(Home.from_env(os.environ))
    if not principals:
        output.note("nobody has a token; make one with: alc token new NAME")
    width = max((len(each.name) for each in principals), default=0)
    for each in principals:
        output.result(f"{each.name.ljust(width)}  {datetime.fromtimestamp(each.created_s, UTC):%Y-%m-%d %H:%M} UTC")


@token.command(epilog="\b\nExample:\n  alc token remove anna")
@NAME
def remove(name: str) -> None:
    """Refuse the token of NAME from now on, also in a server that runs. The sessions of NAME stay."""
    from algocline_mcp.http.tokens import remove_token

    remove_token(Home.from_env(os.environ), name)
    output.result(f"removed the token of {name}")
