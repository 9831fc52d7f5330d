"""The table of faults in README.md names only tests that exist, and every test of this directory."""

import re
from pathlib import Path

_HERE = Path(__file__).parent
_TESTS = _HERE.parent
_NAMED = re.compile(r"`([a-z_/]+\.py)::(test_\w+)`")
_DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def test_every_test_that_the_table_of_faults_names_exists() -> None:
    named = _NAMED.findall((_HERE / "README.md").read_text())
    missing = [f"{file}::{name}" for file, name in named if name not in _DEFINED.findall((_TESTS / file).read_text())]

    assert len(named) > 80
    assert missing == []


def test_every_row_of_the_table_of_faults_names_a_test() -> None:
    rows = [line for line in (_HERE / "README.md").read_text().splitlines() if line.startswith("| ")]
    bare = [row for row in rows if not row.startswith("| what happens ") and not _NAMED.search(row.split(" | ")[-1])]

    assert len(rows) > 45
    assert bare == []


def test_every_test_of_this_directory_is_in_the_table_of_faults() -> None:
    named = {name for _, name in _NAMED.findall((_HERE / "README.md").read_text())}
    here = {
        name
        for file in _HERE.glob("test_*.py")
        if file != Path(__file__)
        for name in _DEFINED.findall(file.read_text())
    }

    assert here <= named
