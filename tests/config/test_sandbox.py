"""The setting ALC_SANDBOX and the layers that it needs."""

import os
import sys
from dataclasses import replace

import pytest

from algocline_mcp.config.sandbox import MODES, Sandbox, mode_of, probe
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
        sandbox.require()

    assert caught.value.code == "sandbox_incomplete"
    assert f"no {layer}" in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_other_modes_and_a_whole_sandbox_refuse_nothing(mode: str) -> None:
    replace(WHOLE, mode=mode).require()
    for _, sandbox in LACKING if mode != "strict" else ():
        replace(sandbox, mode=mode).require()


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
