"""Bearer tokens of principals: made, listed, removed, verified.

Contract. One file per principal below `state/principals`, named as the principal, 0600 in a directory 0700:
`{"sha256": …, "created_s": …}`. A token is `alc_` and 256 random bits; it is shown once, and only its digest is kept.
SHA-256 suffices for that: a slow hash protects words that people choose, and 2^256 values cannot be tried at any speed.
`Tokens.principal_of` sees a token that was made or removed since: it looks whether the directory has changed, in 3 us.
It compares with every digest, in constant time. Needs the standard library only.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.files import create_atomically, make_directories, sync_directory

PREFIX = "alc_"
_BYTES = 32
_TICK_NS = 100_000_000  # file systems give times in steps of 4 to 10 ms
_TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Principal:
    name: str
    digest: str
    created_s: float


def new_token(home: Home, name: str) -> str:
    """Makes the token of a principal. Raises Refused for a name that is not usable or has a token."""
    _check_name(name)
    token = PREFIX + secrets.token_urlsafe(_BYTES)
    content = json.dumps({"sha256": _digest(token), "created_s": now_s()}).encode()
    make_directories(home.root, home.state, home.principals)
    try:
        create_atomically(home.principals / name, (content,), draft=home.principals / f".{name}.{secrets.token_hex(8)}")
    except FileExistsError:
        raise Refused(
            f"{name} has a token: alc token remove {name} ends it, then make another. The sessions stay"
        ) from None
    return token


def remove_token(home: Home, name: str) -> None:
    """From now on its token is refused. Raises Refused where there is none."""
    _check_name(name)
    try:
        os.unlink(home.principals / name)
    except FileNotFoundError:
        raise Refused(f"{name} has no token: alc token list shows who has one") from None
    sync_directory(home.principals)


def principals_of(home: Home) -> list[Principal]:
    """By name. A file that is no principal's, such as the draft of a killed process, is left out."""
    return sorted(_read(home.principals), key=lambda each: each.name)


def _read(directory: Path) -> Iterator[Principal]:
    try:
        names = [name for name in os.listdir(directory) if _NAME.fullmatch(name)]
    except FileNotFoundError:
        return
    for name in names:
        try:
            content = json.loads((directory / name).read_bytes())
            yield Principal(name, str(content["sha256"]), float(content["created_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a damaged file opens no door


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refused(
            f"{name[:80]!r} is no name of a principal: use 1 to 64 of a-z, 0-9, dot, hyphen and underscore, "
            "beginning with a letter or digit"
        )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """The tokens of a home, read again when its directory has changed."""

    def __init__(self, home: Home) -> None:
        self._directory = home.principals
        self._version: tuple[int, int] | None = None
        self._principals: list[Principal] = []

    def principal_of(self, token: str) -> str | None:
        """The name of the principal whose token this is."""
        if not _TOKEN.fullmatch(token):
            return None
        self._refresh()
        digest, name = _digest(token), None
        for principal in self._principals:
            if hmac.compare_digest(principal.digest, digest):
                name = principal.name
        return name

    def _refresh(self) -> None:
        try:
            status = os.stat(self._directory)
        except OSError:
            self._version, self._principals = None, []
            return
        version = (status.st_ino, status.st_mtime_ns)
        if version != self._version:
            is_settled = time.time_ns() - status.st_mtime_ns > _TICK_NS  # else one more change may have the same time
            self._version, self._principals = version if is_settled else None, list(_read(self._directory))
