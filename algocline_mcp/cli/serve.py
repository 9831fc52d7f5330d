"""The command serve. Heavy imports are inside it, so --help and a wrong command line wait for nothing."""

from typing import TYPE_CHECKING, Any

import click

from algocline_mcp.cli import output

if TYPE_CHECKING:
    from algocline_mcp.config.http import Address

EXAMPLES = """\b
Examples:
  alc serve --http :8080                     for the hosts of this machine, at http://127.0.0.1:8080/mcp
  alc serve --http 127.0.0.1:0               any free port; stdout gets the address
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
def serve(address: "Address") -> None:
    """Serve MCP over HTTP to several clients, from the sessions of this home, until SIGTERM or Ctrl-C.

    Clients use the address with the path /mcp, which stdout gets. If somebody has a token (alc token), all callers are
    asked for theirs, and each sees own sessions alone. Otherwise the server listens on this machine alone.
    """
    from algocline_mcp.transport.descriptors import end_on_signals

    end_on_signals()  # while the SDK is being imported; then the server has its own
    from algocline_mcp.pool.spawn import start_early

    fork_process = start_early()
    from algocline_mcp.http.main import serve as serve_http

    def on_ready(url: str, is_asking: bool) -> None:
        who = "callers with a token" if is_asking else "everybody on this machine, without a token"
        output.note(f"serving {who}; SIGTERM or Ctrl-C ends the server")
        output.result(url)

    serve_http(address, fork_process, on_ready)
