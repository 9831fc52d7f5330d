"""Upstream's tools for cards, through a real server."""

from pathlib import Path

import pytest

from algocline_mcp.cli.demo import Server
from tests.rig.full_server import refusal_of_call

_MAKE = """
local first = alc.card.create({ pkg = { name = "cot" }, stats = { pass_rate = 0.5 } })
alc.card.write_samples(first.card_id, { { score = 1 }, { score = 0 } })
local origin = { prior_card_id = first.card_id, prior_relation = "rerun" }
return { first.card_id, alc.card.create({ pkg = { name = "cot" }, metadata = origin }).card_id }
"""


def test_cards_are_found_and_extended_exactly_as_by_a_strategy(host: Server) -> None:
    assert host.call("alc_card_list", pkg="cot") == {"cards": []}
    first, second = host.call("alc_run", code=_MAKE)["result"]
    assert {line["card_id"] for line in host.call("alc_card_list", pkg="cot")["cards"]} == {first, second}
    assert {line["card_id"] for line in host.call("alc_catalog", kind="cards")["cards"]} >= {first, second}
    where = {"stats": {"pass_rate": {"gte": 0.5}}}
    assert [line["card_id"] for line in host.call("alc_card_find", pkg="cot", where=where, limit=5)["cards"]] == [first]
    assert host.call("alc_card_append", card_id=first, fields={"note": "n"})["note"] == "n"
    assert refusal_of_call(host, "alc_card_append", card_id=first, fields={"note": "n"}).startswith(
        "alc.card.append: key 'note'"
    )
    assert host.call("alc_card_get", card_id=first)["note"] == "n"
    assert host.call("alc_catalog", kind="cards", name=first)["card"]["note"] == "n"
    assert host.call("alc_card_samples", card_id=first, where={"score": 0})["samples"] == [{"score": 0}]
    nodes = host.call("alc_card_lineage", card_id=second, direction="up", include_stats=False)["nodes"]
    assert [line["card_id"] for line in nodes] == [second, first]
    assert host.call("alc_card_alias_set", name="best", card_id=second, note="z")["card_id"] == second
    assert host.call("alc_card_get_by_alias", name="best")["card_id"] == second
    assert [line["name"] for line in host.call("alc_card_alias_list")["aliases"]] == ["best"]
    assert "card 'x' not found" in refusal_of_call(host, "alc_card_get", card_id="x")
    assert "is none of" in refusal_of_call(host, "alc_card_sink_backfill", sink="file:///nowhere", dry_run=True)


@pytest.mark.slow
def test_cards_are_installed_once_and_with_their_samples(host: Server, tmp_path: Path) -> None:
    (tmp_path / "cards" / "vote").mkdir(parents=True)
    directory = tmp_path / "cards" / "vote"
    assert "the source has no card" in refusal_of_call(host, "alc_card_install", url=str(tmp_path))
    (directory / "good.toml").write_text('schema_version = "card/v0"\nnote = "theirs"\n[pkg]\nname = "vote"\n')
    (directory / "good.samples.jsonl").write_text('{"score": 7}\n')
    (directory / "bad.toml").write_text("= no TOML")
    result = host.call("alc_card_install", url=str(tmp_path))
    assert (result["installed"], result["skipped"], result["failures"][0]["card"]) == (["good"], [], "bad")
    assert host.call("alc_card_get", card_id="good")["note"] == "theirs"
    assert host.call("alc_card_samples", card_id="good")["samples"] == [{"score": 7}]
    (directory / "outside.toml").symlink_to("/etc/hostname")
    (directory / "later.toml").write_text('note = "x"')
    assert "leaves the source" in refusal_of_call(host, "alc_card_install", url=str(tmp_path))
    assert "card 'later' not found" in refusal_of_call(host, "alc_card_get", card_id="later")
    (directory / "outside.toml").unlink()
    result = host.call("alc_card_install", url=str(tmp_path))
    assert (result["installed"], result["skipped"]) == (["later"], ["good"])
