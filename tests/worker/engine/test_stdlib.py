"""Functions that all languages share: they read answers in linear time, and each text and default is used."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp import wording
from algocline_mcp.answers.mentions import jaro_winkler
from algocline_mcp.worker.engine import stdlib
from algocline_mcp.worker.engine.lua import runtime

# Winkler 1990, table 1: pairs of names and their similarity to three digits.
SIMILAR = [
    ("martha", "marhta", 0.961), ("dwayne", "duane", 0.840), ("dixon", "dicksonx", 0.813), ("abc", "abc", 1.0),
    ("abc", "xyz", 0.0), ("a", "a", 1.0), ("", "", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "similarity"), SIMILAR)
def test_similarity_is_that_of_jaro_and_winkler(a: str, b: str, similarity: float) -> None:
    assert jaro_winkler(a, b) == pytest.approx(similarity, abs=5e-4)
    assert jaro_winkler(b, a) == pytest.approx(similarity, abs=5e-4)


MIB = 1024 * 1024
HOSTILE = [
    "[" * MIB, "{" * MIB, '{"a":' * (MIB // 5), '"' * MIB, "```" * (MIB // 3), "```\n" * (MIB // 4), "\\" * MIB,
    '{"a":"' + "x" * MIB, "[1," * (MIB // 3), "9" * MIB, "-" * MIB, "yes" * (MIB // 3), "yes no " * (MIB // 7),
    "日本" * (MIB // 6), "\0" * MIB, " " * MIB, "a{" * (MIB // 2), "[]" * (MIB // 2),
    *(seed * (MIB // len(seed)) for seed in (
        "final answer ", "score: ", "no ", "<think>", "</think>", "wait, ", "1-", "1 000 ", "1'",
        "~~", "[[", "\\boxed{", '{"a":1}', "{'a':",
        "PASS or ", "not ", "*", "<a>", "blockd: ",
    )),
]  # fmt: skip
MAX_S = 5.0  # the slowest takes 0.3 s; a quadratic function would take minutes


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:8]))
def test_a_megabyte_of_anything_is_read_in_linear_time(text: str) -> None:
    began = time.process_time()

    for name in ("parse_score", "parse_number", "match_bool", "json_extract", "fingerprint"):
        answered(name, text)
    answered("match_enum", text, ["approved", "blocked"], 0.7)

    assert time.process_time() - began < MAX_S


def answered(name: str, *arguments: Any) -> Any:
    reply = json.loads(stdlib.perform(name.encode(), json.dumps(arguments).encode()))
    assert "error" not in reply, reply
    return reply["result"]


@pytest.mark.parametrize(("name", "arguments"), [(b"chunk", b"[5]"), (b"absent", b"[]"), (b"chunk", b"no JSON")])
def test_perform_never_raises(name: bytes, arguments: bytes) -> None:
    assert "error" in json.loads(stdlib.perform(name, arguments))


def test_reading_does_not_depend_on_the_version_of_unicode() -> None:
    # Digits and letters are those of Unicode 3.2, so that a replay under another Python reads the same.
    newer = "\U0001d7ce\U000110f3"  # digits of 3.1 and of 6.1

    assert stdlib.FUNCTIONS["parse_score"]("٣") == 3
    assert stdlib.FUNCTIONS["parse_number"]("３") == 3
    assert stdlib.FUNCTIONS["match_bool"]("ｙｅｓ") is True
    assert stdlib.FUNCTIONS["parse_number"](newer[1]) is None


def test_texts_and_defaults_are_exactly_those_in_use() -> None:
    source = "".join(path.read_text() for path in Path(runtime.__file__).parent.glob("*.lua"))
    used = set(re.findall(r'complain\("([a-z_.]+)"|texts(?:\.([a-z]+)|\["([a-z_.]+)"\])', source))

    assert {next(filter(None, groups)) for groups in used} == set(stdlib.texts(wording.LUA)) - {"eval.python"}
    assert set(re.findall(r"defaults\.([a-z_]+)", source)) - {"defaults"} == set(stdlib.DEFAULTS)
