"""Fetches one revision of a git repository without its history.

Contract: runs no hook and no filter, follows no submodule, asks for no password, and uses only http, https, ssh, git
and file. git and its children end at `limit_s`, when the call is cancelled, and when this process dies.

What a repository puts on the disk is judged before it is there. The fetch writes one pack, whose size `ulimit -f`
limits. The listing of the revision (`ls-tree`) then names every file with its size: 636 kB of pack have been 2.4 GB in
111,193 files. Only a listing within the limits is checked out, with all attributes off that change a file's content.
"""

import errno
import os
import re
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import anyio
from anyio.abc import Process

from algocline_mcp.config.limits import KIB, Limits
from algocline_mcp.errors import Refused

_SECRET = re.compile(r"(?<=://)[^/@\s]*@")
_MESSAGE_CHARS = 200  # of git's own message in an error
_OUTPUT_BYTES = 4096
_PATH_BYTES = 4096  # of one file in the listing; longer paths cannot be made
_MEMORY_BYTES = 4 * 1024**3  # address space of git: a small pack can hold a delta that makes an object of any size
_SUBMODULE = b"160000"
# With SIGXFSZ ignored, a file that grows too large gives an error that git passes on. The end of stdin means that the
# calling process has gone, also by kill -9: then the whole process group is killed.
_WATCHED = """
ulimit -f "$1"
trap '' XFSZ
ulimit -v "$2" 2>/dev/null
exec 3<&0 </dev/null
(cat <&3; kill -KILL 0) >/dev/null 2>&1 &
exec 3<&-
"""
_FETCH = f"""{_WATCHED}
git init -q --template= "$3" && cd "$3" &&
git fetch -q --depth 1 --no-tags --no-recurse-submodules -- "$4" "$5" &&
git rev-parse FETCH_HEAD && git ls-tree -r -l -z FETCH_HEAD
"""
_CHECKOUT = f"""{_WATCHED}
cd "$3" && mkdir -p .git/info &&
echo '* -text -eol -crlf -ident -filter -working-tree-encoding' > .git/info/attributes &&
git -c advice.detachedHead=false checkout -q FETCH_HEAD
"""
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "fetch.unpackLimit": "1",  # one file, whose size is limited, in place of a hundred
    "core.autocrlf": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
_SETTINGS = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_CONFIG_COUNT": str(len(_CONFIG)),
    **{f"GIT_CONFIG_KEY_{n}": name for n, name in enumerate(_CONFIG)},
    **{f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(_CONFIG.values())},
    "LC_ALL": "C",
}


async def fetch(
    url: str, revision: str, checkout: Path, *, limits: Limits, limit_s: float, environ: Mapping[str, str]
) -> str:
    """Checks the revision out into the directory `checkout` and returns its commit id. Raises Refused."""
    own = {key: value for key, value in environ.items() if not key.startswith(("GIT_", "ALC_"))} | _SETTINGS
    bounds = [str(limits.package_bytes // 512), str(_MEMORY_BYTES // KIB), os.fspath(checkout)]
    shown = without_password(url)
    listing = Listing(limits)
    with anyio.move_on_after(limit_s) as limit:
        await _run([_FETCH, "sh", *bounds, url, revision], own, shown, listing.read)
        await _run([_CHECKOUT, "sh", *bounds], own, shown, lambda chunk: None)
    if limit.cancelled_caught:
        cure = "try again, or clone the repository yourself and install that directory"
        raise Refused(f"git clone timed out after {limit_s:g}s: {shown}; nothing was installed: {cure}", code="timeout")
    return listing.commit


class Listing:
    """Reads the commit id and the listing of its files, and judges them. Directories count as files do."""

    def __init__(self, limits: Limits) -> None:
        self.commit = ""
        self._limits = limits
        self._rest = b""
        self._entries = self._bytes = 0
        self._directories: set[bytes] = set()

    def read(self, chunk: bytes) -> str | None:
        """The reason why the repository is refused, as soon as there is one."""
        self._rest += chunk
        if not self.commit:
            line, line_feed, rest = self._rest.partition(b"\n")
            if not line_feed:
                return None
            self.commit, self._rest = line.decode("ascii", "replace"), rest
        *entries, self._rest = self._rest.split(b"\0")
        return next(filter(None, map(self._judge, entries)), None)

    def _judge(self, entry: bytes) -> str | None:
        facts, _, path = entry.partition(b"\t")
        if len(path) > _PATH_BYTES:
            return f"has a path of more than {_PATH_BYTES} bytes"
        mode, _, _, size = facts.split()
        if mode != _SUBMODULE:
            self._bytes += int(size)
        self._entries += 1
        directory = os.path.dirname(path)
        while directory and directory not in self._directories:
            self._directories.add(directory)
            directory = os.path.dirname(directory)
        if self._bytes > self._limits.package_bytes:
            return f"has more than {self._limits.package_bytes} bytes (ALC_PACKAGE_BYTES)"
        if max(self._entries, len(self._directories)) > self._limits.package_files:
            return f"has more than {self._limits.package_files} files or directories (ALC_PACKAGE_FILES)"
        return None


async def _run(command: list[str], environ: Mapping[str, str], shown: str, read: Callable[[bytes], str | None]) -> None:
    """Raises Refused if git fails, or if `read` gives a reason."""
    process = await anyio.open_process(["sh", "-c", *command], stdin=PIPE, env=environ, start_new_session=True)
    try:
        reason, stderr = await _read_output(process, read)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the group: git has children of its own
        with anyio.CancelScope(shield=True):
            await process.aclose()
    if reason is None and os.strerror(errno.EFBIG) in stderr:
        reason = "has a pack that is too large (ALC_PACKAGE_BYTES)"
    if reason is not None:
        cure = "nothing was installed: install a part of it from a directory, or raise the limit"
        raise Refused(f"the repository {shown} {reason}; {cure}", code="too_large")
    if process.returncode != 0:
        lines = stderr.split("\n")
        message = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0]) or "no message"
        cure = "check the address and the revision, and that git can read the repository without a password"
        message = without_password(message)[:_MESSAGE_CHARS]
        raise Refused(f"git clone failed: {shown}: {message}; {cure}", code="fetch_failed")


async def _read_output(process: Process, read: Callable[[bytes], str | None]) -> tuple[str | None, str]:
    """The reason of `read`, at which reading ends, or None; and the end of stderr. Without a reason git has ended."""
    stderr = b""
    reason: str | None = None

    async def read_stderr() -> None:
        nonlocal stderr
        assert process.stderr is not None
        async for chunk in process.stderr:
            stderr = (stderr + chunk)[-_OUTPUT_BYTES:]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_stderr)
        assert process.stdout is not None
        async for chunk in process.stdout:
            reason = read(chunk)
            if reason is not None:
                tasks.cancel_scope.cancel()
                break
    if reason is None:
        await process.wait()
    return reason, stderr.decode("utf-8", "replace")


def without_password(source: str) -> str:
    return _SECRET.sub("", source)
