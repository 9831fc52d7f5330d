"""Fail points: named points in a keeper's code where a test may end the process, stop it or fill the disk.

They prove that no point loses or doubles anything. ALC_FAILPOINT=name:action[:passage], several separated by commas.
Actions: `kill` (SIGKILL, after one line on stderr), `stop` (SIGSTOP), `full` (OSError, as of a full disk). `passage`
counts from 1; without it, each passage acts. Fail points are always compiled in: while none is armed, a passage costs
one look into an empty dict. Nothing acts before `arm`: a fork server plays warm-up sessions before it forks workers,
and only the workers are to be ended.

    effect.asked      an engine has called a change of the state database; nothing has happened yet
    effect.flushed    all earlier records are on the disk
    effect.written    the transaction holds effect and mark, and the database is locked
    effect.committed  effect and mark are on the disk, the journal does not have the record
    effect.replied    a node has committed effect and mark, the journal does not have the record
    effect.recorded   the record is appended, not flushed; the engine does not have the reply
    prompt.recorded   a prompt is appended, not flushed
    delivery.recorded what a wait gets is appended, not flushed; the engine does not have it
    fork.recorded     a fork is appended, not flushed; no child exists yet
    answer.recorded   an answer is appended, not flushed; the engine does not have it
    misfit.recorded   a refusal of answers is appended, not flushed; the host does not have it
    final.recorded    the result of the session or of a child is appended, not flushed
    commit.due        a reply needs what was recorded: it is to be committed where there is a node
    commit.done       it is in the database, the file has no mark yet
    reply.flushed     everything is on the disk, the host does not have the reply
    archive.moved     the finished journal is moved, the session's marks still exist
    reply.sent        the host has the reply, the engines of the session still exist
    worker.left       the socket is unlinked, the process is about to end
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
    "effect.replied",
    "effect.recorded",
    "prompt.recorded",
    "delivery.recorded",
    "fork.recorded",
    "answer.recorded",
    "misfit.recorded",
    "final.recorded",
    "commit.due",
    "commit.done",
    "reply.flushed",
    "archive.moved",
    "reply.sent",
    "worker.left",
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
    """Reads ALC_FAILPOINT: the fail points named there act from now on."""
    _armed.update(_read(environ.get("ALC_FAILPOINT", "")))


def fail_point(name: str) -> None:
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
