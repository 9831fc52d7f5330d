"""Owners of a home: the names of its principals, and the part of each.

Contract: a part names its owner in a file, which is written when the part is made. The part of another name is refused,
however unlikely it is that two names have one digest.
"""

import os
from contextlib import suppress

from algocline_mcp.config.home import Home
from algocline_mcp.errors import HomeUnusable
from algocline_mcp.session.owner import USER
from algocline_mcp.storage.files import replace_atomically


def name_part(home: Home, owner: str) -> None:
    """Writes who owns this part, or compares it. Raises HomeUnusable, OSError."""
    try:
        named = home.owner_name.read_bytes()
    except FileNotFoundError:
        replace_atomically(home.owner_name, _encoded(owner), is_durable=True)
        return
    if named != _encoded(owner):
        raise HomeUnusable(f"{home.own} belongs to another name: give this principal a different name")


def _encoded(owner: str) -> bytes:
    return owner.encode("utf-8", "surrogatepass")


def parts_of(home: Home) -> list[Home]:
    """All parts of the user's home, without their names; of a principal its own alone."""
    parts = [home]
    if not home.part:
        with suppress(OSError):  # no principal has called yet
            parts += [Home(home.root, part) for part in os.listdir(home.owners)]
    return parts


def owners_of(home: Home) -> list[tuple[str, Home]]:
    """Name and part of each owner: the user, then the principals, by name."""
    user, *parts = parts_of(Home(home.root))
    named = []
    for part in parts:
        with suppress(OSError):  # its directory has just been made
            named.append((part.owner_name.read_bytes().decode("utf-8", "replace"), part))
    return [(USER, user), *sorted(named, key=lambda owner: owner[0])]


def home_with(home: Home, sid: str) -> Home:
    """The part that has the journal of this session, finished or not; `home` where none has."""
    for own in parts_of(Home(home.root)):
        if os.path.lexists(own.journal(sid)) or os.path.lexists(own.finished_journal(sid)):
            return own
    return home
