"""Fetches one revision of a git repository without its history.

Contract: runs no hook, follows no submodule, asks for no password, and uses only http, https, ssh, git and file. git
and its children end at `limit_s`, when the call is cancelled, and when this process dies.
"""

import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import anyio
from anyio.abc import Process

from algocline_mcp.errors import Refused

_SECRET = re.compile(r"(?<=://)[^/@\s]*@")
_MESSAGE_CHARS = 200  # of git's own message in an error
_OUTPUT_BYTES = 4096
# `ulimit -f` (in blocks of 512 bytes) limits each file, so a repository cannot fill the disk. The end of stdin means
# that the calling process has gone, also by kill -9: then the whole process group is killed.
_FETCH = """
ulimit -f "$1"
exec 3<&0 </dev/null
(cat <&3; kill -KILL 0) >/dev/null 2>&1 &
exec 3<&-
git init -q --template= "$2" && cd "$2" &&
git fetch -q --depth 1 --no-tags --no-recurse-submodules -- "$3" "$4" &&
git -c core.hooksPath=/dev/null -c advice.detachedHead=false checkout -q FETCH_HEAD &&
git rev-parse HEAD
"""
_SETTINGS = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "LC_ALL": "C",
}


async def fetch(
    url: str, revision: str, checkout: Path, *, max_bytes: int, limit_s: float, environ: Mapping[str, str]
) -> str:
    """Checks the revision out into the directory `checkout` and returns its commit id. `max_bytes`: of one file. Raises
    Refused."""
    own = {key: value for key, value in environ.items() if not key.startswith(("GIT_", "ALC_"))} | _SETTINGS
    command = ["sh", "-c", _FETCH, "sh", str(max_bytes // 512), os.fspath(checkout), url, revision]
    process = await anyio.open_process(command, stdin=PIPE, env=own, start_new_session=True)
    try:
        with anyio.move_on_after(limit_s) as limit:
            stdout, stderr = await _read_output(process)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the group: git has children of its own
        with anyio.CancelScope(shield=True):
            await process.aclose()
    shown = without_password(url)
    if limit.cancelled_caught:
        cure = "try again, or clone the repository yourself and install that directory"
        raise Refused(f"git clone timed out after {limit_s:g}s: {shown}; nothing was installed: {cure}", code="timeout")
    if process.returncode != 0:
        lines = stderr.decode("utf-8", "replace").split("\n")
        reason = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0]) or "no message"
        cure = "check the address and the revision, and that git can read the repository without a password"
        message = without_password(reason)[:_MESSAGE_CHARS]
        raise Refused(f"git clone failed: {shown}: {message}; {cure}", code="fetch_failed")
    return stdout.decode("ascii", "replace").strip()


async def _read_output(process: Process) -> tuple[bytes, bytes]:
    """The last `_OUTPUT_BYTES` of stdout and of stderr. Returns when the process has ended."""
    output = {"stdout": b"", "stderr": b""}

    async def read(name: str) -> None:
        async for chunk in getattr(process, name):
            output[name] = (output[name] + chunk)[-_OUTPUT_BYTES:]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, "stdout")
        tasks.start_soon(read, "stderr")
    await process.wait()
    return output["stdout"], output["stderr"]


def without_password(source: str) -> str:
    return _SECRET.sub("", source)
