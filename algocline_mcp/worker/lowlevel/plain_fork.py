"""fork without what Python does in the child: for that, a child wrote, and so copied, 50 memory pages.

`os.fork` makes all locks of the interpreter anew in the child, seeds `random`, and calls the hooks of `threading`,
`logging`, `asyncio` and others. A process with one thread needs none of this: no other thread holds a lock, and the
child's thread has the number of its parent's. 100 runs at once take 100 ms of processor time less, of 1,400.

Contract: where the process has several threads, or the system does not say that it has one, this is `os.fork`. The
child has the `random` state of its parent: whoever needs random numbers there seeds a generator or asks the system.
"""

import ctypes
import os
from contextlib import suppress

_TASKS = "/proc/self/task"  # a directory for each thread
# With the interpreter's lock held (PyDLL): the child goes on as its owner.
_fork = ctypes.PyDLL(None, use_errno=True).fork
_fork.argtypes, _fork.restype = (), ctypes.c_int


def threads() -> int:
    """Of this process; 0 where the system does not say."""
    with suppress(OSError):  # elsewhere, and where /proc is not mounted
        return os.stat(_TASKS).st_nlink - 2
    return 0


def fork() -> int:
    """Returns the pid of the child, and 0 in the child. Raises OSError where the system refuses."""
    if threads() != 1:
        return os.fork()
    if (pid := int(_fork())) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return pid
