"""The call of a tool that begins a session of `alc run` or `alc branch`."""

from dataclasses import dataclass
from typing import Any

ANY_FILE = "FILE"


@dataclass(frozen=True, slots=True)
class Start:
    """`strategy`: the file as a command line names it, or ANY_FILE where it is not known."""

    tool: str
    arguments: dict[str, Any]
    strategy: str = ANY_FILE
