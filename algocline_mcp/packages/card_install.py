"""Installs cards from git or a directory into a home.

Contract: the source, or its directory `cards`, has files `PACKAGE/CARD.toml`, each perhaps with `CARD.samples.jsonl`,
as alc.card writes them. A card never changes, so a card whose id exists already is skipped. Samples are moved into
place before their card. A session sees the new cards at its next alc.card call. Limits and links: as for packages.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from algocline_mcp.cards.card import check_name
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.history.database_reader import StateFile
from algocline_mcp.packages.install import BoundedCopy, fetched_source, in_thread

_CARD, _SAMPLES = ".toml", ".samples.jsonl"


async def install_cards(
    home: Home, limits: Limits, source: str, *, fetch_s: float | None = None, environ: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """`{installed, skipped, failures, source, commit?}`. Raises Refused if the source has no card."""
    async with fetched_source(home, limits, source, fetch_s=fetch_s, environ=environ) as (staging, checkout, record):
        report = await in_thread(partial(_copy_cards, home, limits, checkout, staging.path))
    return report | {key: value for key, value in record.items() if key != "installed_at"}


def _copy_cards(home: Home, limits: Limits, checkout: Path, staging: Path) -> dict[str, Any]:
    report: dict[str, list[Any]] = {"installed": [], "skipped": [], "failures": []}
    moves: list[tuple[Path, Path]] = []
    stored = StateFile(home.state_database)
    try:
        copy = BoundedCopy(Path(os.path.realpath(checkout)), limits)
        for number, file in enumerate(_cards_in(checkout)):
            card_id, target = file.stem, home.cards / file.parent.name
            if (target / file.name).exists() or stored.card(card_id):
                report["skipped"].append(card_id)
                continue
            copied = staging / f"{number}{_CARD}"
            copy.file(copy.resolve(file), copied)
            if reason := _defect(copied, card_id):
                report["failures"].append({"card": card_id, "reason": reason})
                continue
            samples = file.with_name(card_id + _SAMPLES)
            if samples.exists():
                copy.file(copy.resolve(samples), staging / f"{number}{_SAMPLES}")
                moves.append((staging / f"{number}{_SAMPLES}", target / samples.name))
            moves.append((copied, target / file.name))
            report["installed"].append(card_id)
        for staged, final in moves:
            final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(staged, final)
    except OSError as exc:
        raise StorageFailed(f"cannot copy {exc.filename}: {exc.strerror}; correct that, then try again") from exc
    if not any(report.values()):
        sentence = f"the source has no card: there is no PACKAGE/CARD{_CARD}, also not in cards/; check the address"
        raise Refused(sentence, code="no_card")
    return report


def _cards_in(checkout: Path) -> Iterator[Path]:
    root = checkout / "cards" if (checkout / "cards").is_dir() else checkout
    for directory in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        yield from sorted(path for path in directory.glob(f"*{_CARD}") if not path.name.startswith(("_", ".")))


def _defect(copied: Path, card_id: str) -> str:
    """The reason why the file is not a card; empty if it is."""
    try:
        check_name(card_id, "card_id")
        tomllib.loads(copied.read_text("utf-8"))
    except (ValueError, RecursionError) as exc:
        return str(exc)
    return ""
