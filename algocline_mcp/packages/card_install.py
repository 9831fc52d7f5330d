"""Brings cards that somebody else made into a home, by git or from a directory.

Contract: `PKG/CARD.toml` with `CARD.samples.jsonl` beside it, in the source or in its directory `cards`, as alc.card
writes them. A card never changes, so one whose id is here already is skipped. The samples arrive before the card, and a
session takes up what has arrived when it next asks for cards. Limits and links as for packages.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from algocline_mcp import cards
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.history import database_reader
from algocline_mcp.packages.install import Copy, brought, in_thread

_CARD, _SAMPLES = ".toml", ".samples.jsonl"


async def install_cards(
    home: Home, limits: Limits, source: str, *, fetch_s: float | None = None, environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """`{installed, skipped, failures, source, commit?}`. Raises Refused where there is no card."""
    async with brought(home, limits, source, fetch_s=fetch_s, environ=environ) as (draft, checkout, told):
        done = await in_thread(partial(_arrive, home, limits, checkout, draft.path))
    return done | {key: value for key, value in told.items() if key != "installed_at"}


def _arrive(home: Home, limits: Limits, checkout: Path, draft: Path) -> dict[str, Any]:
    told: dict[str, list[Any]] = {"installed": [], "skipped": [], "failures": []}
    moves: list[tuple[Path, Path]] = []
    try:
        copy = Copy(Path(os.path.realpath(checkout)), limits)
        for number, file in enumerate(_cards_in(checkout)):
            card_id, target = file.stem, home.cards / file.parent.name
            if (target / file.name).exists() or database_reader.card(home.state_database, card_id):
                told["skipped"].append(card_id)
                continue
            copied = draft / f"{number}{_CARD}"
            copy.file(copy.inside(file), copied)
            if why := _fault(copied, card_id):
                told["failures"].append({"card": card_id, "reason": why})
                continue
            samples = file.with_name(card_id + _SAMPLES)
            if samples.exists():
                copy.file(copy.inside(samples), draft / f"{number}{_SAMPLES}")
                moves.append((draft / f"{number}{_SAMPLES}", target / samples.name))
            moves.append((copied, target / file.name))
            told["installed"].append(card_id)
        for arrived, place in moves:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(arrived, place)
    except OSError as exc:
        raise StorageFailed(f"cannot copy {exc.filename}: {exc.strerror}; ask again when that is mended") from exc
    if not any(told.values()):
        sentence = f"that source holds no card: it has no PACKAGE/CARD{_CARD}, also not in cards/; check the address"
        raise Refused(sentence, code="no_card")
    return told


def _cards_in(checkout: Path) -> Iterator[Path]:
    root = checkout / "cards" if (checkout / "cards").is_dir() else checkout
    for directory in sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith(".")):
        yield from sorted(each for each in directory.glob(f"*{_CARD}") if not each.name.startswith(("_", ".")))


def _fault(copied: Path, card_id: str) -> str:
    """Why it is no card."""
    try:
        cards.check_name(card_id, "card_id")
        tomllib.loads(copied.read_text("utf-8"))
    except (ValueError, RecursionError) as exc:
        return str(exc)
    return ""
