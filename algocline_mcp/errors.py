"""Errors as a tree with stable codes.

AlcError                 everything below; `code` never changes once released, the sentence may
├── Refused              a request that cannot be carried out: nothing was changed; the sentence says what to do
├── HomeUnusable         ALC_HOME or a setting does not work; the calls that need it report it, the server stays up
├── Unreachable          a worker did not answer within its time; asking again is safe
│   └── ProgramReplaced  this process is of another version than the program on disk; a process started now can
├── ProtocolError        the other side of a socket broke the protocol; close that connection
├── StorageFailed        the disk refused a record; it is not in the journal and was not acknowledged
│   └── StorageBroken    what the disk holds is unknown: use that descriptor no more, exit, recover
└── JournalCorrupt       a journal is damaged below its last flushed mark; guessing never repairs it

Each class exists because some caller does something different with it. The host sees the sentence and the code, never
a traceback.
"""

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def whole(text: str) -> str:
    """`text` with U+FFFD for each half of a surrogate pair. Such halves stand for the bytes of a path or a variable
    that are not UTF-8; JSON for a host cannot hold them, and the SDK's writer ended the server at one.

    The codec is called directly: `str.encode` imports a file for it, which fails where no descriptor is free, and that
    is the error to be reported."""
    units, _ = codecs.utf_16_le_encode(text, "surrogatepass")
    return codecs.utf_16_le_decode(units, "replace", True)[0]


class AlcError(Exception):
    """`str(error)` is one sentence that names the thing, its state and the cure; `code` is stable."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(whole(message))
        if code is not None:
            self.code = code


class Refused(AlcError):
    code = "refused"


class HomeUnusable(AlcError):
    code = "home_unusable"


class Unreachable(AlcError):
    code = "unreachable"


class ProgramReplaced(Unreachable):
    code = "program_replaced"


class ProtocolError(AlcError):
    code = "wire_broken"


class StorageFailed(AlcError):
    code = "storage_failed"


class StorageBroken(StorageFailed):
    """A flush failed (the kernel drops the pages that it could not write), or half a record could not be removed."""

    code = "storage_broken"


class JournalCorrupt(AlcError):
    """Carries the file, or what stands for it in a database, and the line (from 1) of the first damage."""

    code = "corrupt"

    def __init__(self, path: "Path | str", line: int) -> None:
        begin_again = "go on from the records before it with alc_branch(session_id)"
        super().__init__(
            f"journal {path} is damaged in line {line}, below what was acknowledged: "
            f"restore the file from a copy, or {begin_again if line > 1 else 'start the strategy again with alc_run'}"
        )
        self.path = path
        self.line = line
