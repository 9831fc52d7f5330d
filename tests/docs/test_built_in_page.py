"""docs/built-in.md has a section of each built-in strategy, with what its `meta` says."""

from tests.docs.built_in_page import BLOCK, PAGE, sections


def test_sections_of_the_built_in_strategies_are_current() -> None:
    assert BLOCK.findall(PAGE.read_text()) == [sections()], "run python -m tests.docs.built_in_page"
