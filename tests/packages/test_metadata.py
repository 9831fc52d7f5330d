"""Metadata of a package, read from its source."""

import pytest

from algocline_mcp.languages import LUA, PYTHON
from algocline_mcp.packages.metadata import metadata_of

WHOLE = """\
--- cot: one thought after the other
---
--- Takes ctx.task.
---@type AlcMeta
local M = {}
-- M.meta = { version = "0.0.0" }
local text = "meta = { version = '9' } -- no comment"
M.meta = {
    name = "cot", -- { of the package }
    version = '0.1.0',
    description = "First half, "
        .. "second\\n half",
    category = [[reasoning]],
    inner = { version = "7", category = "x" },
    [1] = "version",
    alc = f("version = 3"),
}
function M.run(ctx) end
return M
"""


def test_the_metadata_of_a_published_package_are_read() -> None:
    metadata = metadata_of(WHOLE, LUA)

    assert (metadata.version, metadata.category) == ("0.1.0", "reasoning")
    assert metadata.description == "First half, second half"
    assert metadata.doc == "cot: one thought after the other\n\nTakes ctx.task."
    assert not metadata.is_library


@pytest.mark.parametrize(
    ("text", "is_library"),
    [
        ("local M = {} function M.run(ctx) end return M", False),
        ("function M:run(ctx) end", False),
        ("M.run = function(ctx) end", False),
        ("M.run = S.instrument(M, 'run')", False),
        ("return { run = function(ctx) end }", False),
        ("return {\n  meta = {},\n  run = go,\n}", False),
        ("local M = {} function M.go() end return M", True),
        ("-- M.run = nothing\nreturn {}", True),
        ("--[[ function M.run() end ]] return {}", True),
        ("return { doc = 'function M.run() end' }", True),
        ("if M.run == nil then end return {}", True),
        ("M.running = 1 return M", True),
        ("M.meta = { type = 'library' } function M.run() end return M", True),
        ("", True),
    ],
)
def test_a_library_has_no_run_or_declares_itself_one(text: str, is_library: bool) -> None:
    assert metadata_of(text, LUA).is_library is is_library


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("M.meta = { version = 1.0 }", None),
        ("M.meta = { version = VERSION .. 'x' }", None),
        ("M.meta = { version = 'a' .. suffix }", "a"),
        ("M.meta = { version = ", None),
        ("M.meta = { version = 'never closed", None),
        ("meta = { version = 'a\\'b' }", "a'b"),
        ("M.meta = {" + "{" * 5000, None),
        ("\0" * 1000 + '"' * 999, None),
    ],
)
def test_a_field_in_another_form_counts_as_absent(text: str, version: str | None) -> None:
    assert metadata_of(text, LUA).version == version


def test_without_a_description_the_first_line_of_the_comment_is_used() -> None:
    assert metadata_of("--- alc_shapes — shapes\n--- more\nreturn {}", LUA).description == "alc_shapes — shapes"
    assert metadata_of("#!/bin/lua\nreturn {}", LUA).description == ""


# ── Python ────────────────────────────────────────────────────────────────────────────────────────────────

WHOLE_PYTHON = '''\
"""vote: asks three times.

Takes ctx["task"].
"""

import alc

meta: dict[str, object] = {
    "name": "vote",
    "version": "1.2.0",
    "description": "asks three "
    "times",
    "category": str("reasoning"),
    "type": "strategy",
    **alc.extra,
}


async def run(ctx):
    return ctx
'''


def test_metadata_of_python_is_its_dict_meta_and_its_docstring() -> None:
    metadata = metadata_of(WHOLE_PYTHON, PYTHON)

    assert (metadata.version, metadata.description, metadata.is_library) == ("1.2.0", "asks three times", False)
    assert metadata.category is None  # not a literal
    assert metadata.doc == 'vote: asks three times.\n\nTakes ctx["task"].'


@pytest.mark.parametrize(
    ("text", "is_library"),
    [
        ("def run(ctx):\n    return 1", False),
        ("async  def run (ctx):\n    return 1", False),
        ("run = make()", False),
        ("from other import run", False),
        ("def runs(ctx):\n    return 1", True),
        ("class A:\n    def run(self): pass", True),
        ("run == 1", True),
        ("", True),
        ("meta = {'type': 'library'}\ndef run(ctx): pass", True),
        ("def run(ctx:", False),  # does not parse: its session says so
        ("-" * 99_999 + "1\ndef run(ctx): pass", False),
        ("x = 1\0\ndef run(ctx): pass", False),
        ("x = '" + "y" * 200_000 + "'\ndef run(ctx): pass", False),
        ("'\\d'\ndef run(ctx): pass", False),
    ],
)
def test_package_in_python_without_run_is_a_library(text: str, is_library: bool) -> None:
    assert metadata_of(text, PYTHON).is_library is is_library


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("meta = {'version': '1'}", "1"),
        ("meta = {'version': 1}", None),
        ("meta = {version: '1'}", None),
        ("meta = dict(version='1')", None),
        ("meta = {'version': '1'}; meta = {'version': '2'}", "1"),
        ("if x:\n    meta = {'version': '1'}", None),
        ("other = {'version': '1'}", None),
    ],
)
def test_fields_of_meta_in_python_are_literals(text: str, version: str | None) -> None:
    assert metadata_of(text, PYTHON).version == version


def test_comment_at_the_beginning_documents_a_package_in_python() -> None:
    assert (
        metadata_of("#!/usr/bin/python3\n# vote: asks\n# three times\nx = 1\n", PYTHON).doc == "vote: asks\nthree times"
    )


def test_what_a_strategy_takes_and_returns_is_read_and_nonsense_is_left_out() -> None:
    source = (
        'meta = {"reference": "Wang 2022", "cost": "n prompts", "outputs": {"answer": "text", "other": 1},\n'
        '        "inputs": {"task": {"type": "string"}, "n": 5}}\n\n\ndef run(ctx): ...\n'
    )

    metadata = metadata_of(source, PYTHON)

    assert (metadata.reference, metadata.cost) == ("Wang 2022", "n prompts")
    assert (metadata.inputs, metadata.outputs) == ({"task": {"type": "string"}}, {"answer": "text"})
    assert metadata_of('meta = {"inputs": [], "outputs": "x"}\ndef run(ctx): ...\n', PYTHON).inputs == {}


LUA_INPUTS = """\
local M = {}
M.meta = {
  name = "vote", cost = "n prompts", -- { inputs = {} }
  inputs = {
    task = { type = "string", description = "the \\"question\\"" },
    n = { type = "integer", default = 5, minimum = -1.5 },
    ["choices"] = { type = "array", default = {}, enum = { "a", [[b]] }, strict = true; },
  },
  outputs = { answer = "the answer" },
}
function M.run(ctx) end
return M
"""


def test_the_inputs_of_a_package_in_lua_are_read_from_its_literal_tables() -> None:
    metadata = metadata_of(LUA_INPUTS, LUA)

    assert (metadata.cost, metadata.outputs) == ("n prompts", {"answer": "the answer"})
    assert metadata.inputs == {
        "task": {"type": "string", "description": 'the "question"'},
        "n": {"type": "integer", "default": 5, "minimum": -1.5},
        "choices": {"type": "array", "default": [], "enum": ["a", "b"], "strict": True},
    }


@pytest.mark.parametrize(
    "value", ["f()", "{ n = 1 + 1 }", "{ n = f }", "{ 'a', n = 1 }", "{ n = {", "{" * 9, "{ [1] = 2 }"]
)
def test_inputs_that_are_no_literal_count_as_absent(value: str) -> None:
    source = f"return {{ meta = {{ version = '1', inputs = {value} }}, run = function() end }}"

    assert (metadata_of(source, LUA).inputs, metadata_of(source, LUA).version) == ({}, "1")


def test_a_table_with_that_name_outside_of_meta_is_none_of_it() -> None:
    source = "return { meta = { version = '1' }, run = function() local inputs = { n = { type = 'string' } } end }"

    assert metadata_of(source, LUA).inputs == {}
