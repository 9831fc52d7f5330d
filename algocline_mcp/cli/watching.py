"""`alc run --watch`: runs a strategy again when its file is saved, and asks only what is new.

Contract: each run is a session of its own. It takes the answers of the earlier runs by prompt and occurrence, so a
prompt that has not changed is not asked again. A session that the next run replaces is ended. Ctrl-C ends the watch.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from algocline_mcp.answering.recordings import Recording
from algocline_mcp.cli import output, run, sessions
from algocline_mcp.cli.answering_options import Chosen
from algocline_mcp.cli.session_run import INTERRUPTED
from algocline_mcp.cli.start import Start
from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError
from algocline_mcp.languages import language_of_file

Stamp = dict[str, tuple[int, int]]


def play(start: Start, chosen: Chosen, how: run.How) -> int:
    """Returns the exit code of the last run when it is interrupted."""
    directory = _directory(start)
    answerer = chosen.answerer(Recording())
    code, unfinished = 0, None
    try:
        with _changes(directory) as changed:
            while True:
                changed.clear()
                before = _stamp(directory)
                if unfinished is not None:
                    with suppress(AlcError, click.ClickException):
                        sessions.stop(unfinished, "cancel")
                code, unfinished = run.play_watched(start, answerer, how)
                if code == INTERRUPTED:
                    return code
                output.note(f"alc: watching {directory}; Ctrl-C ends it")
                while _stamp(directory) == before:  # a save of before the run may be reported only now
                    changed.wait()
                    changed.clear()
    except KeyboardInterrupt:
        return code


@contextmanager
def _changes(directory: str) -> Iterator[threading.Event]:
    """An event that is set when code in `directory` is saved; from the first run on, so that no change is missed."""
    try:
        from watchfiles import watch
    except ImportError as exc:
        cure = "pip install 'algocline-mcp[models]' (in the environment of alc) installs it"
        raise click.ClickException(f"--watch needs the package watchfiles: {cure}") from exc
    changed, stop = threading.Event(), threading.Event()

    def follow() -> None:
        for _ in watch(directory, watch_filter=lambda _, path: _is_code(path), stop_event=stop):
            changed.set()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield changed
    finally:
        stop.set()
        thread.join()


def _directory(start: Start) -> str:
    """Where the code of the strategy lies."""
    arguments: dict[str, Any] = start.arguments
    if (path := arguments.get("code_file")) is not None:
        return str(Path(path).parent)
    from algocline_mcp.packages.lookup import SearchPath
    from algocline_mcp.packages.project import find_root

    search = SearchPath.of(Home.from_env(os.environ), os.environ, find_root(os.environ))
    package = next((package for package in search.all() if package.name == arguments["strategy"]), None)
    if package is None:
        raise click.ClickException(f"no strategy {arguments['strategy']}: alc pkg list shows the installed ones")
    return str(package.file.parent)


def _is_code(path: str) -> bool:
    return language_of_file(path) is not None and not Path(path).name.startswith(".")


def _stamp(directory: str) -> Stamp:
    """What tells a saved file from an unchanged one."""
    stamp: Stamp = {}
    for path in Path(directory).rglob("*"):
        if _is_code(str(path)):
            with suppress(OSError):
                stat = path.stat()
                stamp[str(path)] = stat.st_mtime_ns, stat.st_size
    return stamp
