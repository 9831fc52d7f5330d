"""Named instants of a keeper at which a test may end it: the proof that no instant loses or doubles anything.

ALC_FAILPOINT=name:action[:passage], several separated by commas. Actions: `kill` (SIGKILL), `stop` (SIGSTOP), `full`
(OSError, as of a full disk). `passage` counts from 1; without it each passage acts. Compiled in always: unset, a
passage costs one look at an empty dict. A kill is told on stderr first. Nothing acts before `arm`: a fork server plays
sessions through before it has any, and it is their keepers that shall die.

    effect.asked      an engine wants something of the state database changed; nothing has happened yet
    effect.flushed    all earlier records are on the disk
    effect.written    the transaction holds effect and mark, and the database is locked
    effect.committed  effect and mark are on the disk, the journal knows nothing of it
    effect.recorded   the record is appended, not flushed; the engine has no reply
    prompt.recorded   a prompt is appended, not flushed
    fork.recorded     a fork is appended, not flushed; no child lives yet
    answer.recorded   an answer is appended, not flushed; the engine does not have it
    final.recorded    the result, or that of a child, is appended, not flushed
    reply.flushed     everything is on the disk, the host has no reply
    retire.moved      the finished journal is moved, the session's marks are still there
"""

import errno
import os
import signal
from collections.abc import Mapping

POINTS = (
    "effect.asked",
    "effect.flushed",
    "effect.written",
    "effect.committed",
    "effect.recorded",
    "prompt.recorded",
    "fork.recorded",
    "answer.recorded",
    "final.recorded",
    "reply.flushed",
    "retire.moved",
)


def _read(text: str) -> dict[str, tuple[str, int]]:
    armed = {}
    for part in filter(None, text.split(",")):
        name, action, passage = (*part.split(":"), "", "")[:3]
        armed[name] = (action, int(passage or 0))
    return armed


_armed: dict[str, tuple[str, int]] = {}
_passed: dict[str, int] = {}


def arm(environ: Mapping[str, str]) -> None:
    _armed.update(_read(environ.get("ALC_FAILPOINT", "")))


def reach(name: str) -> None:
    if name not in _armed:
        return
    action, passage = _armed[name]
    _passed[name] = _passed.get(name, 0) + 1
    if passage in (0, _passed[name]):
        _act(name, action)


def _act(name: str, action: str) -> None:
    if action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if action == "kill":
        os.write(2, f"fail point {name}\n".encode())
    os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)
