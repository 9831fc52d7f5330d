"""Putting a file in the place of another one, with and without the system call that exchanges names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from algocline_mcp.storage import files


@pytest.fixture(params=["exchange", "refused", "none"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As the system has it; a file system that cannot exchange; a C library that does not know the call."""
    ways: dict[str, Callable[..., int] | None] = {"refused": lambda *_: -1, "none": None}
    if request.param in ways:
        monkeypatch.setattr(files, "_renameat2", lambda: ways[request.param])
    return str(request.param)


def test_file_takes_the_place_of_none_and_of_an_old_one_and_leaves_no_draft(tmp_path: Path, how: str) -> None:
    draft, path = tmp_path / ".it", tmp_path / "it"
    for text in ("first", "second"):
        draft.write_text(text)
        files.put(draft, path)

        assert path.read_text() == text
        assert [each.name for each in tmp_path.iterdir()] == ["it"]


def test_directory_in_its_place_is_an_error_that_changes_nothing(tmp_path: Path, how: str) -> None:
    draft, path = tmp_path / ".it", tmp_path / "it"
    path.mkdir()
    draft.write_text("new")
    with pytest.raises(OSError, match="directory"):
        files.put(draft, path)

    assert path.is_dir()
    assert draft.read_text() == "new"


def test_open_file_keeps_what_it_was_while_another_takes_its_place(tmp_path: Path, how: str) -> None:
    draft, path = tmp_path / ".it", tmp_path / "it"
    path.write_text("old")
    draft.write_text("new")
    with path.open() as reader:
        files.put(draft, path)

        assert reader.read() == "old"
