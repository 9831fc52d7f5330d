"""docs/strategies.md names what is there: every name of the real `alc`, and no other."""

import re
from pathlib import Path

import pytest

from tests.docs.python_signatures import written
from tests.worker.engine.lua.in_process import FakeChannel, play

PAGE = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text()
ROW = re.compile(r"^\| (?:`[^`]*` \| )?`alc\.([\w.]+)(.*?)` \|", re.MULTILINE)
NAMES = """
local names = {}
for name, value in pairs(alc) do
  if name == "math" or name == "state" or name == "stats" or name == "card" then
    for each in pairs(value) do names[#names + 1] = name .. "." .. each end
  else
    names[#names + 1] = name == "env" and "env.NAME" or name
  end
end
return names
"""


def test_page_and_table_have_the_same_names() -> None:
    documented = [name for name, _ in ROW.findall(PAGE.partition("\n## In Python")[0])]

    assert sorted(documented) == sorted(play(NAMES).result)


def test_signatures_of_python_are_current() -> None:
    assert written(PAGE) == PAGE, "run python -m tests.docs.python_signatures"


DEFAULTS = [
    ("alc.llm('p')", "max_tokens = 1024"),
    ("alc.parse_score('') == 5", "parse_score(text, default = 5)"),
    ("alc.cache_info().max_entries == 256", "256 answers"),
    ("#alc.chunk(('x\\n'):rep(51)) == 2", 'mode = "lines", size = 50, overlap = 0'),
    ("alc.match_enum('abxx', {'abcd'}) and not alc.match_enum('abxx', {'abcd'}, {threshold = 0.8})", "threshold = 0.7"),
    ("alc.math.wilson_ci(1, 2).lower == alc.math.wilson_ci(1, 2, 0.95).lower", "confidence = 0.95"),
]


@pytest.mark.parametrize(("code", "words"), DEFAULTS)
def test_defaults_are_those_of_the_page(code: str, words: str) -> None:
    channel = FakeChannel()

    result = play(f"return {code}", channel).result

    assert words in PAGE
    assert result is True or channel.queries == [[{"prompt": "p", "system": None, "max_tokens": 1024}]]
