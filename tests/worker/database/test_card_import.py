"""Import of card files that other programs or people have put into the card directories."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.rig.rig import Rig, until
from tests.worker.database.steps import ALL_CARD_CHANGES, result_of

pytestmark = pytest.mark.anyio


def put_file(root: Path, name: str, **card: Any) -> None:
    path = root / "p" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in card.items()))


@pytest.mark.slow
async def test_imported_cards_are_found_like_others(rig: Rig) -> None:
    user = rig.root / "user"
    async with rig.pool() as pool:
        own = await result_of(
            pool, "local c = alc.card.create({pkg = {name = 'q'}}) return alc.card.alias_set('mine', c.card_id).card_id"
        )
    put_file(rig.home.cards, "old", created_at="2025-01-01T00:00:00Z", schema_version="card/v0")
    (rig.home.cards / "p" / "old.samples.jsonl").write_text('{"a": 1}\n')
    put_file(rig.home.cards, "broken")
    (rig.home.cards / "p" / "broken.toml").write_text("no TOML")
    put_file(user / ".algocline" / "cards", "older", created_at="2024-01-01T00:00:00Z")
    alias = '[[alias]]\nname = "%s"\ncard_id = "older"\nset_at = "2025-01-01T00:00:00Z"\n'
    (user / ".algocline" / "cards" / "_aliases.toml").write_text(alias % "best" + alias % "mine")
    code = """
    alc.card.append("older", { note = "here" })
    local listed = alc.card.list({ pkg = "p" })
    local samples, best = alc.card.read_samples("old"), alc.card.get_by_alias("best")
    return { #listed, listed[1].card_id, listed[2].card_id, samples, best, alc.card.get_by_alias("mine").card_id }
    """
    async with rig.pool(environ={**os.environ, "HOME": str(user)}) as pool:
        result = await result_of(pool, code)

    older = {"card_id": "older", "created_at": "2024-01-01T00:00:00Z", "note": "here"}
    assert result == [2, "old", "older", [{"a": 1}], older, own]
    assert (rig.home.cards / "p" / "older.toml").exists()
    assert "note" not in (user / ".algocline" / "cards" / "p" / "older.toml").read_text()


@pytest.mark.slow
async def test_many_cards_are_imported_in_batches_and_a_broken_file_is_read_when_it_changes(rig: Rig) -> None:
    for n in range(450):
        put_file(rig.home.cards, f"c{n:03}", n=n)
    for n in range(200, 430):
        (rig.home.cards / "p" / f"c{n:03}.toml").write_text("no TOML")
    broken = rig.home.cards / "p" / "c300.toml"
    async with rig.pool() as pool:
        counts = [await result_of(pool, "return #alc.card.list({pkg = 'p'})") for _ in range(2)]
        broken.write_text("n = 300")
        os.utime(broken, (time.time(), time.time() + 5))
        counts.append(await result_of(pool, "return #alc.card.list()"))

    assert counts == [220, 220, 221]


@pytest.mark.slow
async def test_lost_database_is_restored_from_the_files(rig: Rig) -> None:
    async with rig.pool() as pool:
        made = await result_of(pool, ALL_CARD_CHANGES)
        await until(lambda: not rig.workers())  # a worker that leaves removes files of the database itself
    for path in rig.home.state_database.parent.glob("state.db*"):
        path.unlink()
    async with rig.pool() as pool:
        result = await result_of(
            pool, "local c = alc.card.get_by_alias('best') return {c.card_id, c.note, alc.card.read_samples(c.card_id)}"
        )

    assert result == [made, "n", [1, 2]]
