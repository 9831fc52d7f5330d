"""Sizes of JSON values: what was given counts, not how it is written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algocline_mcp.session.digests import json_size

_PLAIN = st.text(st.characters(codec="utf-8", exclude_characters='"\\', min_codepoint=32))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _PLAIN,
    lambda inner: st.lists(inner) | st.dictionaries(_PLAIN, inner),
)


@given(_VALUES)
def test_size_is_that_of_the_shortest_json_where_nothing_needs_an_escape(value: Any) -> None:
    assert json_size(value) == len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize("text", ["\n" * 100, '"' * 100, "\\" * 100, "\0" * 100, "é" * 50])
def test_escapes_of_a_text_do_not_count(text: str) -> None:
    assert json_size({"t": text}) == 100 + len('{"t":""}')
