"""Upstream's tools for alc.state, through a real server."""

import pytest

from algocline_mcp.cli.demo import Server
from tests.rig.full_server import refusal_of_call


@pytest.mark.slow
def test_state_is_changed_exactly_as_by_a_strategy(host: Server) -> None:
    where = {"namespace": "n", "key": "k"}
    assert host.call("alc_state_set", **where, value={"steps": {"a": 1, "b": 2}, "x": [None]}) == {"ok": True}
    assert host.call("alc_state_list", namespace="n") == {"keys": ["k"]}
    result = host.call("alc_state_reset", **where, steps=["a", "z"], fields="x")
    assert (result["steps_removed"], result["fields_removed"]) == (["a"], ["x"])
    assert host.call("alc_state_show", **where)["value"] == {"steps": {"b": 2}}
    assert host.call("alc_catalog", kind="state", name=result["backup_path"])["value"]["x"] == [None]
    assert host.call("alc_state_delete", **where) == {"ok": True, "existed": True}
    assert host.call("alc_state_delete", **where) == {"ok": True, "existed": False}
    assert "key 'k' not found in namespace 'n'" in refusal_of_call(host, "alc_state_show", **where)
    said = refusal_of_call(host, "alc_state_set", namespace="a/b", key="k", value=1)
    assert said.startswith("Invalid namespace: 'a/b'")
    assert "\n" not in said
