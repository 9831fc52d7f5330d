"""What confines the engines: the setting ALC_SANDBOX, and the layers that this kernel has. Also keeps other programs of
the user out of the processes that are trusted.

Contract: `probe` asks the kernel and changes nothing. A layer counts as missing wherever the kernel, a container or an
emulator refuses it. The kernel confines engines on Linux only: elsewhere every layer is missing.
"""

import errno
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from algocline_mcp.errors import HomeUnusable, Refused
from algocline_mcp.languages import PYTHON

# standard: the layers that the kernel has. strict: all of them, or no session starts. off: resource limits alone.
MODES = ("standard", "strict", "off")
PYTHON_LAYERS = ("no_new_privs", "seccomp")  # without them nothing holds a strategy in Python
PYTHON_MODES = ("confined", "trusted")  # trusted: Python runs also where the kernel does not confine it
ARCHITECTURES = ("x86_64", "aarch64")  # whose system calls the filter knows
_MISSING_CODE = "sandbox_incomplete"
_CURES = {
    "no_new_privs": "Linux",
    "landlock": "Linux 5.13 or newer with Landlock among its security modules (lsm=landlock,…)",
    "seccomp": f"a 64-bit Linux kernel with seccomp filters on {' or '.join(ARCHITECTURES)}",
}

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_GET_NO_NEW_PRIVS = 4, 22, 39  # linux/prctl.h
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
    is_python_trusted: bool = False

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

    def refusal_of(self, language: str) -> str | None:
        """Why no strategy in this language runs here. Lua keeps its own wall; Python has none but the kernel's."""
        needed = [layer for layer in PYTHON_LAYERS if layer in self.missing]
        if language != PYTHON.name or self.mode == "off" or self.is_python_trusted or not needed:
            return None
        return (
            f"Python strategies run where the kernel confines them, and this machine has no {' and no '.join(needed)}: "
            "write the strategy in Lua, or set ALC_PYTHON=trusted to run the Python of people you trust"
        )

    def require(self, language: str) -> None:
        """Raises Refused where no strategy in this language may run: in the mode `strict` where a layer is missing."""
        if self.mode == "strict" and self.missing:
            needed = " and ".join(_CURES[name] for name in self.missing)
            raise Refused(
                f"ALC_SANDBOX=strict, and this machine has no {' and no '.join(self.missing)}, so no strategy runs: "
                f"use {needed}, or set ALC_SANDBOX=standard",
                code=_MISSING_CODE,
            )
        if (why := self.refusal_of(language)) is not None:
            raise Refused(why, code=_MISSING_CODE)


def mode_of(environ: Mapping[str, str]) -> str:
    """The value of ALC_SANDBOX. Raises HomeUnusable for another word."""
    chosen = environ.get("ALC_SANDBOX", "") or MODES[0]
    if chosen not in MODES:
        raise HomeUnusable(f"ALC_SANDBOX={chosen!r} is not a mode: set it to one of {', '.join(MODES)}")
    return chosen


def is_python_trusted(environ: Mapping[str, str]) -> bool:
    """Whether ALC_PYTHON says so. Raises HomeUnusable for another word."""
    chosen = environ.get("ALC_PYTHON", "") or PYTHON_MODES[0]
    if chosen not in PYTHON_MODES:
        raise HomeUnusable(f"ALC_PYTHON={chosen!r} is not a mode: set it to one of {', '.join(PYTHON_MODES)}")
    return chosen == "trusted"


def is_python_taught(environ: Mapping[str, str]) -> bool:
    """Whether a model should write Python. Asks no kernel: on a Linux without seccomp the refusal names Lua."""
    is_chosen = environ.get("ALC_PYTHON") == "trusted" or environ.get("ALC_SANDBOX") == "off"
    return sys.platform == "linux" or is_chosen


def check_settings(environ: Mapping[str, str]) -> None:
    """Raises HomeUnusable for a word that is no mode."""
    mode_of(environ)
    is_python_trusted(environ)


def probe(environ: Mapping[str, str]) -> Sandbox:
    """Raises HomeUnusable for a mode that does not exist."""
    mode, is_trusted = mode_of(environ), is_python_trusted(environ)
    if sys.platform != "linux":
        return Sandbox(mode, is_python_trusted=is_trusted)
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
        is_python_trusted=is_trusted,
    )


def refuse_tracers(mode: str) -> None:
    """Other programs of the user can no longer trace this process, nor read its memory, environment and descriptors.

    Not in the mode `off`, in which a debugger may look. Processes that are forked later inherit it; exec ends it. What
    this process opens of its own below /proc/self stays open to it, but for mem, environ, pagemap and the like. 1 us.
    """
    if sys.platform == "linux" and mode != "off":
        import ctypes  # 3 ms, which only a server does not have behind it

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
