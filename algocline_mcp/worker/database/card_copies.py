"""Copies stored cards into files: into the home after each change, and into the sinks of ALC_CARD_SINKS.

Contract: `copy` runs after the commit. A copy that fails is a warning: the database has the card.
"""

import _sqlite3 as sqlite3  # not `sqlite3`: its Python half and datetime are 1 MiB in each worker that uses it
from pathlib import Path
from typing import Any

from algocline_mcp.cards.card import Card
from algocline_mcp.storage.card_functions import CardStore, as_card, existing_card
from algocline_mcp.worker.database import card_files
from algocline_mcp.worker.database.call_context import CallContext
from algocline_mcp.worker.engine.messages import Call


def copy(context: CallContext, cards: CardStore, call: Call, result: Any) -> str | None:
    """Writes what the call changed into the files. Returns a warning for each directory where that failed, or None."""
    if call.name not in ("card.create", "card.append", "card.write_samples", "card.alias_set"):
        return None
    card_id = call.args[0] if call.name == "card.write_samples" else result["card_id"]
    problems = []
    for root in (context.directories.own, *context.directories.sinks):
        try:
            if call.name == "card.alias_set":
                card_files.write(root / card_files.ALIASES, _aliases_toml(cards))
            elif call.name == "card.write_samples":
                _copy_samples(cards, root, card_id)
            else:
                _copy_card(cards, root, card_id)
        except (OSError, ValueError, sqlite3.Error) as exc:
            problems.append(f"no copy in {root}: {getattr(exc, 'strerror', None) or exc}")
    return "; ".join(problems) or None


def backfill(context: CallContext, cards: CardStore, sink: str, *, is_dry: bool) -> Card:
    """Writes the copies that a sink lacks, and reports them; a dry run only reports.

    Returns `{sink, pushed, skipped, failed, pushed_samples}`; `pushed`, `skipped` and `pushed_samples` list card ids,
    `failed` lists `{card_id, error}`. Raises ValueError for a sink that ALC_CARD_SINKS does not name.
    """
    directories = context.directories
    roots = {f"file://{root}": root for root in (directories.own, *directories.sinks)}
    if sink not in roots:
        raise ValueError(f"sink '{sink}' is none of {', '.join(roots)}: name it in ALC_CARD_SINKS")
    report: Card = {"sink": sink, "pushed": [], "skipped": [], "failed": [], "pushed_samples": []}
    query = "SELECT card_id, pkg, samples FROM cards ORDER BY rowid"
    for card_id, pkg, samples in context.connection.execute(query).fetchall():
        copies = [("pushed", card_files.card_path, _copy_card)]
        if samples is not None:
            copies.append(("pushed_samples", card_files.samples_path, _copy_samples))
        for name, path_of, write in copies:
            if path_of(roots[sink], pkg, card_id).exists():
                report["skipped"] += [card_id] if name == "pushed" else []
                continue
            try:
                if not is_dry:
                    write(cards, roots[sink], card_id)
                report[name].append(card_id)
            except OSError as exc:
                report["failed"].append({"card_id": card_id, "error": str(exc.strerror)})
    return report


def _aliases_toml(cards: CardStore) -> str:
    return "".join(f"[[alias]]\n{card_files.toml(alias)}\n" for alias in cards.aliases())


def _copy_card(cards: CardStore, root: Path, card_id: str) -> None:
    pkg, text, _ = existing_card(cards, card_id)
    card_files.write(card_files.card_path(root, pkg, card_id), card_files.toml(as_card(text)))


def _copy_samples(cards: CardStore, root: Path, card_id: str) -> None:
    pkg, _, _ = existing_card(cards, card_id)
    lines = [f"{sample}\n" for sample in cards.samples(card_id)]
    card_files.write(card_files.samples_path(root, pkg, card_id), "".join(lines))
