"""Gives up privileges that no process of a worker needs.

Contract: on Linux, and for all that this process forks or starts; elsewhere nothing happens.
"""

import ctypes
import sys

_PR_SET_NO_NEW_PRIVS = 38


def give_up_new_privileges() -> None:
    """No program that is started from now on gets more rights than this process has, as by a set-user-id bit. 1 us."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


_libc = ctypes.CDLL(None)
