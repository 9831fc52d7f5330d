"""The server over HTTP on this machine, for the official conformance suite, which has no stdio: `serve.py PORT`.

The product itself has stdio alone. Ends on SIGTERM.
"""

import sys

from algocline_mcp.server.app import build


def main() -> None:
    build().run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))


if __name__ == "__main__":
    main()
