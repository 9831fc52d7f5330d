"""The one executable: `alc` serves MCP, `alc pool-worker …` is a worker, everything else is the terminal.

Contract: argv decides before anything is imported, because a worker must stay light, and a server must hold its
descriptors and signals before the import of the SDK takes 0.8 s. Exit code 1 and one sentence on stderr on an
unsupported system or Python. This file runs on older Pythons too, up to that sentence.
"""

from __future__ import annotations

import os
import sys
import traceback


def unsupported(platform: str, version: tuple[int, ...]) -> str | None:
    """The sentence for a system or a Python that cannot run this program, or None."""
    if platform == "win32":
        return (
            "algocline-mcp needs Unix sockets and fork, which Windows does not have: "
            "run it under WSL 2 or in a Linux container."
        )
    if version < (3, 11):
        release = ".".join(str(part) for part in version[:3])
        return (
            f"algocline-mcp needs Python 3.11 or newer, and this is Python {release}: install it with a newer Python."
        )
    return None


def main() -> int | None:
    sentence = unsupported(sys.platform, tuple(sys.version_info[:3]))
    if sentence is not None:
        sys.exit(sentence)
    arguments = sys.argv[1:]
    if arguments[:1] == ["pool-worker"]:
        from algocline_mcp.worker.keeper.main import main as keeper

        return keeper(arguments[1:])
    if arguments[:1] == ["fork-server"]:
        from algocline_mcp.worker.fork_server.main import main as fork_server

        return fork_server(arguments[1:])
    if arguments or "_ALC_COMPLETE" in os.environ:  # a shell that completes starts the program without arguments
        from algocline_mcp.cli.main import main as command

        command()
        return 0
    return serve()


def serve() -> int:
    """Serves the host over stdio. The transport reads and answers while the fork server and the SDK start."""
    from algocline_mcp.transport.stdio import open_transport

    transport = open_transport()
    sys.setswitchinterval(0.0005)  # the import below holds the interpreter: the reader thread needs its turns
    try:
        from algocline_mcp.pool.spawn import start_early

        fork_process = start_early()
        from algocline_mcp.server.app import serve
    except BaseException as exc:  # noqa: BLE001 - a broken installation: the host hides our stderr, so the reply says it
        traceback.print_exc()
        transport.refuse_all(f"the server cannot start: {type(exc).__name__}: {exc}; install algocline-mcp again")
    sys.setswitchinterval(0.005)
    return serve(transport, fork_process)


if __name__ == "__main__":
    sys.exit(main())
