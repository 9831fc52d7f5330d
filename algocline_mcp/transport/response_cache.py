"""Answers what the SDK has answered before, while it is still being imported: 1.1 s in which a host would wait.

Contract. The standard library only. A *question* is a request of MEMOABLE without its id and without the client's
version; before `initialize` only requests that carry their protocol version in `_meta` count, afterwards a question
includes what `initialize` said. The answer is the SDK's own reply, to the letter, behind the new id. Every request
goes to the SDK all the same; its reply to what was answered early is compared, kept if it differs, and dropped.
`close` is the switch: from the SDK's first look at the queue on, nothing is answered here any more.

The file lies in ALC_HOME/cache, named after all that a reply can depend on: interpreter, ALC_*, and path, inode, mtime
and size of this program, mcp, mcp_types and pydantic. It is 0600, ours, no link; anything else is ignored.
"""

import hashlib
import importlib.util
import json
import os
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from algocline_mcp.storage.files import replace_atomically
from algocline_mcp.transport.lines import request_id, split_reply

MEMOABLE = frozenset(
    (
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    )
)
FILE_MAX_BYTES = 1024 * 1024
QUESTIONS_MAX = 64
FILES_MAX = 8
_RESULT = ',"result":'  # errors are not kept
_LINE_MAX_BYTES = 16 * 1024  # a longer request is none of these questions
_PROTOCOL = "io.modelcontextprotocol/protocolVersion"
_CLIENT = "io.modelcontextprotocol/clientInfo"


class ResponseCache:
    """Used by two threads: the reader asks, the event loop learns."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: there is nowhere to keep anything, and nothing is answered."""
        self._path = path
        self._replies = _load(path) if path is not None else {}
        self._lock = threading.Lock()
        self._is_closed = path is None
        self._connection = ""  # what `initialize` said; part of every later question
        self._asked: dict[bytes, str] = {}  # id -> question, until the SDK has replied
        self._early: dict[bytes, bytes] = {}  # id -> the reply that the host has already

    def answer(self, line: bytes) -> bytes | None:
        """The reply line to a request that was answered before, or None. Called for each line, in order."""
        with self._lock:
            if self._path is None or len(line) > _LINE_MAX_BYTES:
                return None
            question, asked = self._question(line), request_id(line)
            if question is None or asked is None or asked in self._asked:
                return None
            self._asked[asked] = question
            tail = self._replies.get(question)
            if tail is None or self._is_closed:
                return None
            self._early[asked] = tail.encode()
            return b'{"jsonrpc":"2.0","id":%s%s\n' % (asked, self._early[asked])

    def close(self) -> None:
        """The SDK reads from now on."""
        with self._lock:
            self._is_closed = True

    def is_repeated(self, line: bytes) -> bool:
        """Whether the host has this reply of the SDK already. Keeps it for the next start."""
        if not self._asked:
            return False
        split = split_reply(line)
        if split is None:
            return False
        replied, tail = split[0], split[1].rstrip(b"\n")
        with self._lock:
            question = self._asked.pop(replied, None)
            early = self._early.pop(replied, None)
            if question is not None and tail != self._replies.get(question, "").encode():
                self._keep(question, tail)
            return early is not None

    def _question(self, line: bytes) -> str | None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return None
        method = request.get("method") if isinstance(request, dict) else None
        if not isinstance(method, str) or method not in MEMOABLE or "id" not in request:
            return None
        params = request.get("params") or {}
        meta = params.get("_meta") if isinstance(params, dict) else None
        is_stateless = isinstance(meta, dict) and _PROTOCOL in meta
        said = _digest([method, _without_version(params)])
        if method == "initialize":
            if self._connection:  # a second one is the SDK's affair
                return None
            self._connection = said
            return said
        if is_stateless:
            return said
        return _digest([self._connection, said]) if self._connection else None

    def _keep(self, question: str, tail: bytes) -> None:
        if self._path is None or len(self._replies) >= QUESTIONS_MAX or not tail.startswith(_RESULT.encode()):
            return
        self._replies[question] = tail.decode("utf-8", "replace")
        content = json.dumps(self._replies).encode()
        if len(content) <= FILE_MAX_BYTES:
            _save(self._path, content)


def open_response_cache(environ: Mapping[str, str]) -> ResponseCache:
    """The cache of this program, this interpreter and these settings. Never raises: without one, the SDK answers."""
    home = environ.get("ALC_HOME") or (environ.get("HOME") and os.path.join(environ["HOME"], ".algocline-mcp"))
    try:
        return ResponseCache(
            Path(home) / "cache" / f"replies-{_digest(list(_identity(environ)))}.json" if home else None
        )
    except (OSError, ValueError, ImportError):
        return ResponseCache(None)


def _identity(environ: Mapping[str, str]) -> Iterator[str]:
    yield f"{sys.executable} {sys.version}"
    yield from sorted(f"{name}={value}" for name, value in environ.items() if name.startswith("ALC_"))
    own = Path(__file__).parents[1]
    files = [*own.rglob("*.py")]
    for package in ("mcp", "mcp_types", "pydantic"):
        spec = importlib.util.find_spec(package)  # finds, does not import
        if spec is not None and spec.origin is not None:
            files.append(Path(spec.origin))
    for path in sorted(files):
        found = path.stat()
        yield f"{path} {found.st_ino} {found.st_mtime_ns} {found.st_size}"


def _load(path: Path) -> dict[str, str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            is_private = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
            if not is_private or found.st_size > FILE_MAX_BYTES:
                return {}
            replies = json.loads(file.read(FILE_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(replies, dict) or not all(map(_is_reply, replies.values())):
        return {}
    return replies


def _is_reply(tail: Any) -> bool:
    """Whether it completes a line to one reply and nothing else."""
    if not isinstance(tail, str) or not tail.startswith(_RESULT) or "\n" in tail:
        return False
    try:
        return set(json.loads(f'{{"id":0{tail}')) == {"id", "result"}
    except (ValueError, RecursionError):
        return False


def _save(path: Path, content: bytes) -> None:
    """Whole or not at all; the oldest files of other programs and settings go."""
    with suppress(OSError):
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the home: `mode` is for the last one alone
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_atomically(path, content, is_durable=False)
        others = sorted(path.parent.glob("replies-*.json"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in others[FILES_MAX:]:
            old.unlink()


def _without_version(params: Any) -> Any:
    """The client's version changes every week and no reply depends on it."""
    if not isinstance(params, dict):
        return params
    params = {name: value for name, value in params.items() if name != "progressToken"}
    if isinstance(info := params.get("clientInfo"), dict):
        params["clientInfo"] = info.get("name")
    if isinstance(meta := params.get("_meta"), dict):
        meta = {name: value for name, value in meta.items() if name != "progressToken"}
        if isinstance(info := meta.get(_CLIENT), dict):
            meta[_CLIENT] = info.get("name")
        params["_meta"] = meta
    return params


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
