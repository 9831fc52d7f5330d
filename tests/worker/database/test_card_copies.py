"""Copies of cards in files: in the home after each change, and in the sinks of ALC_CARD_SINKS."""

import os
import tomllib

import pytest

from tests.rig.rig import Rig
from tests.worker.database.steps import ALL_CARD_CHANGES, result_of

pytestmark = pytest.mark.anyio


async def test_copy_equals_the_card_and_the_result_names_its_path(rig: Rig) -> None:
    code = """
    local made = alc.card.create({ pkg = { name = "p" }, stats = { n = 3, rate = 0.5 } })
    return { made, alc.card.write_samples(made.card_id, { { a = 1 }, "b" }), alc.card.get(made.card_id) }
    """
    async with rig.pool() as pool:
        made, written, card = await result_of(pool, code)

    path = rig.home.cards / "p" / f"{made['card_id']}.toml"
    assert tomllib.loads(path.read_text()) == card
    assert made == {"card_id": made["card_id"], "path": str(path)}
    assert written == {"path": str(path.with_suffix(".samples.jsonl")), "count": 2}
    assert path.with_suffix(".samples.jsonl").read_text() == '{"a":1}\n"b"\n'


async def test_copy_that_cannot_be_written_is_a_warning_and_the_card_is_stored(rig: Rig) -> None:
    rig.home.root.mkdir(parents=True, exist_ok=True)
    rig.home.cards.write_text("a file where the directory should be")
    async with rig.pool() as pool:
        made, count = await result_of(pool, "return {alc.card.create({pkg = {name = 'p'}}), #alc.card.list()}")

    assert made["warning"].startswith(f"no copy in {rig.home.cards}: ")
    assert count == 1


@pytest.mark.slow
async def test_sinks_get_copies_and_a_backfill_adds_missing_copies(rig: Rig) -> None:
    sink = rig.root / "sink"
    async with rig.pool() as pool:
        made = await result_of(pool, ALL_CARD_CHANGES)
    environ = {**os.environ, "ALC_CARD_SINKS": f"file://{sink}"}
    code = f"""
    local second = alc.card.create({{ pkg = {{ name = "p" }} }}).card_id
    local sink = {{ sink = "file://{sink}", dry_run = true }}
    local dry = alc.card.sink_backfill(sink)
    sink.dry_run = nil
    local wet, is_elsewhere = alc.card.sink_backfill(sink), pcall(alc.card.sink_backfill, {{ sink = "file:///else" }})
    return {{ second, dry, wet, is_elsewhere }}
    """
    async with rig.pool(environ=environ) as pool:
        second, dry, wet, is_elsewhere = await result_of(pool, code)

    report = {"sink": f"file://{sink}", "pushed": [made], "skipped": [second], "failed": [], "pushed_samples": [made]}
    assert (dry, wet, is_elsewhere) == (report, report, False)
    assert {path.name for path in (sink / "p").iterdir()} == {f"{made}.toml", f"{made}.samples.jsonl", f"{second}.toml"}
