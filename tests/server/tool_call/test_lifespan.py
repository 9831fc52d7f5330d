"""A setting or an installation that does not work."""

from typing import Any

import pytest

from tests.rig.hosts import Tools
from tests.rig.tool_replies import ONE, SID, refusal_of


def test_an_incomplete_installation_is_reported_by_each_call(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("no module named portalocker")

    monkeypatch.setattr("algocline_mcp.server.tool_call.lifespan.import_module", broken)

    sentences = [refusal_of(reply) for reply in tools.calls(("alc_status", {}), ("alc_run", {"code": ONE}))]

    assert all(
        "installed incompletely: no module named portalocker; install it again" in sentence for sentence in sentences
    )


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("ALC_WAIT_S", "soon", "ALC_WAIT_S='soon' is not a number of at least 0: correct it or unset it"),
        ("ALC_JSON_DEPTH", "257", "ALC_JSON_DEPTH='257' is not a whole number from 0 to 256: correct it or unset it"),
    ],
)
def test_an_unusable_setting_is_reported_by_every_tool(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("alc_run", {"code": "x"}),
        ("alc_continue", {"session_id": SID, "response": "x"}),
        ("alc_status", {}),
        ("alc_status", {"session_id": SID}),
        ("alc_stop", {"session_id": SID}),
    ]

    for reply in tools.calls(*calls):
        text = refusal_of(reply)
        assert sentence in text
        assert "then restart this server; next: tell the user" in text
