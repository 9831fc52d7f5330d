"""alc_package, through a real server."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.demo import Server
from tests.rig.full_server import refusal_of_call, until


def test_a_host_installs_finds_runs_and_removes_a_package(host: Server, echo_package: Path) -> None:
    assert "is not installed" in refusal_of_call(host, "alc_run", strategy="echo")
    result = host.call("alc_package", action="install", source=str(echo_package))
    assert result == {"status": "installed", "installed": ["echo"], "source": str(echo_package)}
    (line,) = host.call("alc_catalog", query="given")["strategies"]
    assert line["about"] == "Says what it is given"
    asked = host.call("alc_run", strategy="echo", task="one", opts={"times": 2, "task": "no"}, ctx={"times": 1})
    end = host.call("alc_continue", session_id=asked["session_id"], response="said")
    assert (asked["prompt"], end["result"]) == ("one", {"said": "said", "times": 2})
    again = host.call("alc_advice", strategy="echo", task="two", opts={"times": 3})
    assert again["prompt"] == "two"
    assert host.call("alc_pool_stop", sid=again["session_id"]) == {"stopped": [again["session_id"]], "errors": []}
    assert host.call("alc_stop", session_id=again["session_id"], mode="delete")["status"] == "deleted"
    shown = until(lambda: host.call("alc_catalog", name="echo"), lambda shown: shown["runs"] == 1)
    assert (shown["runs"], shown["prompts"], shown["doc"]) == (1, 1, "echo: says what it is given\n\nOptions: times.")
    (line,) = host.call("alc_pkg_list", fields="name,version,type,scope", filter="given")["packages"]
    assert line == {"name": "echo", "version": "1.2", "type": "strategy", "scope": "global"}
    result = host.call("alc_pkg_doctor")
    assert (result["healthy"], result["spec_missing"]) == (["echo"], ["echo"])
    assert host.call("alc_pkg_remove", name="echo") == {"status": "removed", "removed": ["echo"]}
    assert host.call("alc_package", action="link", source=str(echo_package))["linked"] == ["echo"]
    shutil.rmtree(echo_package)
    assert host.call("alc_pkg_doctor")["symlink_dangling"] == ["echo"]
    assert host.call("alc_pkg_unlink", name="echo")["unlinked"] == "echo"


@pytest.mark.slow
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
    assert sentence in refusal_of_call(host, "alc_package", **arguments)
