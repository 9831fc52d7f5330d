"""What confines the engines: the setting ALC_SANDBOX, and the layers that this kernel has.

Contract: `probe` asks the kernel and changes nothing. A layer counts as missing wherever the kernel, a container or an
emulator refuses it. The kernel confines engines on Linux only: elsewhere every layer is missing.
"""

import errno
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from algocline_mcp.errors import HomeUnusable, Refused

# standard: the layers that the kernel has. strict: all of them, or no session starts. off: resource limits alone.
MODES = ("standard", "strict", "off")
ARCHITECTURES = ("x86_64", "aarch64")  # whose system calls the filter knows
_MISSING_CODE = "sandbox_incomplete"
_CURES = {
    "no_new_privs": "Linux",
    "landlock": "Linux 5.13 or newer with Landlock among its security modules (lsm=landlock,…)",
    "seccomp": f"a 64-bit Linux kernel with seccomp filters on {' or '.join(ARCHITECTURES)}",
}

_PR_SET_SECCOMP, _PR_GET_NO_NEW_PRIVS = 22, 39  # linux/prctl.h
_SECCOMP_MODE_FILTER = 2
LANDLOCK_CREATE_RULESET = 444  # the same on all architectures that Python runs on, but for alpha and mips
_LANDLOCK_VERSION = 1  # the flag that asks for the ABI
_OWN_NUMBERS = ("alpha", "mips")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The mode that the user chose, and the layers that this kernel has."""

    mode: str = MODES[0]
    no_new_privs: bool = False
    landlock_abi: int = 0  # 0: no Landlock
    seccomp: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        has = {"no_new_privs": self.no_new_privs, "landlock": self.landlock_abi > 0, "seccomp": self.seccomp}
        return tuple(name for name, is_there in has.items() if not is_there)

    @property
    def level(self) -> str:
        """The level that an engine reaches, as the header of a journal and `alc_status` have it."""
        if self.mode == "off":
            return self.mode
        names = {"no_new_privs": "no_new_privs", "landlock": f"landlock {self.landlock_abi}", "seccomp": "seccomp"}
        layers = ", ".join(name for layer, name in names.items() if layer not in self.missing)
        return f"{self.mode}: {layers or 'none'}" + (f"; missing: {', '.join(self.missing)}" if self.missing else "")

    def require(self) -> None:
        """Raises Refused in the mode `strict` where a layer is missing."""
        if self.mode == "strict" and self.missing:
            needed = " and ".join(_CURES[name] for name in self.missing)
            raise Refused(
                f"ALC_SANDBOX=strict, and this machine has no {' and no '.join(self.missing)}, so no strategy runs: "
                f"use {needed}, or set ALC_SANDBOX=standard",
                code=_MISSING_CODE,
            )


def mode_of(environ: Mapping[str, str]) -> str:
    """The value of ALC_SANDBOX. Raises HomeUnusable for another word."""
    chosen = environ.get("ALC_SANDBOX", "") or MODES[0]
    if chosen not in MODES:
        raise HomeUnusable(f"ALC_SANDBOX={chosen!r} is not a mode: set it to one of {', '.join(MODES)}")
    return chosen


def probe(environ: Mapping[str, str]) -> Sandbox:
    """Raises HomeUnusable for a mode that does not exist."""
    mode = mode_of(environ)
    if sys.platform != "linux":
        return Sandbox(mode)
    import ctypes  # 4 ms, which a server whose fork server has asked the kernel saves

    libc = ctypes.CDLL(None, use_errno=True)
    machine, is_64_bit = os.uname().machine, sys.maxsize > 1 << 32
    landlock_abi = 0
    if not machine.startswith(_OWN_NUMBERS):
        landlock_abi = max(0, libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION))
    # A filter at address 0: EFAULT if filters may be installed, EINVAL, EPERM or ENOSYS if not.
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, 0, 0)
    is_filtering = ctypes.get_errno() == errno.EFAULT
    return Sandbox(
        mode,
        no_new_privs=libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0,
        landlock_abi=landlock_abi,
        seccomp=is_filtering and is_64_bit and machine in ARCHITECTURES,
    )
