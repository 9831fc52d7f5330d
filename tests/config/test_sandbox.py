"""The setting ALC_SANDBOX and the layers that it needs."""

import os
import sys
from dataclasses import replace

import pytest

from algocline_mcp.config.sandbox import MODES, Sandbox, is_python_trusted, mode_of, probe
from algocline_mcp.errors import HomeUnusable, Refused

WHOLE = Sandbox("strict", no_new_privs=True, landlock_abi=7, seccomp=True)
LACKING = [
    ("no_new_privs", replace(WHOLE, no_new_privs=False)),
    ("landlock", replace(WHOLE, landlock_abi=0)),
    ("seccomp", replace(WHOLE, seccomp=False)),
]


@pytest.mark.parametrize(
    ("sandbox", "level"),
    [
        (replace(WHOLE, mode="standard"), "standard: no_new_privs, landlock 7, seccomp"),
        (WHOLE, "strict: no_new_privs, landlock 7, seccomp"),
        (Sandbox("standard", True, 0, True), "standard: no_new_privs, seccomp; missing: landlock"),
        (Sandbox("standard"), "standard: none; missing: no_new_privs, landlock, seccomp"),
        (replace(WHOLE, mode="off"), "off"),
    ],
)
def test_level_names_the_layers_that_are_there_and_those_that_are_not(sandbox: Sandbox, level: str) -> None:
    assert sandbox.level == level


@pytest.mark.parametrize(("layer", "sandbox"), LACKING)
def test_strict_refuses_where_a_layer_is_missing_and_names_the_cure(layer: str, sandbox: Sandbox) -> None:
    with pytest.raises(
        Refused, match=r"ALC_SANDBOX=strict.*no strategy runs: use .*set ALC_SANDBOX=standard"
    ) as caught:
        sandbox.require("lua")

    assert caught.value.code == "sandbox_incomplete"
    assert f"no {layer}" in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_other_modes_and_a_whole_sandbox_refuse_nothing(mode: str) -> None:
    replace(WHOLE, mode=mode).require("lua")
    for _, sandbox in LACKING if mode != "strict" else ():
        replace(sandbox, mode=mode).require("lua")


def test_setting_has_a_default_and_refuses_other_words() -> None:
    assert mode_of({}) == mode_of({"ALC_SANDBOX": ""}) == "standard"
    with pytest.raises(HomeUnusable, match="ALC_SANDBOX='on' is not a mode: set it to one of standard, strict, off"):
        probe({"ALC_SANDBOX": "on"})


@pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")
def test_probe_finds_what_the_kernel_says_and_changes_nothing() -> None:
    with open("/proc/self/status") as status:
        before = [line for line in status if line.startswith(("NoNewPrivs", "Seccomp:"))]

    layers = probe({})

    with open("/proc/self/status") as status:
        assert [line for line in status if line.startswith(("NoNewPrivs", "Seccomp:"))] == before
    assert layers.no_new_privs
    assert layers.seccomp == (
        os.path.exists("/proc/sys/kernel/seccomp/actions_avail") and os.uname().machine in ("x86_64", "aarch64")
    )


STANDARD = replace(WHOLE, mode="standard")


@pytest.mark.parametrize(
    ("sandbox", "missing"),
    [
        (STANDARD, None),
        (replace(STANDARD, landlock_abi=0), None),  # without seccomp's open a path is no way out
        (replace(STANDARD, seccomp=False), "no seccomp"),
        (Sandbox("standard"), "no no_new_privs and no seccomp"),
        (Sandbox("off"), None),  # the choice of the user, whatever the language
        (Sandbox("standard", is_python_trusted=True), None),
    ],
)
def test_python_runs_where_the_kernel_confines_it_or_where_the_user_wants_it(
    sandbox: Sandbox, missing: str | None
) -> None:
    assert sandbox.refusal_of("lua") is None
    if missing is None:
        sandbox.require("python")
        return
    with pytest.raises(Refused, match=f"this machine has {missing}: write .* in Lua, or set ALC_PYTHON=trusted") as why:
        sandbox.require("python")
    assert why.value.code == "sandbox_incomplete"


def test_trust_in_python_is_a_setting_that_refuses_other_words() -> None:
    assert [is_python_trusted({"ALC_PYTHON": word}) for word in ("", "confined", "trusted")] == [False, False, True]
    assert probe({"ALC_PYTHON": "trusted"}).is_python_trusted
    with pytest.raises(HomeUnusable, match="ALC_PYTHON='yes' is not a mode: set it to one of confined, trusted"):
        probe({"ALC_PYTHON": "yes"})
