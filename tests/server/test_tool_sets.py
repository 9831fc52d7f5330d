"""Which tools ALC_TOOLS lists, and those of its larger sets through a real server."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.demo import Server, end_workers
from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused
from algocline_mcp.server import app
from tests.rig.hosts import Tools

LIMIT_S = 60.0  # nothing here takes as long, on a busy machine neither; a test that hangs fails after it
CORE = ["alc_run", "alc_continue", "alc_status", "alc_stop", "alc_branch", "alc_catalog"]
ORIGINAL = {
    *("alc_advice", "alc_info", "alc_log_view", "alc_note", "alc_stats"),
    *("alc_pool_status", "alc_pool_ensure", "alc_pool_stop"),
    *("alc_pkg_list", "alc_pkg_install", "alc_pkg_remove", "alc_pkg_link", "alc_pkg_unlink", "alc_pkg_doctor"),
    *("alc_pkg_repair", "alc_pkg_scaffold", "alc_pkg_test", "alc_card_install"),
    *("alc_state_list", "alc_state_show", "alc_state_set", "alc_state_delete", "alc_state_reset"),
    *("alc_card_list", "alc_card_get", "alc_card_find", "alc_card_append", "alc_card_samples", "alc_card_lineage"),
    *("alc_card_alias_set", "alc_card_alias_list", "alc_card_get_by_alias", "alc_card_sink_backfill"),
}
PACKAGE = """\
--- echo: says what it is given
---
--- Options: times.
return {
  meta = { version = "1.2", description = "Says what it is given" },
  run = function(ctx) return { said = alc.llm(ctx.task), times = ctx.times } end,
}
"""


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def look(chosen: str) -> dict[str, dict[str, Any]]:
        monkeypatch.setenv("ALC_TOOLS", chosen)
        monkeypatch.setenv("ALC_HOME", str(tmp_path / "h"))
        return Tools(app.build()).listed()

    return look


def test_each_set_holds_the_smaller_one(listed: Any) -> None:
    assert list(listed("")) == list(listed("core")) == CORE
    assert list(listed("author")) == [*CORE, "alc_package"]
    full = listed("full")
    assert list(full)[:7] == [*CORE, "alc_package"]
    assert set(list(full)[7:]) == ORIGINAL


def test_the_originals_arguments_come_beside_our_own(listed: Any) -> None:
    core, full = listed("core"), listed("full")
    for name, more in (("alc_run", {"host_mode"}), ("alc_status", {"pending_filter", "include_history"})):
        ours, both = core[name]["inputSchema"]["properties"], full[name]["inputSchema"]["properties"]
        assert {name: schema for name, schema in both.items() if name not in more} == ours
        assert more < set(both)
        assert full[name]["description"] == core[name]["description"]
        assert full[name]["annotations"] == core[name]["annotations"]
    for name in CORE[1:2] + CORE[3:]:
        assert full[name] == core[name]


def test_every_tool_forbids_what_it_does_not_know_and_says_what_it_does(listed: Any) -> None:
    for name, tool in listed("full").items():
        assert tool["inputSchema"]["additionalProperties"] is False, name
        assert tool["outputSchema"]["additionalProperties"] is True, name
        assert tool["description"].strip(), name
        is_open = name in ("alc_package", "alc_pkg_install", "alc_pkg_repair", "alc_card_install")
        assert tool["annotations"]["openWorldHint"] is is_open, name


def test_a_set_that_is_none_is_told_by_every_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tools: "Tools"
) -> None:
    monkeypatch.setenv("ALC_TOOLS", "all")
    chosen = Tools(app.build())

    assert list(chosen.listed()) == CORE
    said = chosen.call("alc_status").content[0].text
    assert "ALC_TOOLS='all' is not a set of tools: set it to one of core, author, full" in said


# ── through a real server ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "init.lua").write_text(PACKAGE)
    return tmp_path / "echo"


def _sentence(host: Server, tool: str, **arguments: Any) -> str:
    with pytest.raises(Refused) as caught:
        host.call(tool, **arguments)
    return str(caught.value)


def _until(look: Callable[[], dict[str, Any]], is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is seen once it is so: a session counts when its worker has put its journal away, just after the reply."""
    deadline_s = time.monotonic() + LIMIT_S
    while not is_so(told := look()):
        assert time.monotonic() < deadline_s, told
    return told


def test_a_host_installs_finds_runs_and_removes_a_package(host: Server, source: Path) -> None:
    assert "is not installed" in _sentence(host, "alc_run", strategy="echo")
    told = host.call("alc_package", action="install", source=str(source))
    assert told == {"status": "installed", "installed": ["echo"], "source": str(source)}
    (line,) = host.call("alc_catalog", query="given")["strategies"]
    assert line["about"] == "Says what it is given"
    asked = host.call("alc_run", strategy="echo", task="one", opts={"times": 2, "task": "no"}, ctx={"times": 1})
    end = host.call("alc_continue", session_id=asked["session_id"], response="said")
    assert (asked["prompt"], end["result"]) == ("one", {"said": "said", "times": 2})
    again = host.call("alc_advice", strategy="echo", task="two", opts={"times": 3})
    assert again["prompt"] == "two"
    assert host.call("alc_pool_stop", sid=again["session_id"]) == {"stopped": [again["session_id"]], "errors": []}
    assert host.call("alc_stop", session_id=again["session_id"], mode="delete")["status"] == "deleted"
    shown = _until(lambda: host.call("alc_catalog", name="echo"), lambda shown: shown["runs"] == 1)
    assert (shown["runs"], shown["prompts"], shown["doc"]) == (1, 1, "echo: says what it is given\n\nOptions: times.")
    (line,) = host.call("alc_pkg_list", fields="name,version,type,scope")["packages"]
    assert line == {"name": "echo", "version": "1.2", "type": "strategy", "scope": "global"}
    told = host.call("alc_pkg_doctor")
    assert (told["healthy"], told["spec_missing"]) == (["echo"], ["echo"])
    assert host.call("alc_pkg_remove", name="echo") == {"status": "removed", "removed": ["echo"]}
    assert host.call("alc_package", action="link", source=str(source))["linked"] == ["echo"]
    shutil.rmtree(source)
    assert host.call("alc_pkg_doctor")["symlink_dangling"] == ["echo"]
    assert host.call("alc_pkg_unlink", name="echo")["unlinked"] == "echo"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"action": "update"}, 'action is "update": use one of install, remove, link, unlink'),
        ({"action": "install"}, "install needs a source: a directory, or a git URL"),
        ({"action": "link"}, "link needs a source: a directory"),
        ({"action": "link", "source": "https://x.org/y"}, "only a directory can be linked"),
        ({"action": "remove"}, "remove needs the name of a package"),
        ({"action": "unlink", "name": "a/b"}, "'a/b' is not a package name"),
        ({"action": "install", "source": "/x", "force": "perhaps"}, 'force is "perhaps": give true or false'),
        ({}, "alc_package needs action"),
    ],
)
def test_a_bad_change_of_packages_gets_one_sentence(host: Server, arguments: dict[str, Any], sentence: str) -> None:
    assert sentence in _sentence(host, "alc_package", **arguments)


@pytest.mark.parametrize(
    ("tool", "scope", "sentence"),
    [
        ("alc_pkg_remove", "none", "invalid scope 'none': expected one of project, global, all"),
        ("alc_pkg_remove", "project", "package 'x' is not in HERE/alc.local.toml"),
        ("alc_pkg_remove", "all", "Package 'x' is not installed here"),
        ("alc_pkg_link", "project", "invalid scope 'project': expected one of global, variant"),
        ("alc_pkg_link", "variant", "the source has no package"),
    ],
)
def test_scopes_of_the_original_are_known(host: Server, tool: str, scope: str, sentence: str, tmp_path: Path) -> None:
    here = str(tmp_path)
    more = {"path": here} if tool == "alc_pkg_link" else {}
    told = _sentence(host, tool, name="x", scope=scope, project_root=here, **more)
    assert sentence.replace("HERE", here) in told
    if scope in ("project", "variant") and "invalid" not in sentence:
        none = f"scope {scope} needs a project, but /nowhere is not a directory: give its project_root"
        assert none in _sentence(host, tool, name="x", scope=scope, project_root="/nowhere", **more)


def test_a_package_is_linked_in_one_project_alone_and_taken_out_again(
    host: Server, source: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    told = host.call("alc_pkg_link", path=str(source), scope="variant", project_root=str(project))
    file = project / "alc.local.toml"
    assert told == {"status": "linked", "linked": ["echo"], "scope": "variant", "alc_local_toml": str(file)}
    assert "force needs scope global" in _sentence(host, "alc_pkg_link", path=str(source), scope="variant", force=True)
    assert host.call("alc_run", strategy="echo", task="t", project_root=str(project))["prompt"] == "t"
    assert "is not installed" in _sentence(host, "alc_run", strategy="echo", task="t")
    (line,) = host.call("alc_pkg_list", project_root=str(project), filter={"scope": "variant"})["packages"]
    assert (line["name"], line["resolved_source_path"]) == ("echo", str(source))
    again = {"name": "echo", "scope": "project", "project_root": str(project)}
    assert "is version 1.2, not 2: nothing was removed" in _sentence(host, "alc_pkg_remove", version="2", **again)
    gone = {"status": "removed", "removed": ["echo"], "alc_local_toml": str(file)}
    assert host.call("alc_pkg_remove", version="1.2", **again) == gone
    assert "package 'echo' is not in " in _sentence(host, "alc_pkg_remove", **again)
    host.call("alc_pkg_link", path=str(source), scope="variant", project_root=str(project))
    host.call("alc_pkg_install", url=str(source))
    assert host.call("alc_pkg_remove", **again | {"scope": "all"}) == {"status": "removed", "removed": ["echo"]}
    assert "is not installed here" in _sentence(host, "alc_pkg_remove", **again | {"scope": "all"})
    assert file.read_text() == "[packages]\n"
    for each in host.call("alc_status")["sessions"]:
        host.call("alc_stop", session_id=each["session_id"], mode="delete")


def test_packages_are_listed_in_the_order_and_the_fields_that_are_asked_for(host: Server, source: Path) -> None:
    for name in ("one", "two", "three"):
        host.call("alc_pkg_install", url=str(source), name=name)
    broken = Path(host.call("alc_info")["packages_dir"]) / "broken"
    broken.mkdir()
    (broken / "init.lua").write_bytes(b"\xff")
    host.call("alc_pkg_link", path=str(source), name="linked")

    def names(**arguments: Any) -> list[str]:
        return [each["name"] for each in host.call("alc_pkg_list", **arguments)["packages"]]

    assert names() == ["broken", "linked", "three", "two", "one"]  # the newest first, as there
    assert names(sort="name", limit=2) == ["broken", "linked"]
    assert names(sort="-name", limit=0) == ["two", "three", "one", "linked", "broken"]
    assert names(filter="given ONE") == ["one"]
    assert names(filter='{"linked": true}') == ["linked"]
    (full,) = host.call("alc_pkg_list", filter="one", verbose="full")["packages"]
    meta = {"name": "one", "version": "1.2", "category": None, "description": "Says what it is given"}
    assert (full["meta"], full["install_source"], full["linked"]) == (meta, str(source), False)
    (bad,) = host.call("alc_pkg_list", filter={"broken": True}, fields="name,error")["packages"]
    assert bad == {"name": "broken", "error": "its source cannot be read"}
    assert set(host.call("alc_pkg_list", limit=1)["packages"][0]) == {
        "name", "scope", "version", "active", "resolved_source_path", "resolved_source_kind", "type",
    }  # fmt: skip
    assert "sort has 'size'" in _sentence(host, "alc_pkg_list", sort="size")
    assert 'invalid verbose value "most"' in _sentence(host, "alc_pkg_list", verbose="most")
    shutil.rmtree(broken)
    host.call("alc_pkg_unlink", name="linked")
    for name in ("one", "two", "three"):
        host.call("alc_pkg_remove", name=name)


def test_status_shows_the_originals_snapshot_as_well(host: Server) -> None:
    sid = host.call("alc_run", code='alc.progress(1, 5, "a") return alc.llm("?")', host_mode=True)["session_id"]
    one = host.call("alc_status", session_id=sid, pending_filter="meta", include_history=True)
    assert (one["status"], one["prompt"], one["state"], one["phase"]) == ("needs_response", "?", "paused", "paused")
    assert one["pending"] == [{"query_id": "q-0", "max_tokens": 1024}]
    assert one["metrics"]["conversation_history"] == []
    assert one["metrics"]["progress"]["total"] == 5
    (line,) = host.call("alc_status", pending_filter={"prompt": {"mode": "full"}})["sessions"]
    assert (line["session_id"], line["worker"], line["pending"]) == (sid, "live", [{"prompt": "?"}])
    (entry,) = host.call("alc_pool_status", sid=sid)["sessions"]
    assert entry.keys() == {"sid", "pid", "sock", "version", "created_at", "status"}
    assert host.call("alc_pool_ensure")["sessions"][0]["pid"] == entry["pid"]
    assert host.call("alc_pool_stop") == {"stopped": [sid], "errors": []}
    assert host.call("alc_pool_status")["sessions"] == []
    assert host.call("alc_pool_stop", sid=sid) == {"stopped": [], "errors": []}
    assert host.call("alc_continue", session_id=sid, response="!")["result"] == "!"
    assert host.call("alc_note", session_id=sid, content="good") == {"session_id": sid, "notes_count": 1}
    assert host.call("alc_log_view", session_id=sid)["transcript"][0]["response"] == "!"
    _until(lambda: host.call("alc_log_view"), lambda told: sid in [each["session_id"] for each in told["sessions"]])
    assert host.call("alc_stats")["strategies"]["unknown"]["count"] >= 1
    assert "unknown pending_filter preset 'bogus'" in _sentence(host, "alc_status", pending_filter="bogus")
    assert "got bool" in _sentence(host, "alc_status", pending_filter=True)
    assert host.call("alc_status") == {"active_sessions": 0, "sessions": []}


def test_a_snapshot_leaves_room_for_what_the_host_shows() -> None:
    home = Home(Path(os.path.realpath(tempfile.mkdtemp(prefix="alc"))) / "h")
    try:
        with Server.start(home, ALC_TOOLS="full", ALC_OUTPUT_BYTES="4000") as host:
            code = 'return alc.llm(("x"):rep(3000))'
            _, sid = [host.call("alc_run", code=code)["session_id"] for _ in range(2)]
            one = host.call("alc_status", session_id=sid, pending_filter="full")
            many = host.call("alc_status", pending_filter="full")
        assert [len(json.dumps(told, separators=(",", ":"))) <= 4000 for told in (one, many)] == [True, True]
        assert (one["prompt"], "pending" in one, one["metrics"]["rounds"]) == ("x" * 3000, False, 0)
        assert sum("metrics" in line for line in many["sessions"]) < 2
    finally:
        end_workers(home)
        shutil.rmtree(home.root.parent)


def test_state_is_changed_exactly_as_a_strategy_would(host: Server) -> None:
    where = {"namespace": "n", "key": "k"}
    assert host.call("alc_state_set", **where, value={"steps": {"a": 1, "b": 2}, "x": [None]}) == {"ok": True}
    assert host.call("alc_state_list", namespace="n") == {"keys": ["k"]}
    told = host.call("alc_state_reset", **where, steps=["a", "z"], fields="x")
    assert (told["steps_removed"], told["fields_removed"]) == (["a"], ["x"])
    assert host.call("alc_state_show", **where)["value"] == {"steps": {"b": 2}}
    assert host.call("alc_catalog", kind="state", name=told["backup_path"])["value"]["x"] == [None]
    assert host.call("alc_state_delete", **where) == {"ok": True, "existed": True}
    assert host.call("alc_state_delete", **where) == {"ok": True, "existed": False}
    assert "key 'k' not found in namespace 'n'" in _sentence(host, "alc_state_show", **where)
    said = _sentence(host, "alc_state_set", namespace="a/b", key="k", value=1)
    assert said.startswith("Invalid namespace: 'a/b'")
    assert "\n" not in said


_MAKE = """
local first = alc.card.create({ pkg = { name = "cot" }, stats = { pass_rate = 0.5 } })
alc.card.write_samples(first.card_id, { { score = 1 }, { score = 0 } })
local origin = { prior_card_id = first.card_id, prior_relation = "rerun" }
return { first.card_id, alc.card.create({ pkg = { name = "cot" }, metadata = origin }).card_id }
"""


def test_cards_are_found_and_added_to_as_a_strategy_would(host: Server) -> None:
    assert host.call("alc_card_list", pkg="cot") == {"cards": []}
    first, second = host.call("alc_run", code=_MAKE)["result"]
    assert {each["card_id"] for each in host.call("alc_card_list", pkg="cot")["cards"]} == {first, second}
    assert {each["card_id"] for each in host.call("alc_catalog", kind="cards")["cards"]} >= {first, second}
    where = {"stats": {"pass_rate": {"gte": 0.5}}}
    assert [each["card_id"] for each in host.call("alc_card_find", pkg="cot", where=where, limit=5)["cards"]] == [first]
    assert host.call("alc_card_append", card_id=first, fields={"note": "n"})["note"] == "n"
    assert _sentence(host, "alc_card_append", card_id=first, fields={"note": "n"}).startswith(
        "alc.card.append: key 'note'"
    )
    assert host.call("alc_card_get", card_id=first)["note"] == "n"
    assert host.call("alc_catalog", kind="cards", name=first)["card"]["note"] == "n"
    assert host.call("alc_card_samples", card_id=first, where={"score": 0})["samples"] == [{"score": 0}]
    nodes = host.call("alc_card_lineage", card_id=second, direction="up", include_stats=False)["nodes"]
    assert [each["card_id"] for each in nodes] == [second, first]
    assert host.call("alc_card_alias_set", name="best", card_id=second, note="z")["card_id"] == second
    assert host.call("alc_card_get_by_alias", name="best")["card_id"] == second
    assert [each["name"] for each in host.call("alc_card_alias_list")["aliases"]] == ["best"]
    assert "card 'x' not found" in _sentence(host, "alc_card_get", card_id="x")
    assert "is none of" in _sentence(host, "alc_card_sink_backfill", sink="file:///nowhere", dry_run=True)


def test_a_package_is_begun_linked_run_and_what_was_broken_is_brought_again(
    host: Server, source: Path, tmp_path: Path
) -> None:
    said = 'Says "so"\\ \n twice'
    told = host.call("alc_pkg_scaffold", name="mine", target_dir=str(tmp_path), description=said, category="a")
    assert told == {"status": "ok", "path": str(tmp_path / "mine" / "init.lua"), "bytes_written": told["bytes_written"]}
    assert "exists already" in _sentence(host, "alc_pkg_scaffold", name="mine", target_dir=str(tmp_path))
    assert "is not a package name" in _sentence(host, "alc_pkg_scaffold", name="Mine", target_dir=str(tmp_path))
    assert "give an existing directory" in _sentence(host, "alc_pkg_scaffold", name="x", target_dir="/nowhere")
    host.call("alc_pkg_link", path=str(tmp_path / "mine"))
    (line,) = host.call("alc_catalog", query="twice")["strategies"]
    assert (line["name"], line["about"]) == ("mine", 'Says "so"\\ twice')
    asked = host.call("alc_advice", strategy="mine", task="t")
    assert host.call("alc_continue", session_id=asked["session_id"], response="a")["result"]["result"] == "a"

    host.call("alc_pkg_install", url=str(source))
    (Path(host.call("alc_info")["packages_dir"]) / "echo" / "init.lua").unlink()
    shutil.rmtree(tmp_path / "mine")
    told = host.call("alc_pkg_repair")
    assert (told["repaired"], [each["name"] for each in told["unrepairable"]]) == (["echo"], ["mine"])
    assert f"it is linked to {tmp_path / 'mine'}" in told["unrepairable"][0]["reason"]
    assert host.call("alc_pkg_repair", name="echo") == {
        "repaired": [], "skipped": ["echo"], "unrepairable": [], "failed": [],
    }  # fmt: skip
    host.call("alc_pkg_unlink", name="mine")
    host.call("alc_pkg_remove", name="echo")


def test_a_package_is_tested_in_the_originals_words(host: Server, source: Path) -> None:
    (source / "spec").mkdir()
    spec = "lust.it('has a run', function() lust.expect(require('echo').run).to.be.a('function') end)"
    (source / "spec" / "echo_spec.lua").write_text(spec)
    host.call("alc_pkg_link", path=str(source))
    assert host.call("alc_pkg_doctor", name="echo")["spec_missing"] == []
    told = host.call("alc_pkg_test", pkg="echo", filter="echo")
    assert told.keys() == {
        "passed", "failed", "pending", "total", "duration_ms", "spec_files", "resolved_search_paths",
    }  # fmt: skip
    assert (told["passed"], told["failed"], told["spec_files"]) == (1, 0, ["spec/echo_spec.lua"])
    assert host.call("alc_pkg_test", code_file=str(source / "spec" / "echo_spec.lua"))["passed"] == 1
    alone = host.call("alc_pkg_test", code="lust.it('a', error)", search_paths=[str(source.parent), "/nowhere"])
    assert (alone["failed"], alone["failures"][0]["name"]) == (1, "a")
    assert alone["search_path_warnings"] == ["search path /nowhere is not a directory"]
    host.call("alc_pkg_unlink", name="echo")
    for arguments in ({}, {"pkg": "echo", "code": ""}):
        assert "Provide exactly one of: pkg, code_file, code." in _sentence(host, "alc_pkg_test", **arguments)
    assert "there is no package 'echo'" in _sentence(host, "alc_pkg_test", pkg="echo")
    assert host.call("alc_status") == {"active_sessions": 0, "sessions": []}


def test_cards_of_others_arrive_once_and_with_their_samples(host: Server, tmp_path: Path) -> None:
    (tmp_path / "cards" / "vote").mkdir(parents=True)
    place = tmp_path / "cards" / "vote"
    assert "the source has no card" in _sentence(host, "alc_card_install", url=str(tmp_path))
    (place / "good.toml").write_text('schema_version = "card/v0"\nnote = "theirs"\n[pkg]\nname = "vote"\n')
    (place / "good.samples.jsonl").write_text('{"score": 7}\n')
    (place / "bad.toml").write_text("= no TOML")
    told = host.call("alc_card_install", url=str(tmp_path))
    assert (told["installed"], told["skipped"], told["failures"][0]["card"]) == (["good"], [], "bad")
    assert host.call("alc_card_get", card_id="good")["note"] == "theirs"
    assert host.call("alc_card_samples", card_id="good")["samples"] == [{"score": 7}]
    (place / "outside.toml").symlink_to("/etc/hostname")
    (place / "later.toml").write_text('note = "x"')
    assert "leaves the source" in _sentence(host, "alc_card_install", url=str(tmp_path))
    assert "card 'later' not found" in _sentence(host, "alc_card_get", card_id="later")
    (place / "outside.toml").unlink()
    told = host.call("alc_card_install", url=str(tmp_path))
    assert (told["installed"], told["skipped"]) == (["later"], ["good"])


def test_info_names_what_the_original_does(host: Server) -> None:
    told = host.call("alc_info")

    assert told.keys() >= {"version", "preset_catalog_version", "log_dir", "log_enabled", "tracing", "search_paths"}
    assert told["settings"]["ALC_TOOLS"] == "full"
    assert json.dumps(told)
