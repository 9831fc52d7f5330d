"""Cards: records of runs that are written once, only extended, and found again. Pure; both halves use them.

Contract: a card is a JSON object of upstream's schema `card/v0`. `schema_version`, `card_id`, `created_at` and
`pkg.name` are always there; other fields belong to the strategy. An unusable field raises ValueError with the sentence
for the strategy. Nothing here looks at a clock or a disk.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

Card = dict[str, Any]

SCHEMA = "card/v0"
NO_FILES = "this server keeps cards in a database, and none as files: create cards with alc.card.create"
_NAME_BYTES = 200  # a file name has 255 bytes, and ".samples.jsonl" and the suffix of a draft follow it
_HEX = 6
_VENDORS = ("claude-", "gpt-")


def new_card(fields: Any, *, identity: str, now_s: float, version: str, is_taken: Callable[[str], bool]) -> Card:
    """The card that `fields` becomes, a new object. `identity` names the call for good: the id ends in its hash.

    Raises ValueError.
    """
    if not isinstance(fields, dict):
        raise ValueError("the card must be a table")
    card: Card = without_null(fields)
    pkg = card.get("pkg")
    name = pkg.get("name") if isinstance(pkg, dict) else None
    if not isinstance(name, str):
        raise ValueError("the card must have a text pkg.name")
    check_name(name, "pkg")
    created = time.gmtime(now_s)
    card.setdefault("schema_version", SCHEMA)
    card.setdefault("created_at", time.strftime("%Y-%m-%dT%H:%M:%SZ", created))
    card.setdefault("created_by", f"algocline-mcp@{version}")
    if isinstance(card.get("params"), dict):
        card["param_fingerprint"] = _djb2(_stable(card["params"]))
    card_id = card.get("card_id")
    if not isinstance(card_id, str) or not card_id:
        stem = f"{name}_{_short_model(card)}_{time.strftime('%Y%m%dT%H%M%S', created)}"
        digits = hashlib.sha256(identity.encode()).hexdigest()
        candidates = (f"{stem}_{digits[:length]}" for length in range(_HEX, len(digits) + 1))
        card_id = next(candidate for candidate in candidates if not is_taken(candidate))
    elif is_taken(card_id):
        raise ValueError(f"card '{card_id}' already exists (immutable): leave card_id out, or use alc.card.append")
    check_name(card_id, "card_id")
    card["card_id"] = card_id
    return card


def extended(card: Card, fields: Any) -> Card:
    """A copy of the card with these keys added. Raises ValueError for a key that the card has."""
    if not isinstance(fields, dict):
        raise ValueError("the fields must be a table")
    for key in fields:
        if key in card:
            raise ValueError(f"key '{key}' already set on card '{card['card_id']}' (immutable): use another key")
    more: Card = without_null(fields)
    return card | more


def check_name(name: str, what: str) -> None:
    """Raises ValueError for a name that cannot be the name of a file. `what` says in the error what the name is for."""
    is_outside = any(part in name for part in ("/", "\\", "..", "\0")) or name.startswith(".")
    if not name or is_outside or len(name.encode("utf-8", "replace")) > _NAME_BYTES:
        raise ValueError(
            f"Invalid {what} name: '{name[:_NAME_BYTES]}': it has 1 to {_NAME_BYTES} bytes, does not begin with a dot, "
            "and is without /, \\, .. and NUL"
        )


def without_null(value: Any) -> Any:
    """The value without nulls, which TOML does not have."""
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_null(item) for item in value if item is not None]
    return value


def _short_model(card: Card) -> str:
    """`claude-opus-4-6` is opus46, `gpt-4o` is 4o, a missing id is model."""
    name = value_at(card, ("model", "id"))
    name = name if isinstance(name, str) else ""
    for vendor in _VENDORS:
        name = name.removeprefix(vendor)
    return re.sub(r"[^A-Za-z0-9]", "", name)[:32] or "model"


def _stable(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _djb2(text: str) -> str:
    value = 5381
    for byte in text.encode("utf-8", "replace"):
        value = (value * 33 + byte) & 0xFFFF_FFFF_FFFF_FFFF
    return f"{value:016x}"


def summary(card: Card, pkg: str) -> Card:
    """One line of a list: `{card_id, pkg, created_at?, model?, scenario?, pass_rate?}`."""
    line = {"card_id": card["card_id"], "pkg": pkg}
    paths = {"created_at": ("created_at",), "model": ("model", "id"), "scenario": ("scenario", "name")}
    for name, path in paths.items():
        if isinstance(value := value_at(card, path), str):
            line[name] = value
    rate = value_at(card, ("stats", "pass_rate"))
    if isinstance(rate, int | float) and not isinstance(rate, bool):
        line["pass_rate"] = rate
    return line


def prior(card: Card) -> tuple[str | None, str | None]:
    """The id of the card that this card was made from, and the relation to it; each None if the card names none."""
    source, relation = value_at(card, ("metadata", "prior_card_id")), value_at(card, ("metadata", "prior_relation"))
    return source if isinstance(source, str) else None, relation if isinstance(relation, str) else None


def value_at(value: Any, path: Sequence[str]) -> Any:
    """The value at the path, or None, which no card holds."""
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value
