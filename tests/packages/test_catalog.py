"""The catalog: strategies, packages, cards and state, page by page."""

import contextlib
import json
import sqlite3
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import StorageFailed
from algocline_mcp.history import run_stats
from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog
from algocline_mcp.pool.dispatch import Strategy, run_via_pool
from tests.packages.steps import RUNS, refusal
from tests.rig.rig import SOON_S, WAIT_S, Rig, finish, run

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_the_catalog_shows_the_medians_of_past_runs(rig: Rig) -> None:
    code = RUNS % (1, "") + "\n"
    (rig.home.packages / "one").mkdir(parents=True)
    (rig.home.packages / "one" / "init.lua").write_text(code)
    async with rig.pool() as pool:
        for answer in ("a", "b" * 400, "c" * 4000):
            reply = await run_via_pool(pool, Strategy(code, "one", {"task": "?"}, name="one"), wait_s=WAIT_S)
            await finish(pool, reply, answer)
            await pool.wait_for_exit(reply.session_id, SOON_S)  # its worker has put its journal away by then
        await run_via_pool(pool, Strategy("return { run = error }", "one", name="one"), wait_s=WAIT_S)
        page = catalog(PackageContext(rig.home, Limits(), {}), "strategies", CatalogQuery())

    assert {"name": "one", "about": "", "runs": 3, "prompts": 1, "tokens": 101} in page["strategies"]


def test_internal_packages_are_shown_by_name_alone(home: Home) -> None:
    context = PackageContext(home, Limits(), {})
    (home.packages / "evalframe").mkdir(parents=True)

    def listed(kind: str) -> set[str]:
        return {entry["name"] for entry in catalog(context, kind, CatalogQuery(limit=100))[kind]}

    assert listed("packages") == listed("strategies")
    assert "review" in listed("packages")
    assert catalog(context, "packages", CatalogQuery("alc_rounds"))["type"] == "library"
    assert "nearest: alc_r" not in refusal(lambda: catalog(context, "packages", CatalogQuery("alc_round")))
    (home.packages / "evalframe" / "init.lua").write_text("return { meta = { type = 'library' } }")
    assert listed("packages") - listed("strategies") == {"evalframe"}, "an installed one is the user's"


def test_run_stats_read_a_bounded_number_of_journals(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.finished.mkdir(parents=True)
    for number in range(5):
        (home.finished / f"p-{number}-0123456789abcdef.journal").write_bytes(b"broken\n")
    read: list[str] = []
    monkeypatch.setattr(run_stats, "NEWEST", 3)
    monkeypatch.setattr(run_stats, "_read", lambda path: read.append(path.name))

    assert run_stats.runs(home) == []
    assert run_stats.runs(home) == []
    assert read == [f"p-{number}-0123456789abcdef.journal" for number in (4, 3, 2)]


async def test_state_is_shown_as_it_was_stored(rig: Rig) -> None:
    context = PackageContext(rig.home, Limits(), {})
    assert catalog(context, "state", CatalogQuery()) == {"state": [], "total": 0}
    code = "for i = 1, 3 do alc.state.set('k' .. i, {n = i}) end alc.state.set('long', ('x'):rep(70000))"
    async with rig.pool() as pool:
        await run(pool, code)
        await run(pool, "alc.state.set('a/b', 1)", ctx={"_ns": "other"})

    assert catalog(context, "state", CatalogQuery())["state"] == [
        {"name": "default", "keys": 4},
        {"name": "other", "keys": 1},
    ]
    page = catalog(context, "state", CatalogQuery("default", limit=2))
    assert page == {
        "state": [{"key": "k1", "value": '{"n":1}'}, {"key": "k2", "value": '{"n":2}'}],
        "namespace": "default",
        "total": 4,
        "cursor": "k2",
    }
    assert [entry["key"] for entry in catalog(context, "state", CatalogQuery("default", cursor="k2"))["state"]] == [
        "k3",
        "long",
    ]
    assert [entry["key"] for entry in catalog(context, "state", CatalogQuery("default", words="ON"))["state"]] == [
        "long"
    ]
    assert catalog(context, "state", CatalogQuery("default/k1"))["value"] == {"n": 1}
    assert catalog(context, "state", CatalogQuery("other/a/b"))["value"] == 1
    cut = catalog(context, "state", CatalogQuery("default/long"))
    assert (len(cut["value"]), cut["warnings"]) == (60_000, ["cut: the value has 70002 characters as JSON"])
    assert "has no key 'k9'" in refusal(catalog, context, "state", CatalogQuery("default/k9"))


def test_cards_are_listed_newest_first_and_shown_in_full_by_id(home: Home) -> None:
    context = PackageContext(home, Limits(), {})
    assert catalog(context, "cards", CatalogQuery()) == {"cards": [], "total": 0}
    home.state_database.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(home.state_database)) as database:
        database.execute("CREATE TABLE cards (card_id TEXT, created_at TEXT, summary TEXT, card TEXT)")
        for number in range(3):
            line = {"card_id": f"c{number}", "pkg": "cot" if number else "tot", "pass_rate": number / 2}
            row = (
                f"c{number}",
                f"2026-01-0{number + 1}",
                json.dumps(line),
                json.dumps(line | {"stats": {"n": number}}),
            )
            database.execute("INSERT INTO cards VALUES (?, ?, ?, ?)", row)
        database.commit()

    def ids(**query: Any) -> tuple[list[str], int, str | None]:
        page = catalog(context, "cards", CatalogQuery(**query))
        return [line["card_id"] for line in page["cards"]], page["total"], page.get("cursor")

    assert ids() == (["c2", "c1", "c0"], 3, None)
    assert ids(limit=2) == (["c2", "c1"], 3, "c1")
    assert ids(limit=2, cursor="c1") == (["c0"], 3, None)
    assert ids(words="cot") == (["c2", "c1"], 2, None)
    assert catalog(context, "cards", CatalogQuery("c1"))["card"]["stats"] == {"n": 1}
    assert "there is no card 'c9'; nearest: c2, c1, c0; alc_catalog(kind=\"cards\") lists all" in refusal(
        catalog, context, "cards", CatalogQuery("c9")
    )


def test_a_broken_database_is_an_error_with_its_cure(home: Home) -> None:
    home.state_database.parent.mkdir(parents=True)
    home.state_database.write_bytes(b"no database at all" * 300)

    for kind in ("state", "cards"):
        with pytest.raises(StorageFailed, match=r"cannot read .*state.db: file is not a database; restore it"):
            catalog(PackageContext(home, Limits(), {}), kind, CatalogQuery())


def test_the_cursor_continues_after_the_previous_page(home: Home) -> None:
    for name in "abcde":
        (home.packages / name).mkdir(parents=True)
        text = (
            f"return {{ meta = {{ description = 'letter {name} {'vowel' if name in 'ae' else 'other'}' }}, run = 1 }}"
        )
        (home.packages / name / "init.lua").write_text(text)
    context = PackageContext(home, Limits(), {})

    def names(**query: Any) -> tuple[list[str], int, str | None]:
        page = catalog(context, "strategies", CatalogQuery(**{"words": "letter"} | query))
        return [line["name"] for line in page["strategies"]], page["total"], page.get("cursor")

    assert names(limit=2) == (["a", "b"], 5, "b")
    assert names(limit=3, cursor="b") == (["c", "d", "e"], 5, None)
    assert names(words="VOWEL letter") == (["a", "e"], 2, None)
    assert names(words="nothing") == ([], 0, None)
    assert catalog(context, "strategies", CatalogQuery("a"))["run"].startswith('alc_run(strategy="a"')
    assert "nearest: a" in refusal(catalog, context, "packages", CatalogQuery("aa"))


def test_help_is_found_by_topic_function_and_words(home: Home) -> None:
    context = PackageContext(home, Limits(), {})

    listed = catalog(context, "help", CatalogQuery())
    assert [entry["name"] for entry in listed["help"]][:3] == ["strategies", "asking", "answers"]
    assert listed["total"] == len(listed["help"]) == 13
    assert [entry["name"] for entry in catalog(context, "help", CatalogQuery(words="gather"))["help"]] == [
        "asking",
        "asyncio",
    ]
    for name in ("answers", "alc.match_enum"):
        shown = catalog(context, "help", CatalogQuery(name))
        assert (shown["name"], shown["text"].startswith("# Answers: ")) == ("answers", True)
    assert refusal(lambda: catalog(context, "help", CatalogQuery("llm_jsn"))) == (
        "there is no help on 'llm_jsn'; nearest: alc.llm_json; alc_catalog(kind=\"help\") lists the pages"
    )
