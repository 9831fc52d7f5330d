"""Fuzzers of every reader of bytes from outside: half a minute and the same cases each time; more by bench/fuzz.py."""

import pytest

from tests.attacks.fuzz import PROPERTIES


@pytest.mark.slow
@pytest.mark.parametrize("name", PROPERTIES)
def test_whatever_is_read_is_a_value_or_an_error_of_its_own(name: str) -> None:
    PROPERTIES[name].play(PROPERTIES[name].examples)
