"""The pages of help about `alc.*`, by topic: `pages/TOPIC.md`, in the order of reading.

Contract: read-only; a page is read when it is asked for. The first line of a page is `# Title: what it is about`. HTML
comments are for the tests, which run every example and compare every signature, and are not shown. The lines of
functions are written by tests/docs/help_pages.py from the package alc.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

TOPICS = (
    *("strategies", "asking", "answers", "examples", "errors", "asyncio", "files"),
    *("state", "forks", "packages", "text", "cards", "math"),
)
PAGES = Path(__file__).parent / "pages"
_COMMENT = re.compile(r"<!--.*?-->\n", re.DOTALL)
_BLOCK = re.compile(r"<!-- (?:functions|signatures): .*?<!-- end -->", re.DOTALL)
_FUNCTION = re.compile(r"^- `alc\.([\w.]+)\(", re.MULTILINE)
_NEAREST = 3


@cache
def source(topic: str) -> str:
    """A page with its comments. Raises KeyError for a topic that does not exist."""
    if topic not in TOPICS:
        raise KeyError(topic)
    return (PAGES / f"{topic}.md").read_text("utf-8")


def page(topic: str) -> str:
    """The text of a page. Raises KeyError for a topic that does not exist."""
    return _COMMENT.sub("", source(topic))


def about(topic: str) -> str:
    return page(topic).partition("\n")[0].partition(": ")[2]


def topic_of(name: str) -> str | None:
    """The topic itself, or the page that has the function: `match_enum`, `alc.match_enum`, `state.get`."""
    function = name.strip().removeprefix("alc.").partition("(")[0]
    if function.lower() in TOPICS:
        return function.lower()
    return next((topic for topic in TOPICS if function in functions(topic)), None)


def functions(topic: str) -> list[str]:
    """The functions that the page lists, without `alc.`."""
    return [name for line in signatures(topic) for name in _FUNCTION.findall(line)]


def signatures(topic: str) -> list[str]:
    """The lines of a page that list functions."""
    return [
        line for block in _BLOCK.findall(source(topic)) for line in block.splitlines() if line.startswith("- `alc.")
    ]


def nearest(name: str) -> Sequence[str]:
    """Topics and functions that look like `name`, the most similar first."""
    names = [*TOPICS, *(f"alc.{function}" for topic in TOPICS for function in functions(topic))]
    word = name.strip().lower()
    near = get_close_matches(word, names, _NEAREST) or get_close_matches(f"alc.{word}", names, _NEAREST)
    return near or [other for other in names if word and word in other][:_NEAREST]
