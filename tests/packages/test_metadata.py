"""Metadata of a package, read from its source."""

import pytest

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
    metadata = metadata_of(WHOLE)

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
    assert metadata_of(text).is_library is is_library


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
    assert metadata_of(text).version == version


def test_without_a_description_the_first_line_of_the_comment_is_used() -> None:
    assert metadata_of("--- alc_shapes — shapes\n--- more\nreturn {}").description == "alc_shapes — shapes"
    assert metadata_of("#!/bin/lua\nreturn {}").description == ""
