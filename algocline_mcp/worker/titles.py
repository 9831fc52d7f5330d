"""The name under which `ps` shows a process.

Contract: written into the memory of argv only, so that /proc/PID/environ still tells which home a process serves.
setproctitle takes that memory too unless SPT_NOENV is set when it is first called (tried: ALC_HOME= was gone).
"""

import os

from setproctitle import setproctitle


def set_title(title: str) -> None:
    """A title longer than the command line that started the process is cut to that length."""
    os.environ["SPT_NOENV"] = "1"
    setproctitle(title)
