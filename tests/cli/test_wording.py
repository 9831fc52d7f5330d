"""Sentences for a model, as a person at the terminal reads them."""

import pytest

from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.pool import replies

SENTENCES = [
    ("title is long: shorten it; next: correct this, then call alc_run again [too_large]", "title is long: shorten it"),
    ("p-1 not found: alc_status() lists them [not_found]", "p-1 not found: alc ps lists them"),
    ('linked: alc_package(action="unlink", name="cot") removes it', "linked: alc pkg unlink cot removes it"),
    ("alc_catalog(kind=\"packages\") lists the installed ones", "alc pkg list lists the installed ones"),
    ("is installed already: force replaces it", "is installed already: --force replaces it"),
    ("delete it there first (alc_stop mode=delete)", "delete it there first (alc stop --delete)"),
    ("repair that disk; then restart this server", "repair that disk"),
    ("alc_status with wait_s tries again", "alc continue tries again"),
    ("start it again with alc_run", "start it again with alc run"),
    ("To run your own, give code_file.", "To run your own, name it with its suffix: alc run FILE.py."),
    ("correct it with alc_branch(session_id, code=…), which", "correct it with alc branch p-7 my.lua --jobs 2, which"),
    ("untouched; alc_branch(session_id), if need be with", "untouched; alc branch p-7, if need be with"),
    ("call alc_branch several times", "call alc branch several times"),
]  # fmt: skip


@pytest.mark.parametrize(("for_a_model", "for_a_person"), SENTENCES, ids=[pair[1] for pair in SENTENCES])
def test_sentence_names_commands_in_place_of_tools(for_a_model: str, for_a_person: str) -> None:
    assert at_terminal(for_a_model, "p-7", "my.lua --jobs 2") == for_a_person


def test_error_after_paid_answers_names_the_command_that_keeps_them() -> None:
    """Of every sentence for a model that names the tool: the command takes its place."""
    paid = at_terminal(replies._NEXT_AFTER_PAID_ERROR, "p-7", "my.lua")

    assert paid.startswith("correct the code, then run alc branch p-7 my.lua: a new session keeps all answers")
    assert "alc_" not in paid
