"""Reading of a text file that a call names.

Contract: a regular file in UTF-8 of at most `max_bytes`; anything else raises Refused with one sentence. The last part
of the path is no link: resolve it first. Blocks on the disk.
"""

import os
import stat
from collections.abc import Iterable

from algocline_mcp.errors import Refused

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW  # a pipe without a writer would block for ever


def root_above(real_path: str, directories: Iterable[str | os.PathLike[str] | None]) -> str | None:
    """The one of the directories that holds a resolved path, resolved itself; None if the path is in none of them."""
    roots = [os.path.realpath(directory) for directory in directories if directory]
    return next((root for root in roots if os.path.commonpath((root, real_path)) == root), None)


def read_text(path: str, max_bytes: int, *, content: str, shorten: str) -> str:
    """`content`: what the file shall hold, and `shorten`: what to do about a long one, for the sentences."""
    try:
        fd = os.open(path, _FLAGS)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(21, "Is a directory")
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"Failed to read {path}: not a regular file; name a file with {content}")
            read = file.read(max_bytes + 1)
            if (size := max(len(read), status.st_size)) > max_bytes:
                raise Refused(f"{path} has {size} bytes, at most {max_bytes}: {shorten}", code="too_large")
    except OSError as exc:
        raise Refused(
            f"Failed to read {path}: {exc.strerror} (os error {exc.errno}); check the path as this server sees it, "
            "or send the text itself"
        ) from exc
    try:
        return read.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Refused(f"Failed to read {path}: byte {exc.start} is not UTF-8; save the file as UTF-8") from exc
