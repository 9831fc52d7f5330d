"""Confines this process for good: no-new-privileges, Landlock without a path, a seccomp allow-list.

Contract: `prepare` builds everything once, before the first fork. An engine calls `forbid_paths` and `filter_calls`
after its fork; both take 0.15 ms together. From then on the process opens nothing: modules, codecs and functions of
libc that it needs must have been loaded. Both raise ConfinementFailed where the kernel refuses a layer that it has: the
process must then end.
"""

import ctypes
import os
from dataclasses import dataclass
from typing import Any, Self

from algocline_mcp.config.sandbox import LANDLOCK_CREATE_RULESET, Sandbox
from algocline_mcp.worker.confinement import bpf, landlock, system_calls

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38  # linux/prctl.h
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_RESTRICT_SELF = LANDLOCK_CREATE_RULESET + 2


class ConfinementFailed(Exception):
    """The message names the layer and the kernel's reason."""


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@dataclass(frozen=True, slots=True)
class Confinement:
    """The prepared layers. A layer that is None is not applied."""

    sandbox: Sandbox
    ruleset: bytes | None = None  # of Landlock
    program: Any = None  # of seccomp

    @classmethod
    def prepare(cls, sandbox: Sandbox) -> Self:
        """Raises nothing: what the kernel then refuses is reported by the engine."""
        if sandbox.mode == "off":
            return cls(sandbox)
        program = None
        if sandbox.seccomp:
            instructions = system_calls.filter_of(os.uname().machine)
            program = _Program(len(instructions), bpf.encode(instructions))
        return cls(sandbox, _ruleset(sandbox.landlock_abi) if sandbox.landlock_abi else None, program)

    def forbid_paths(self) -> None:
        """From now on the process opens no file. Landlock needs a free descriptor for a moment."""
        if not self._is_on:
            return
        _check("no_new_privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        if self.ruleset is not None:
            fd = _check("landlock", _libc.syscall(LANDLOCK_CREATE_RULESET, self.ruleset, len(self.ruleset), 0))
            _check("landlock", _libc.syscall(_LANDLOCK_RESTRICT_SELF, fd, 0))
            os.close(fd)

    def filter_calls(self) -> None:
        """Comes last: from then on no limit can be changed."""
        if self._is_on and self.program is not None:
            pointer = ctypes.byref(self.program)
            _check("seccomp", _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, pointer, 0, 0))

    @property
    def _is_on(self) -> bool:
        """Landlock and seccomp need no-new-privileges."""
        return self.sandbox.mode != "off" and self.sandbox.no_new_privs


def _ruleset(abi: int) -> bytes:
    """The strictest ruleset that the kernel takes: should it lack a right that the table has, that of an older ABI."""
    for known in range(abi, 1, -1):
        ruleset = landlock.ruleset(known)
        fd = _libc.syscall(LANDLOCK_CREATE_RULESET, ruleset, len(ruleset), 0)
        if fd >= 0:
            os.close(fd)
            return ruleset
    return landlock.ruleset(1)


def _check(layer: str, result: int) -> int:
    if result < 0:
        raise ConfinementFailed(f"{layer}: {os.strerror(ctypes.get_errno())}")
    return result


UNCONFINED = Confinement(Sandbox("off"))
_libc = ctypes.CDLL(None, use_errno=True)
