"""Cards as files, in upstream's layout: `{pkg}/{card_id}.toml`, `{card_id}.samples.jsonl` and `_aliases.toml`.

Contract: the state database is the truth; the files are for people to read, to keep under version control and to pass
on. So a file is written after the commit and is not flushed: if a power cut takes a file, `alc.card.sink_backfill`
writes it again, and if the database is lost, the files restore the cards. Functions raise OSError, and ValueError for a
file that holds no card.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from algocline_mcp.cards.card import Card
from algocline_mcp.storage.files import replace_atomically
from algocline_mcp.worker.database.call_context import CardDirectories

ALIASES = "_aliases.toml"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def directories(own: Path, environ: Mapping[str, str]) -> CardDirectories:
    """Reads ALC_CARD_SINKS: directories as file:// URLs, separated by |. Entries of another form are ignored.

    Upstream's cards are read from `~/.algocline/cards`, where upstream stores them.
    """
    urls = [url.strip() for url in environ.get("ALC_CARD_SINKS", "").split("|")]
    sinks = tuple(Path(url.removeprefix("file://")) for url in urls if url.startswith("file:///"))
    user = environ.get("HOME")
    return CardDirectories(own, sinks, (Path(user) / ".algocline" / "cards",) if user else ())


def card_path(root: Path, pkg: str, card_id: str) -> Path:
    return root / pkg / f"{card_id}.toml"


def samples_path(root: Path, pkg: str, card_id: str) -> Path:
    return root / pkg / f"{card_id}.samples.jsonl"


# Writing -----------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """Replaces the file as a whole, 0600 and not durable. Creates its directory. On OSError the old file stays.

    The directory of a package must not be a link: it would lead to a place that nobody has named."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path.parent))
    replace_atomically(path, text.encode("utf-8", "replace"), is_durable=False)


def toml(table: Mapping[str, Any]) -> str:
    """A TOML document: first the values of a table, then its inner tables, each under a header of its own."""
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
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _string(text: str) -> str:
    """A TOML string. JSON's escapes are valid in TOML; only TOML escapes DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# Reading -----------------------------------------------------------------------------------------------------


def card_ids(directory: Path) -> list[str]:
    """The ids of the cards in the directory of one package, sorted."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    return sorted(name[:-5] for name in names if name.endswith(".toml"))


def read_card(path: Path, card_id: str, *, max_bytes: int) -> Card:
    card: Card = _json_value(_tables(path, max_bytes))
    return card | {"card_id": card_id}


def read_samples(path: Path, *, max_bytes: int) -> list[Any] | None:
    """Returns None where there is no such file."""
    try:
        text = _text(path, max_bytes)
    except FileNotFoundError:
        return None
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def read_aliases(path: Path, *, max_bytes: int) -> Iterable[Mapping[str, Any]]:
    aliases = _json_value(_tables(path, max_bytes)).get("alias", [])
    return [alias for alias in aliases if isinstance(alias, dict)] if isinstance(aliases, list) else []


def _tables(path: Path, max_bytes: int) -> Any:
    import tomllib  # 6 ms and 1.5 MiB, over half of a worker's private memory: only for imports

    return tomllib.loads(_text(path, max_bytes))


def _json_value(value: Any) -> Any:
    """The value in JSON's types: a date or an infinity becomes its text, and NaN is left out."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items() if item == item}
    if isinstance(value, list):
        return [_json_value(item) for item in value if item == item]
    if value in (float("inf"), float("-inf")) or not isinstance(value, str | int | float | bool):
        return str(value)
    return value


def _text(path: Path, max_bytes: int) -> str:
    fd = os.open(
        path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    )  # O_NONBLOCK: opening a FIFO must not block the keeper
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("not a regular file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"longer than {max_bytes} bytes")
    return content.decode()
