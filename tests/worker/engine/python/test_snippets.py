"""The language is Python: snippets have the value that plain CPython gives them, in each form of a strategy."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.worker.engine.python.snippets import FILES, FORMS, played_by_python, snippets_of


@pytest.fixture(scope="module")
def values() -> Callable[[str, str], dict[str, Any]]:
    """(side, file) -> {name: value}, from a process that runs all snippets of the file."""

    return cache(lambda side, file: played_by_python(side, snippets_of(file)))


def test_the_tables_are_long_enough() -> None:
    assert [len(snippets_of(file)) for file in FILES] >= [160, 33]


@pytest.mark.parametrize(
    ("file", "name"), [pytest.param(file, name, id=name) for file in FILES for name in snippets_of(file)]
)
def test_a_snippet_has_the_value_and_the_prompts_of_plain_python(
    file: str, name: str, values: Callable[[str, str], dict[str, Any]]
) -> None:
    expected = values("plain", file)[name]

    assert dict(zip(FORMS, values("engine", file)[name], strict=True)) == dict.fromkeys(FORMS, expected)
