"""What alc.* remembers of the running session, beside the session itself."""

from collections import OrderedDict
from dataclasses import dataclass, field

from algocline_mcp.worker.engine.python.session import Session, current


@dataclass(slots=True)
class Refusal:
    """A refused item of a batch. `item` counts from 1; `where` is the line that asked, "panel.py:3: "."""

    reason: str
    item: int
    where: str
    is_seen: bool = False


@dataclass(slots=True)
class Memory:
    refusals: list[Refusal] = field(default_factory=list)
    checked_options: set[str] = field(default_factory=set)  # names that were compared with the known ones
    schema_form: tuple[str, str] = ("", "")  # the last schema as JSON, and the text that asks for it
    cache: OrderedDict[str, str] = field(default_factory=OrderedDict)
    cache_hits: int = 0
    cache_misses: int = 0


_latest: list[tuple[Session, Memory]] = []


def memory() -> Memory:
    """Of the current session; a new one where the last call was in another session."""
    session = current()
    if not _latest or _latest[0][0] is not session:
        _latest[:] = [(session, Memory())]
    return _latest[0][1]
