"""Replacing a file in a process that is killed between two of its calls."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from algocline_mcp.storage.files import replace_under_lock

KILLED = """
import os, signal, sys
from pathlib import Path
from algocline_mcp.storage import files

def killed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

path, name, call = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
files._renameat2 = lambda: killed if call == "renameat2" else None
if call == "sync_directory":
    files.sync_directory = killed
elif call != "renameat2":
    setattr(os, call, killed)
if name == "created":
    files.create_atomically(path, (b"new" * 1000,), draft=path.with_name(".draft"))
elif name == "replace_under_lock":
    files.replace_under_lock(path, b"new" * 1000)
else:
    files.replace_atomically(path, b"new" * 1000, is_durable=name == "durable", mode=0o640)
"""


@pytest.mark.parametrize(
    ("name", "call", "is_new"),
    [
        ("plain", "fchmod", False),
        ("plain", "replace", False),
        ("durable", "fsync", False),
        ("durable", "replace", False),
        ("durable", "sync_directory", True),
        ("replace_under_lock", "renameat2", False),
        ("replace_under_lock", "replace", False),
        ("created", "fsync", False),
        ("created", "link", False),
        ("created", "unlink", True),
        ("created", "sync_directory", True),
    ],
)
def test_a_process_that_is_killed_between_two_calls_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, name: str, call: str, is_new: bool
) -> None:
    path = tmp_path / "it"
    if name != "created":
        path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, os.fspath(path), name, call], check=False)

    old = None if name == "created" else b"old"
    assert done.returncode == -signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == (b"new" * 1000 if is_new else old)
    assert [each for each in os.listdir(tmp_path) if not each.startswith(".")] == (["it"] if is_new or old else [])


def test_a_draft_that_a_killed_process_left_is_removed_by_the_next_write_under_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "it"
    command = [sys.executable, "-c", KILLED, os.fspath(path), "replace_under_lock", "replace"]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".it"]

    replace_under_lock(path, b"newer")

    assert (os.listdir(tmp_path), path.read_bytes()) == (["it"], b"newer")
