"""The command serve. Heavy imports are inside it, so --help and a wrong command line wait for nothing."""

import os
from typing import TYPE_CHECKING, Any

import click

from algocline_mcp.cli import output
from algocline_mcp.cli.database import chosen, database_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from algocline_mcp.config.http import Address

EXAMPLES = """\b
Examples:
  alc serve --http :8080                     for the hosts of this machine, at http://127.0.0.1:8080/mcp
  alc serve --http 127.0.0.1:0               any free port; stdout gets the address
  alc serve --http :8080 --database -        one of several servers on the database in ALC_DATABASE
  alc token new anna && alc serve --http 0.0.0.0:8080    for anna, from other machines: behind a proxy with TLS
"""


class AddressType(click.ParamType["Address"]):
    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Address":
        from algocline_mcp.config.http import Address

        try:
            return Address.parse(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


@click.command(epilog=EXAMPLES, short_help="Serve MCP over HTTP.")
@click.option("--http", "address", type=AddressType(), required=True, help="Where to listen; :PORT is this machine.")
@database_option
def serve(address: "Address", url: str | None) -> None:
    """Serve MCP over HTTP to several clients, from the sessions of this home, until SIGTERM or Ctrl-C.

    Clients use the address with the path /mcp, which stdout gets. If somebody has a token (alc token), all callers are
    asked for theirs, and each sees own sessions alone. Otherwise the server listens on this machine alone.

    With --database the sessions are those of a PostgreSQL database, which several servers share: any of them serves any
    call. Give each an ALC_HOME of its own.
    """
    from algocline_mcp.transport.descriptors import end_on_signals

    end_on_signals()  # while the SDK is being imported; then the server has its own
    from algocline_mcp.pool.spawn import start_early

    database_url = None if url is None else chosen(url)
    fork_process = start_early(_environ(database_url))
    from algocline_mcp.http.main import serve as serve_http

    def on_ready(url: str, is_asking: bool) -> None:
        who = "callers with a token" if is_asking else "everybody on this machine, without a token"
        output.note(f"serving {who}; SIGTERM or Ctrl-C ends the server")
        output.result(url)

    serve_http(address, fork_process, on_ready, database_url)


def _environ(database_url: str | None) -> "Mapping[str, str]":
    """Of a fork server."""
    if database_url is None:
        return os.environ
    from algocline_mcp.config.home import Home
    from algocline_mcp.pool.node import environ_of_workers

    return environ_of_workers(Home.from_env(os.environ), os.environ)
