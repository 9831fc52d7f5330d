"""Cards as files, in the original's layout: `{pkg}/{card_id}.toml`, `{card_id}.samples.jsonl` and `_aliases.toml`.

Contract: what lies in the state database counts; files are what people read, keep under version control and bring
along. So a file is written after the commit and not flushed: one that a power cut takes is written again by
`alc.card.sink_backfill`, and where the database is lost the files bring the cards back. Functions raise OSError, and
ValueError for a file that holds no card.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from algocline_mcp.cards import Card
from algocline_mcp.storage.files import replace_atomically
from algocline_mcp.worker.database.call_scope import Places

ALIASES = "_aliases.toml"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def places(own: Path, environ: Mapping[str, str]) -> Places:
    """ALC_CARD_SINKS names directories as file:// addresses with | between; what is none is left out. The cards of the
    original program are read where they lie."""
    named = [each.strip() for each in environ.get("ALC_CARD_SINKS", "").split("|")]
    others = tuple(Path(each.removeprefix("file://")) for each in named if each.startswith("file:///"))
    user = environ.get("HOME")
    return Places(own, others, (Path(user) / ".algocline" / "cards",) if user else ())


def card_path(root: Path, pkg: str, card_id: str) -> Path:
    return root / pkg / f"{card_id}.toml"


def samples_path(root: Path, pkg: str, card_id: str) -> Path:
    return root / pkg / f"{card_id}.samples.jsonl"


# Writing -----------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_atomically(path, text.encode("utf-8", "replace"), is_durable=False)


def toml(table: Mapping[str, Any]) -> str:
    """Values first, then the tables below, each under its name."""
    return "\n".join(_lines(table, ()))


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    values = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path and (values or not table):
        yield f"[{'.'.join(map(_key, path))}]"
    for key, value in values.items():
        yield f"{_key(key)} = {_value(value)}"
    if values or not table:
        yield ""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _lines(value, (*path, key))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _string(text: str) -> str:
    """JSON's escapes are TOML's too; only DEL has to be escaped here."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# Reading -----------------------------------------------------------------------------------------------------


def stems(directory: Path) -> list[str]:
    """The ids of the cards in a directory of one package."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    return sorted(name[:-5] for name in names if name.endswith(".toml"))


def read_card(path: Path, card_id: str, *, most_bytes: int) -> Card:
    card: Card = _plain(_tables(path, most_bytes))
    return card | {"card_id": card_id}


def read_samples(path: Path, *, most_bytes: int) -> list[Any] | None:
    """None where there is no such file."""
    try:
        text = _text(path, most_bytes)
    except FileNotFoundError:
        return None
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def read_aliases(path: Path, *, most_bytes: int) -> Iterable[Mapping[str, Any]]:
    found = _plain(_tables(path, most_bytes)).get("alias", [])
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _tables(path: Path, most_bytes: int) -> Any:
    import tomllib  # 6 ms and 1.5 MiB, more than half of what a worker has of its own: only where files were brought

    return tomllib.loads(_text(path, most_bytes))


def _plain(value: Any) -> Any:
    """JSON values only: a date is its text, and what is no number is left out."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each == each}
    if isinstance(value, list):
        return [_plain(each) for each in value if each == each]
    if value in (float("inf"), float("-inf")) or not isinstance(value, str | int | float | bool):
        return str(value)
    return value


def _text(path: Path, most_bytes: int) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold the keeper
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("no regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"longer than {most_bytes} bytes")
    return content.decode()
