"""Types of arguments that are ids of sessions or names of strategies, and their completion.

Contract: an id may be shortened to its beginning or its end, if that fits one session alone; finished sessions count. A
text that fits no session passes as it is, because the command has the better sentence for it. A completion shows no
error: the shell could not show it either. Heavy imports are inside the functions.
"""

import glob
import os
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

from algocline_mcp.cli import output
from algocline_mcp.config.home import Home
from algocline_mcp.languages import language_of_file

if TYPE_CHECKING:
    from algocline_mcp.packages.lookup import Package

WHOLE_SID = re.compile(r"p-[0-9a-f]{1,24}-[0-9a-f]{16}")
LISTED = "alc ps lists the unfinished sessions, alc ps --all the newest finished ones too"
_SHORTEST = 4  # characters; a shorter one is more likely a slip, and `stop --delete` takes ids too
_NAMED = 5  # candidates in an error
_COMPLETED = 100  # ids that a shell gets


class SessionId(StringParamType):
    """`is_unfinished`: complete unfinished sessions alone; a finished one can be given all the same."""

    def __init__(self, *, is_unfinished: bool) -> None:
        self._is_unfinished = is_unfinished

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if WHOLE_SID.fullmatch(value) or len(value) < _SHORTEST:
            return value
        home = Home.from_env(os.environ)
        sids = fitting_ids(home, value)
        if len(sids) > 1:
            more = f"; {len(sids) - _NAMED} more" if len(sids) > _NAMED else ""
            candidates = "; ".join(_described(home, sids[:_NAMED]))
            self.fail(
                f"{shlex.quote(value)} fits {len(sids)} sessions, give more of it: {candidates}{more}", param, ctx
            )
        return sids[0] if sids else value

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return LISTED

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from algocline_mcp.history.listing import ids_of

        try:
            home = Home.from_env(os.environ)
            sids = _of_all(ids_of, home, incomplete) if self._is_unfinished else fitting_ids(home, incomplete)
            titles = [_title(home, sid) for sid in sids[:_COMPLETED]]
        except Exception:  # noqa: BLE001  a shell that completes cannot show an error
            return []
        begun = [(sid, title) for sid, title in zip(sids, titles, strict=False) if sid.startswith(incomplete)]
        return [CompletionItem(sid, help=_one_line(title)) for sid, title in begun]


def _of_all(read: Callable[[Home, str], list[str]], home: Home, part: str) -> list[str]:
    """Ids of the sessions of all owners: the terminal is the user's, who may see each."""
    from algocline_mcp.storage.owners import parts_of

    return sorted({sid for own in parts_of(home) for sid in read(own, part)}, reverse=True)


def fitting_ids(home: Home, part: str) -> list[str]:
    """Ids of all sessions that begin or end with `part`, newest first; the whole id alone."""
    from algocline_mcp.history import listing

    sids = _of_all(listing.fitting_ids, home, part)
    return [part] if part in sids else sids


def home_of(sid: str) -> Home:
    """The part of the home that holds this session, whose ever it is; the user's where none does."""
    from algocline_mcp.storage.owners import home_with

    return home_with(Home.from_env(os.environ), sid)


def refuse_others(sid: str) -> None:
    """Ends the command where the session is a principal's: its prompts are for the host of that principal."""
    if home_of(sid).part:
        raise click.ClickException(
            f"session {sid} belongs to a principal, who goes on with it over HTTP: alc show {sid} shows it"
        )


def _title(home: Home, sid: str) -> str:
    from algocline_mcp.history.listing import title_of
    from algocline_mcp.storage.owners import home_with

    return title_of(home_with(home, sid), sid)


def _described(home: Home, sids: Sequence[str]) -> Iterable[str]:
    return (f'{sid} "{_one_line(_title(home, sid))}"' for sid in sids)


def _one_line(title: str) -> str:
    """The shell shows it at the terminal, and reads one a line."""
    return output.cleaned(" ".join(title.split()))


def entry_file(text: str) -> str | None:
    """The source of the package that is the directory `text`; None where `text` is no such directory, or the bare name
    of a package that a session would find."""
    from pathlib import Path

    from algocline_mcp.packages.lookup import entry_of

    if not os.path.isdir(text) or not os.path.isfile(entry := entry_of(Path(text))):
        return None
    return None if text in package_names() else str(entry)


class StrategyFile(click.Path):
    """A file or the name of a package."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        files = super().shell_complete(ctx, param, incomplete)
        names = complete_names(incomplete)
        if names:  # bash looks for files only where it gets nothing else
            paths = glob.glob(f"{glob.escape(incomplete)}*")
            files += [CompletionItem(path) for path in sorted(paths) if language_of_file(path) is not None]
        return [*files, *(CompletionItem(name) for name in names)]


def package_names() -> list[str]:
    """Names of the packages that a session would find here."""
    try:
        return [package.name for package in _packages()]
    except Exception:  # noqa: BLE001  a command that gets such a name has the better sentence
        return []


def complete_names(beginning: str) -> list[str]:
    """Names of packages for a shell, without the internal ones."""
    from algocline_mcp.config.limits import Limits
    from algocline_mcp.packages.lookup import is_internal

    try:
        limit = Limits.from_env(os.environ).code_bytes
        packages = [package for package in _packages() if package.name.startswith(beginning)]
        return [package.name for package in packages if not is_internal(package, limit)]
    except Exception:  # noqa: BLE001  a shell that completes cannot show an error
        return []


def _packages() -> "list[Package]":
    from algocline_mcp.packages.lookup import SearchPath
    from algocline_mcp.packages.project import find_root

    return SearchPath.of(Home.from_env(os.environ), os.environ, find_root(os.environ)).all()


SID = click.argument("sid", type=SessionId(is_unfinished=False))
UNFINISHED_SID = click.argument("sid", type=SessionId(is_unfinished=True))
