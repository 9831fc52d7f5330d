"""Class statements, and calls that make classes, have under the measures the value that plain Python gives them."""

import sys
from typing import Any

import pytest

from tests.worker.engine.python.determinism.conftest import Tape
from tests.worker.engine.python.snippets import snippets_of

_LATER = "3.12 "  # begins the name of a snippet that 3.11 cannot parse
CODES = {
    name: code
    for name, code in snippets_of("determinism/classes.txt").items()
    if sys.version_info >= (3, 12) or not name.startswith(_LATER)
}


def _answer(code: str) -> str:
    namespace: dict[str, Any] = {"__name__": "strategy"}
    exec(compile(code, "strategy", "exec"), namespace)
    return repr(namespace["answer"])


_PLAIN = {name: _answer(code) for name, code in CODES.items()}  # before the measures are active


def test_the_table_is_long_enough() -> None:
    assert len(CODES) >= 55


@pytest.mark.parametrize("name", CODES)
def test_a_class_has_the_value_of_plain_python(tape: Tape, name: str) -> None:
    assert _answer(CODES[name]) == _PLAIN[name]
