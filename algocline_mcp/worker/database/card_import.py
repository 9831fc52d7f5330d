"""Imports card files that other programs, upstream or people have put into the card directories.

Contract: `import_cards` runs before a call of alc.card and outside of its transaction. It commits one batch of files
and raises ImportUnfinished, until no new file is left: a keeper serves its clients between two batches. A file that
holds no card is skipped until its time or size changes. The database wins: a file whose card_id is stored is not read.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from algocline_mcp.cards.card import check_name, without_null
from algocline_mcp.config.limits import KIB
from algocline_mcp.protocol.messages import is_deeper
from algocline_mcp.storage.card_functions import put_card, put_samples
from algocline_mcp.storage.key_values import well_formed
from algocline_mcp.worker.database import card_files
from algocline_mcp.worker.database.call_context import CallContext, ImportUnfinished, transaction
from algocline_mcp.worker.database.card_tables import CardTables
from algocline_mcp.worker.engine.messages import Call

_BATCH, _BATCH_BYTES = 200, 512 * KIB  # files of one batch, which takes 0.1 s
_BY_ID = ("card.get", "card.append", "card.write_samples", "card.read_samples")
_ABSENT = "0 0"  # the stamp of a file that does not exist


def import_cards(context: CallContext, call: Call) -> None:
    """Imports new card files where `call` could need them. Raises ImportUnfinished after each batch."""
    if not _needs_files(context, call):
        return
    for root in (context.directories.own, *context.directories.imports):
        for pkg in _packages(root):
            if batch := _batch(context, root / pkg, pkg):
                with _committed(context):
                    for path, stamp in batch:
                        _import_card(context, path, pkg, stamp)
                raise ImportUnfinished
        _import_aliases(context, root)


def _needs_files(context: CallContext, call: Call) -> bool:
    """Not where the call names a card that is stored, nor where it creates a card with a generated id."""
    first = call.args[0] if call.args else None
    card_id = first if call.name in _BY_ID else None
    if call.name == "card.create":
        card_id = first.get("card_id", "") if isinstance(first, dict) else ""
        if not card_id:
            return False
    return not isinstance(card_id, str) or CardTables(context).card(card_id) is None


def _packages(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _batch(context: CallContext, directory: Path, pkg: str) -> list[tuple[Path, str]]:
    """The next new files of a package with their stamps."""
    batch, size = [], 0
    for path, stamp in _new_files(context, directory, pkg):
        batch.append((path, stamp))
        size += sum(int(file_stamp.split()[1]) for file_stamp in (stamp, _stamp(_samples_of(path))))
        if len(batch) == _BATCH or size > _BATCH_BYTES:
            break
    return batch


def _new_files(context: CallContext, directory: Path, pkg: str) -> Iterator[tuple[Path, str]]:
    """Card files that are not stored and not known to hold no card, with their stamps."""
    query = "SELECT card_id FROM cards WHERE pkg = ?"
    known = {card_id for (card_id,) in context.connection.execute(query, (well_formed(pkg),))}
    with contextlib.suppress(OSError):
        for card_id in card_files.card_ids(directory):
            if card_id not in known and CardTables(context).card(card_id) is None:
                path = directory / f"{card_id}.toml"
                if not _is_skipped(context, path, stamp := _stamp(path)):
                    yield path, stamp


def _import_card(context: CallContext, path: Path, pkg: str, stamp: str) -> None:
    limits, card_id, cards = context.limits, path.stem, CardTables(context)
    try:
        check_name(card_id, "card_id")
        card = without_null(card_files.read_card(path, card_id, max_bytes=limits.card_bytes))
        samples = card_files.read_samples(_samples_of(path), max_bytes=limits.samples_bytes)
        if is_deeper([card, samples], limits.json_depth):
            raise ValueError("too deep")
        put_card(cards, card, well_formed(pkg), limits)
        if samples is not None:
            put_samples(cards, card_id, samples, limits)
    except (OSError, ValueError, RecursionError):
        _skip(context, path, stamp)


def _import_aliases(context: CallContext, root: Path) -> None:
    """Imports aliases whose names are not stored. The home's own file is only a copy as soon as one alias is stored."""
    path, cards = root / card_files.ALIASES, CardTables(context)
    known = {alias["name"] for alias in cards.aliases()}
    stamp = _stamp(path)
    if stamp == _ABSENT or (root == context.directories.own and known) or _is_skipped(context, path, stamp):
        return
    try:
        aliases = list(card_files.read_aliases(path, max_bytes=context.limits.samples_bytes))
    except (OSError, ValueError, RecursionError):
        aliases = []
    with _committed(context):
        for alias in aliases:
            name, card_id = alias.get("name"), alias.get("card_id")
            is_complete = isinstance(name, str) and isinstance(card_id, str) and isinstance(alias.get("set_at"), str)
            if is_complete and name not in known and cards.card(str(card_id)) is not None:
                cards.put_alias(dict(alias))
        _skip(context, path, stamp)


def _stamp(path: Path) -> str:
    """Time of modification in nanoseconds and size in bytes."""
    try:
        status = path.stat()
    except OSError:
        return _ABSENT
    return f"{status.st_mtime_ns} {status.st_size}"


def _samples_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.samples.jsonl")


def _is_skipped(context: CallContext, path: Path, stamp: str) -> bool:
    query = "SELECT 1 FROM brought WHERE path = ? AND stamp = ?"
    return context.connection.execute(query, (well_formed(str(path)), stamp)).fetchone() is not None


def _skip(context: CallContext, path: Path, stamp: str) -> None:
    """Skips the file from now on, until its stamp changes."""
    context.connection.execute("REPLACE INTO brought VALUES (?, ?)", (well_formed(str(path)), stamp))


@contextlib.contextmanager
def _committed(context: CallContext) -> Iterator[None]:
    with transaction(context.connection, context.write_lock):
        yield
        context.connection.execute("COMMIT")
