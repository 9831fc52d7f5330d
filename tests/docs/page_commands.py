"""The commands of a page of docs/ as one shell script, and what each of them shows.

A block in `sh` is run, a block in `text` behind it is what its output has. A comment before a block says what is
special about it: `<!-- WHAT: VALUE -->`.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"(?:<!-- (\w+): ([^>]*) -->\n)?```(\w+)\n(.*?)```\n", re.DOTALL)
_MARK = "== block {} =="
_END_THE_LAST = """trap 'test -z "$!" || kill "$!"; wait' EXIT"""


class Block(NamedTuple):
    comment: str
    value: str
    language: str
    text: str


def blocks_of(page: str) -> list[Block]:
    return [Block(match[1] or "", match[2] or "", match[3], match[4]) for match in _BLOCK.finditer(page)]


def outputs_of(commands: Sequence[str], directory: Path, environment: Mapping[str, str], limit_s: float) -> list[str]:
    """What each prints, stderr included. All run in one shell, which ends what it has left running. Raises
    AssertionError with everything where one fails."""
    parts = [f"echo '{_MARK.format(number)}'\n{command}" for number, command in enumerate(commands)]
    script = "\n".join([_END_THE_LAST, *parts, f"echo '{_MARK.format(len(parts))}'"])
    with tempfile.TemporaryFile("w+") as file:  # a pipe would stay open as long as what runs in the background
        code = subprocess.run(
            ["sh", "-ec", script],
            cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            timeout=limit_s, check=False,
        ).returncode  # fmt: skip
        file.seek(0)
        printed = file.read()
    assert code == 0, printed
    _, *outputs = re.split(rf"(?m)^{_MARK.format('[0-9]+')}\n", printed)
    return outputs[: len(parts)]


def is_shown(shown: str, output: str) -> bool:
    """Whether the lines stand in the output one after the other; … stands for any text, alone for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in shown.splitlines()
    )
    return re.search(f"(?m)^{pattern}", output) is not None
