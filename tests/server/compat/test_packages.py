"""Upstream's tools for packages, through a real server."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.demo import Server
from tests.rig.full_server import refusal_of_call


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
def test_scopes_of_upstream_are_known(host: Server, tool: str, scope: str, sentence: str, tmp_path: Path) -> None:
    here = str(tmp_path)
    more = {"path": here} if tool == "alc_pkg_link" else {}
    result = refusal_of_call(host, tool, name="x", scope=scope, project_root=here, **more)
    assert sentence.replace("HERE", here) in result
    if scope in ("project", "variant") and "invalid" not in sentence:
        none = f"scope {scope} needs a project, but /nowhere is not a directory: give its project_root"
        assert none in refusal_of_call(host, tool, name="x", scope=scope, project_root="/nowhere", **more)


def test_a_package_is_linked_in_one_project_alone_and_unlinked(
    host: Server, echo_package: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    result = host.call("alc_pkg_link", path=str(echo_package), scope="variant", project_root=str(project))
    file = project / "alc.local.toml"
    assert result == {"status": "linked", "linked": ["echo"], "scope": "variant", "alc_local_toml": str(file)}
    assert "force needs scope global" in refusal_of_call(
        host, "alc_pkg_link", path=str(echo_package), scope="variant", force=True
    )
    assert host.call("alc_run", strategy="echo", task="t", project_root=str(project))["prompt"] == "t"
    assert "is not installed" in refusal_of_call(host, "alc_run", strategy="echo", task="t")
    (line,) = host.call("alc_pkg_list", project_root=str(project), filter={"scope": "variant"})["packages"]
    assert (line["name"], line["resolved_source_path"]) == ("echo", str(echo_package))
    again = {"name": "echo", "scope": "project", "project_root": str(project)}
    assert "is version 1.2, not 2: nothing was removed" in refusal_of_call(host, "alc_pkg_remove", version="2", **again)
    gone = {"status": "removed", "removed": ["echo"], "alc_local_toml": str(file)}
    assert host.call("alc_pkg_remove", version="1.2", **again) == gone
    assert "package 'echo' is not in " in refusal_of_call(host, "alc_pkg_remove", **again)
    host.call("alc_pkg_link", path=str(echo_package), scope="variant", project_root=str(project))
    host.call("alc_pkg_install", url=str(echo_package))
    assert host.call("alc_pkg_remove", **again | {"scope": "all"}) == {"status": "removed", "removed": ["echo"]}
    assert "is not installed here" in refusal_of_call(host, "alc_pkg_remove", **again | {"scope": "all"})
    assert file.read_text() == "[packages]\n"
    for line in host.call("alc_status")["sessions"]:
        host.call("alc_stop", session_id=line["session_id"], mode="delete")


@pytest.mark.slow
def test_packages_are_listed_in_the_requested_order_and_fields(host: Server, echo_package: Path) -> None:
    for name in ("one", "two", "three"):
        host.call("alc_pkg_install", url=str(echo_package), name=name)
    broken = Path(host.call("alc_info")["packages_dir"]) / "broken"
    broken.mkdir()
    (broken / "init.lua").write_bytes(b"\xff")
    host.call("alc_pkg_link", path=str(echo_package), name="linked")

    def names(**arguments: Any) -> list[str]:
        own = {"filter": {"scope": "global"}} | arguments
        return [line["name"] for line in host.call("alc_pkg_list", **own)["packages"]]

    assert names() == ["broken", "linked", "three", "two", "one"]  # the newest first, as there
    assert names(sort="name", limit=2) == ["broken", "linked"]
    assert names(sort="-name", limit=0) == ["two", "three", "one", "linked", "broken"]
    assert names(filter="given ONE") == ["one"]
    assert names(filter='{"linked": true}') == ["linked"]
    (full,) = host.call("alc_pkg_list", filter={"name": "one"}, verbose="full")["packages"]
    meta = {"name": "one", "version": "1.2", "category": None, "description": "Says what it is given"}
    assert (full["meta"], full["install_source"], full["linked"]) == (meta, str(echo_package), False)
    (bad,) = host.call("alc_pkg_list", filter={"broken": True}, fields="name,error")["packages"]
    assert bad == {"name": "broken", "error": "its source cannot be read"}
    assert set(host.call("alc_pkg_list", limit=1)["packages"][0]) == {
        "name", "scope", "version", "active", "resolved_source_path", "resolved_source_kind", "type",
    }  # fmt: skip
    assert "sort has 'size'" in refusal_of_call(host, "alc_pkg_list", sort="size")
    assert 'invalid verbose value "most"' in refusal_of_call(host, "alc_pkg_list", verbose="most")
    shutil.rmtree(broken)
    host.call("alc_pkg_unlink", name="linked")
    for name in ("one", "two", "three"):
        host.call("alc_pkg_remove", name=name)


def test_a_package_is_scaffolded_linked_run_and_repaired(host: Server, echo_package: Path, tmp_path: Path) -> None:
    said = 'Says "so"\\ \n twice'
    result = host.call("alc_pkg_scaffold", name="mine", target_dir=str(tmp_path), description=said, category="a")
    assert result == {
        "status": "ok",
        "path": str(tmp_path / "mine" / "__init__.py"),
        "bytes_written": result["bytes_written"],
    }
    in_lua = host.call("alc_pkg_scaffold", name="other", target_dir=str(tmp_path), language="lua")
    assert in_lua["path"] == str(tmp_path / "other" / "init.lua")
    assert "exists already" in refusal_of_call(host, "alc_pkg_scaffold", name="mine", target_dir=str(tmp_path))
    assert "is not a package name" in refusal_of_call(host, "alc_pkg_scaffold", name="Mine", target_dir=str(tmp_path))
    assert "give an existing directory" in refusal_of_call(host, "alc_pkg_scaffold", name="x", target_dir="/nowhere")
    host.call("alc_pkg_link", path=str(tmp_path / "mine"))
    (line,) = host.call("alc_catalog", query="twice")["strategies"]
    assert (line["name"], line["about"]) == ("mine", 'Says "so"\\ twice')
    asked = host.call("alc_advice", strategy="mine", task="t")
    assert host.call("alc_continue", session_id=asked["session_id"], response="a")["result"]["result"] == "a"

    host.call("alc_pkg_install", url=str(echo_package))
    (Path(host.call("alc_info")["packages_dir"]) / "echo" / "init.lua").unlink()
    shutil.rmtree(tmp_path / "mine")
    result = host.call("alc_pkg_repair")
    assert (result["repaired"], [line["name"] for line in result["unrepairable"]]) == (["echo"], ["mine"])
    assert f"it is linked to {tmp_path / 'mine'}" in result["unrepairable"][0]["reason"]
    assert host.call("alc_pkg_repair", name="echo") == {
        "repaired": [], "skipped": ["echo"], "unrepairable": [], "failed": [],
    }  # fmt: skip
    host.call("alc_pkg_unlink", name="mine")
    host.call("alc_pkg_remove", name="echo")


@pytest.mark.slow
def test_a_package_is_tested_with_the_result_fields_of_upstream(host: Server, echo_package: Path) -> None:
    (echo_package / "spec").mkdir()
    spec = "lust.it('has a run', function() lust.expect(require('echo').run).to.be.a('function') end)"
    (echo_package / "spec" / "echo_spec.lua").write_text(spec)
    host.call("alc_pkg_link", path=str(echo_package))
    assert host.call("alc_pkg_doctor", name="echo")["spec_missing"] == []
    result = host.call("alc_pkg_test", pkg="echo", filter="echo")
    assert result.keys() == {
        "passed", "failed", "pending", "total", "duration_ms", "spec_files", "resolved_search_paths",
    }  # fmt: skip
    assert (result["passed"], result["failed"], result["spec_files"]) == (1, 0, ["spec/echo_spec.lua"])
    spec_file = {"code_file": "spec/echo_spec.lua", "project_root": str(echo_package)}
    assert host.call("alc_pkg_test", **spec_file)["passed"] == 1
    alone = host.call("alc_pkg_test", code="lust.it('a', error)", search_paths=[str(echo_package.parent), "/nowhere"])
    assert (alone["failed"], alone["failures"][0]["name"]) == (1, "a")
    assert alone["search_path_warnings"] == ["search path /nowhere is not a directory"]
    host.call("alc_pkg_unlink", name="echo")
    for arguments in ({}, {"pkg": "echo", "code": "return 1"}):
        assert "Provide exactly one of: pkg, code_file, code." in refusal_of_call(host, "alc_pkg_test", **arguments)
    assert "there is no package 'echo'" in refusal_of_call(host, "alc_pkg_test", pkg="echo")
    assert host.call("alc_status") == {"active_sessions": 0, "sessions": []}
