"""The server's replies of earlier starts: the front gives them to a host without a server, which takes 1.1 s to start.

Contract. Needs the standard library alone; what only a write needs is imported by the write. A *question* is a request
of CACHEABLE without its id and without what a client says of itself. Before `initialize` a request is a question only
if its `_meta` names the protocol version; afterwards a question includes the parameters of `initialize`. An *answer* is
what follows the id in the line of the server's own reply, byte for byte.

The file is in ALC_HOME/cache. It begins with everything that a reply can depend on: interpreter, ALC_*, and name,
inode, mtime and size of the files of this program, mcp, mcp_types and pydantic, and inode and mtime of the directories
of packages and of the files in which a project declares them; its name is a checksum of that. A file that is not a
regular file of this user with mode 0600, or that begins otherwise, is ignored.
"""

import importlib.util
import json
import os
import stat
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from algocline_mcp.config.project_root import PROJECT_FILES, declaring_root

CACHEABLE = frozenset(
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
QUESTION_MAX_CHARS = 4096  # a longer one is sent to the server each time
FILES_MAX = 8
_RESULT = b',"result":'  # errors are not stored
_PROTOCOL = "io.modelcontextprotocol/protocolVersion"
_OF_CLIENT = frozenset(
    (
        "capabilities",
        "clientInfo",
        "progressToken",
        "io.modelcontextprotocol/clientCapabilities",
        "io.modelcontextprotocol/clientInfo",
    )
)


class ResponseCache:
    """Answers of one connection. Pure; `answers` may be written to a file."""

    def __init__(self, answers: Mapping[str, bytes] | None = None) -> None:
        self.answers = dict(answers or {})  # question -> answer
        self._connection: str | None = None  # the question that was `initialize`; part of every later one

    def question(self, request: Mapping[str, Any]) -> str | None:
        """The question that `request` is, or None. Called once for each request, in order."""
        method, params = request["method"], request.get("params") or {}
        if method not in CACHEABLE:
            return None
        question = json.dumps([method, _without_client(params)], sort_keys=True)
        if method == "initialize":
            if self._connection is not None:  # a second one is left to the SDK
                return None
            self._connection = question
            return question
        if len(question) > QUESTION_MAX_CHARS:
            return None
        meta = params.get("_meta")
        if isinstance(meta, dict) and _PROTOCOL in meta:
            return question
        return None if self._connection is None else f"{self._connection} {question}"

    def learn(self, question: str, answer: bytes) -> bool:
        """Stores the server's answer. Returns whether it differs from the one that was known."""
        is_new = question not in self.answers
        if (
            not answer.startswith(_RESULT)
            or answer == self.answers.get(question)
            or (is_new and (len(self.answers) >= QUESTIONS_MAX or len(question) > 2 * QUESTION_MAX_CHARS))
        ):
            return False
        self.answers[question] = answer
        return True


def _without_client(params: Any) -> Any:
    """`params` without what a client says of itself: a server lists the same to all, and hosts change it every week."""
    params = {name: value for name, value in params.items() if name not in _OF_CLIENT}
    if isinstance(meta := params.get("_meta"), dict):
        params["_meta"] = {name: value for name, value in meta.items() if name not in _OF_CLIENT}
        if not params["_meta"]:
            del params["_meta"]
    return params


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────


class CacheFile:
    """The file of this program, this interpreter and these settings. Nothing raises: without it the server answers."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        home = home_of(environ)
        self._identity, self.path = "", ""
        with suppress(OSError, ValueError, ImportError):
            self._identity = "\n".join(_identity(environ))
            if home:
                name = f"replies-{zlib.crc32(self._identity.encode('utf-8', 'surrogateescape')):08x}.json"
                self.path = os.path.join(home, "cache", name)

    def load(self) -> dict[str, bytes]:
        """The stored answers by question; empty where the file is missing, unusable or not private."""
        try:
            return self._answers() if self.path else {}
        except (OSError, ValueError, RecursionError):
            return {}

    def save(self, answers: Mapping[str, bytes]) -> None:
        """Replaces the file atomically; deletes the oldest files of other programs and settings."""
        replies = {question: answer.decode("utf-8", "replace") for question, answer in answers.items()}
        content = json.dumps({"identity": self._identity, "replies": replies}).encode()
        if not self.path or len(content) > FILE_MAX_BYTES:
            return
        from pathlib import Path

        from algocline_mcp.storage.files import replace_atomically

        path = Path(self.path)
        with suppress(OSError):
            # `mode` applies to the last directory alone, and the home is private too.
            path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            replace_atomically(path, content, is_durable=False)
            others = sorted(path.parent.glob("replies-*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
            for old in others[FILES_MAX:]:
                old.unlink()

    def _answers(self) -> dict[str, bytes]:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            is_private = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
            if not is_private or status.st_size > FILE_MAX_BYTES:
                return {}
            content = json.loads(file.read(FILE_MAX_BYTES))
        if not isinstance(content, dict) or content.get("identity") != self._identity:
            return {}
        replies = content.get("replies")
        if not isinstance(replies, dict) or not all(map(_is_answer, replies.values())):
            return {}
        return {question: answer.encode() for question, answer in replies.items()}


def _is_answer(answer: Any) -> bool:
    """True if `answer` completes a line to exactly one reply."""
    if not isinstance(answer, str) or not answer.startswith(_RESULT.decode()) or "\n" in answer:
        return False
    return set(json.loads(f'{{"id":0{answer}')) == {"id", "result"}


def _identity(environ: Mapping[str, str]) -> Iterator[str]:
    yield f"{sys.executable} {sys.version}"
    yield from sorted(f"{name}={value}" for name, value in environ.items() if name.startswith("ALC_"))
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = [os.path.join(directory, name) for directory, _, names in os.walk(own) for name in names]
    paths = [path for path in files if path.endswith(".py")]
    for package in ("mcp", "mcp_types", "pydantic"):
        spec = importlib.util.find_spec(package)  # finds, does not import
        if spec is not None and spec.origin is not None:
            paths.append(spec.origin)
    for path in sorted(paths):
        status = os.stat(path)
        yield f"{path} {status.st_ino} {status.st_mtime_ns} {status.st_size}"
    for path in _origins_of_packages(environ):  # prompts/list names what is installed
        with suppress(OSError):
            status = os.stat(path)
            yield f"{path} {status.st_ino} {status.st_mtime_ns}"


def _origins_of_packages(environ: Mapping[str, str]) -> list[str]:
    """Directories whose entries are the installed packages, an install changes their mtime; the files of a project."""
    directories = environ.get("ALC_PACKAGES_PATH", "").split(":")
    if home := home_of(environ):
        directories.append(os.path.join(home, "packages"))
    if environ.get("HOME"):
        directories.append(os.path.join(environ["HOME"], ".algocline", "packages"))
    root = declaring_root(environ)  # where there is none, the answers are those of every such directory
    files = [] if root is None else [os.path.join(root, name) for name in PROJECT_FILES]
    return [path for path in (*directories, *files) if path]


def home_of(environ: Mapping[str, str]) -> str:
    """ALC_HOME, or its default; empty where there is neither that nor HOME."""
    if environ.get("ALC_HOME"):
        return environ["ALC_HOME"]
    return os.path.join(environ["HOME"], ".algocline-mcp") if environ.get("HOME") else ""
