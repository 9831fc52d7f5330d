"""Fetches one revision of a git repository, without its history, and ends git whatever happens.

Contract: no hook of the repository is run, no submodule followed, nobody asked for a password, nothing but http, https,
ssh, git and file spoken. At `limit_s`, at a cancellation, and when this process dies, git and its children end.
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
_SAID_CHARS = 200  # of git in a sentence
_HEAR_BYTES = 4096
# One file may not grow over a limit (in blocks of 512 bytes), so a repository cannot fill the disk. Stdin ends with
# whoever has asked, also by kill -9; then all of this process group ends.
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
    url: str, revision: str, checkout: Path, most_bytes: int, limit_s: float, environ: Mapping[str, str]
) -> str:
    """The commit that lies in `checkout` then. Raises Refused."""
    own = {key: value for key, value in environ.items() if not key.startswith(("GIT_", "ALC_"))} | _SETTINGS
    command = ["sh", "-c", _FETCH, "sh", str(most_bytes // 512), os.fspath(checkout), url, revision]
    process = await anyio.open_process(command, stdin=PIPE, env=own, start_new_session=True)
    try:
        with anyio.move_on_after(limit_s) as limit:
            stdout, stderr = await _heard(process)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # git has children of its own
        with anyio.CancelScope(shield=True):
            await process.aclose()
    shown = public(url)
    if limit.cancelled_caught:
        cure = "try again, or clone it yourself and install the directory"
        raise Refused(f"git clone timed out after {limit_s:g}s: {shown}; nothing was installed: {cure}", code="timeout")
    if process.returncode != 0:
        lines = stderr.decode("utf-8", "replace").split("\n")
        why = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0]) or "it said nothing"
        cure = "check the address and the revision, and that git can read it without a password"
        raise Refused(f"git clone failed: {shown}: {public(why)[:_SAID_CHARS]}; {cure}", code="fetch_failed")
    return stdout.decode("ascii", "replace").strip()


async def _heard(process: Process) -> tuple[bytes, bytes]:
    """The end of what it says on stdout and stderr, when it has ended."""
    said = {"stdout": b"", "stderr": b""}

    async def hear(name: str) -> None:
        async for chunk in getattr(process, name):
            said[name] = (said[name] + chunk)[-_HEAR_BYTES:]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hear, "stdout")
        tasks.start_soon(hear, "stderr")
    await process.wait()
    return said["stdout"], said["stderr"]


def public(source: str) -> str:
    """Without a password in it."""
    return _SECRET.sub("", source)
