"""Fixtures of the tests of packages."""

import subprocess
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from tests.packages.steps import RUNS


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "h")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A collection of two packages, and other files of a repository."""
    root = tmp_path / "source"
    for name, files in {"one": ("init.lua", "sub/part.lua"), "two": ("init.lua",), "docs": ("page.md",)}.items():
        for file in files:
            (root / name / file).parent.mkdir(parents=True, exist_ok=True)
            (root / name / file).write_text(RUNS % (1, name))
    (root / "README.md").write_text("no package")
    return root


@pytest.fixture
def repository(source: Path) -> Path:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *who, *arguments], cwd=source, check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "1")
    git("tag", "v1")
    (source / "one" / "init.lua").write_text(RUNS % (2, "one"))
    git("commit", "-qam", "2")
    return source
