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
        import gc

        gc.disable()  # until the first fork: collections of what it loads take 30 ms of its start
        from algocline_mcp.worker.fork_server.main import main as fork_server

        return fork_server(arguments[1:])
    if arguments == ["engine-canary"]:
        from algocline_mcp.worker.engine.canary import main as canary

        return canary()
    if arguments == ["mcp-server"]:
        return serve_front()
    if arguments or "_ALC_COMPLETE" in os.environ:  # a shell that completes starts the program without arguments
        from algocline_mcp.cli.main import main as command

        command()
        return 0
    from algocline_mcp.front.main import serve

    return serve()


def serve_front() -> int:
    """Serves MCP over the socket that is stdin and stdout. The fork server gets ready while the SDK is imported."""
    from algocline_mcp.transport.channel import open_channel

    channel = open_channel()
    try:
        from algocline_mcp.pool.spawn import start_early

        fork_process = start_early()
        from algocline_mcp.server.app import serve
    except BaseException as exc:  # noqa: BLE001 - a broken installation: the host hides our stderr, so the reply says it
        traceback.print_exc()
        channel.refuse_all(f"the server cannot start: {type(exc).__name__}: {exc}; install algocline-mcp again")
    return serve(channel, fork_process)


if __name__ == "__main__":
    sys.exit(main())
