"""ALC_PYTHON_PRELOAD: modules that the operator adds."""

import sys
from pathlib import Path

import pytest

from algocline_mcp.errors import HomeUnusable
from algocline_mcp.worker.engine.python import operator_modules


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    for variable in operator_modules._ONE_THREAD:
        monkeypatch.setenv(variable, "2")  # kept, and restored
    return tmp_path


def test_modules_are_imported_in_order_and_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "alc_one.py").write_text("x = 1")
    (site / "alc_two").mkdir()
    (site / "alc_two" / "__init__.py").write_text("")
    (site / "alc_two" / "part.py").write_text("import alc_one")

    names = operator_modules.load({"ALC_PYTHON_PRELOAD": " alc_two.part,, alc_one "})

    assert names == ("alc_two.part", "alc_one")
    assert {"alc_one", "alc_two.part"} <= sys.modules.keys()
    for name in ("alc_one", "alc_two", "alc_two.part"):
        del sys.modules[name]


def test_without_the_setting_nothing_is_imported() -> None:
    before = set(sys.modules)

    assert operator_modules.load({}) == operator_modules.load({"ALC_PYTHON_PRELOAD": ""}) == ()
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("alc_absent", None, "which is not importable by .*: No module named 'alc_absent': install it there"),
        ("alc_broken", "1 / 0", "which is not importable by .*: division by zero: install it there, or take it out"),
        ("alc/odd", None, "which is no name of a module: write names with commas between"),
        ("../odd", None, "which is no name of a module"),
    ],
)
def test_module_that_cannot_be_used_is_named_with_the_cure(
    site: Path, name: str, text: str | None, sentence: str
) -> None:
    if text is not None:
        (site / f"{name}.py").write_text(text)

    with pytest.raises(HomeUnusable, match=f"ALC_PYTHON_PRELOAD names '{name}', {sentence}"):
        operator_modules.load({"ALC_PYTHON_PRELOAD": name})


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted on Linux")
def test_module_that_starts_a_thread_is_refused(site: Path) -> None:
    (site / "alc_threaded.py").write_text(
        "import threading\nevent = threading.Event()\nthread = threading.Thread(target=event.wait)\nthread.start()"
    )

    with pytest.raises(HomeUnusable, match="'alc_threaded', which is a module that starts a thread: take it out"):
        operator_modules.load({"ALC_PYTHON_PRELOAD": "alc_threaded"})

    module = sys.modules.pop("alc_threaded")
    module.event.set()
    module.thread.join(60)
