"""Sentences for a model, as a person at the terminal reads them."""

import pytest

from algocline_mcp.cli.wording import at_terminal

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
    ("To run your own, give code_file.", "To run your own, name it with its suffix: alc run FILE.lua."),
    ("correct it, then call alc_branch with this id: …",
     "correct it, then run it again; or, to ask less, let a host's model call alc_branch with this id: …"),
    ("with alc_branch(session_id, code=…), which", "with the tool alc_branch(session_id, code=…) of a host, which"),
]  # fmt: skip


@pytest.mark.parametrize(("for_a_model", "for_a_person"), SENTENCES, ids=[pair[1] for pair in SENTENCES])
def test_sentence_names_commands_in_place_of_tools(for_a_model: str, for_a_person: str) -> None:
    assert at_terminal(for_a_model) == for_a_person
