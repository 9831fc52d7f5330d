"""Header of a new session, and the creation of its journal.

Contract: the header holds everything that a replay needs besides the answers, including what the strategy sees of the
machine: seed, time zone, limits. A strategy over a limit is refused before a file is created.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from algocline_mcp import __version__
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LANGUAGES, LUA, PYTHON
from algocline_mcp.protocol import messages
from algocline_mcp.session.budget import budget_of, namespace_of, unusable_budget, unusable_environ
from algocline_mcp.session.digests import json_size
from algocline_mcp.session.owner import caller
from algocline_mcp.session.records import RECORDED_LIMITS, Record
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.storage.clock import now_s

_UNNAMED = "strategy"
_TITLE_CHARS = 60  # of a title that was made from the strategy
_NO_CODE = re.compile(r"\ufeff?(?:\s*(?:```|~~~|-*\s*$)|#!)")  # models send code as they show it, shells read a #!
# By language: the beginning of a comment that describes the code, and what stands around its words.
_COMMENT = {LUA.name: re.compile(r"\s*--"), PYTHON.name: re.compile(r"\s*(?:#|[rR]?[\"'])")}
_MARKS = {LUA.name: re.compile(r"\s*(?:--\[=*\[|\]=*\])?"), PYTHON.name: re.compile(r"\s*(?:[rR](?=[\"']))?")}
_STRIPPED = {LUA.name: " -\t", PYTHON.name: " #\t\"'"}
_NO_TITLE = re.compile(r"(?:import|from|@|(?:async )?def run)\b")  # lines of Python that say nothing about a strategy
_HEAD_CHARS = 2000  # of the code, in which a title is looked for


@dataclass(frozen=True, slots=True)
class Strategy:
    """The code of a session and its input. `chunk` names the code in error messages. `require` looks first among
    `variants` (name -> directory), then in `lib_paths`. `name`: the code is that of an installed strategy, whose `run`
    is called."""

    code: str
    chunk: str = _UNNAMED
    ctx: Mapping[str, Any] = field(default_factory=dict)
    title: str | None = None
    project_root: str | None = None
    lib_paths: tuple[str, ...] = ()
    name: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    language: str = LUA.name


def header_of(limits: Limits, strategy: Strategy, *, sid: str) -> dict[str, Any]:
    """The first record of a journal. Raises Refused for a strategy over a limit."""
    if messages.is_deeper(strategy.ctx, limits.json_depth):
        raise Refused(f"ctx is nested over {limits.json_depth} levels: flatten it", code="too_large")
    for name, size, max_bytes in (
        ("code", len(strategy.code.encode("utf-8", "replace")), limits.code_bytes),
        ("ctx", json_size(strategy.ctx), limits.ctx_bytes),
    ):
        if size > max_bytes:
            raise Refused(f"{name} has {size} bytes, at most {max_bytes}: make it smaller", code="too_large")
    if strategy.language not in LANGUAGES:
        raise Refused(f"this program has no language {strategy.language!r}: use one of {', '.join(LANGUAGES)}")
    if (why := unusable_environ(strategy.ctx) or unusable_budget(strategy.ctx)) is not None:
        raise Refused(why)
    if caller() and (strategy.ctx.get("env") or {}).get("dotenv") is not None:
        raise Refused("ctx.env.dotenv names a file of the server's machine: send its values in ctx.env.inject")
    return {
        "kind": "header",
        "format": journal_lines.FORMAT,
        "sid": sid,
        "t": now_s(),
        "version": __version__,
        "abi": _abi(strategy.language),
        "language": strategy.language,
        "code": strategy.code,
        "chunk": strategy.chunk,
        "ctx": json.dumps(strategy.ctx),
        "namespace": namespace_of(strategy.ctx),
        "budget": budget_of(strategy.ctx),
        "lib_paths": list(strategy.lib_paths),
        "variants": dict(strategy.variants),
        "title": (strategy.title or _first_words(strategy))[: limits.title_chars],
        "strategy": strategy.name,
        "project": strategy.project_root,
        "seed": secrets.randbits(63),
        "utc_offset_s": time.localtime().tm_gmtoff,
        "reads_inputs": True,
        "owner": caller() or None,
        "parent": None,
        "limits": {name: getattr(limits, name) for name in RECORDED_LIMITS},
    }


@cache
def _abi(language: str) -> dict[str, Any]:
    """Cached, because the version of an installed package is read from files: 0.8 ms in every first prompt."""
    return LANGUAGES[language].abi(version)


def _first_words(strategy: Strategy) -> str:
    """The title of a strategy without one, the same from every tool and command: its name and task; else the comment
    at the beginning of its code; else the name of its file; else its first line."""
    if strategy.name is not None:
        task = " ".join(str(strategy.ctx.get("task", ""))[: 2 * _TITLE_CHARS].split())
        return f"{strategy.name}: {task}"[:_TITLE_CHARS].removesuffix(": ")
    head, language = strategy.code[:_HEAD_CHARS].removeprefix("\ufeff"), strategy.language
    code = [line for line in head.splitlines() if line.strip() and _NO_CODE.match(line) is None]
    is_described = bool(code) and _COMMENT[language].match(code[0]) is not None
    if strategy.chunk != _UNNAMED and not is_described:
        return strategy.chunk
    if is_described:
        code = [_MARKS[language].sub("", line, count=1).strip(_STRIPPED[language]) for line in code]
    elif language == PYTHON.name:
        code = [line for line in code if _NO_TITLE.match(line) is None]
    return next((line.strip() for line in code if line), strategy.chunk)[:_TITLE_CHARS]


def create_journal(home: Home, header: Record, more: Callable[[], Iterable[Record]] | None = None) -> journal.Journal:
    """Creates the locked journal of a session.

    Several records are written under a temporary name and renamed, so a partial session is never visible. Raises
    StorageFailed, and what `more` raises."""
    path = home.journal(header["sid"])
    if more is None:
        return journal.Journal.create(path, header)
    file = journal.Journal.create(path.with_name(f".draft-{secrets.token_hex(8)}"), header)
    try:
        for record in more():
            file.append(record)
        file.move(path)
    except BaseException:
        file.close()
        file.path.unlink(missing_ok=True)
        raise
    return file
