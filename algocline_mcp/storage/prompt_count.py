"""Number of prompts that the strategies of one principal asked today (UTC).

Contract: a byte for each, in a file for the day. Keepers append, which loses none where several do at once; a server
reads the size. So counting costs the same however many sessions there are, and survives every process.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from algocline_mcp.config.home import Home
from algocline_mcp.storage.files import open_in_place

_DAY_S = 86_400
_PREFIX = "prompts-"


def _file(home: Home) -> Path:
    return home.state / f"{_PREFIX}{int(time.time()) // _DAY_S}"


def today(home: Home) -> int:
    with suppress(OSError):
        return os.stat(_file(home)).st_size
    return 0


def add(home: Home, count: int) -> None:
    """A failure is not reported: a prompt is not held up because it cannot be counted."""
    with suppress(OSError):
        fd = open_in_place(_file(home), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            if not os.fstat(fd).st_size:
                _remove_earlier(home)
            os.write(fd, b"." * count)
        finally:
            os.close(fd)


def _remove_earlier(home: Home) -> None:
    now = _file(home).name
    for name in os.listdir(home.state):
        if name.startswith(_PREFIX) and name < now:
            os.unlink(home.state / name)
