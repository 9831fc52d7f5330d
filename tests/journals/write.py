"""Writes the journals of this release, for the tests of later releases: `python tests/journals/write.py`.

Contract: writes tests/journals/VERSION: the journals, and `expected.json` with the result of each. Never write the
directory of a released version again: users have its journals.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from algocline_mcp import __version__
from tests.journals.recorded_sessions import SESSIONS, resume, write
from tests.rig.rig import Rig


async def main() -> None:
    writing, resuming = Rig(), Rig()
    folder = Path(__file__).parent / __version__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    expected: dict[str, Any] = {}
    async with writing.pool() as one, resuming.pool() as other:
        for name, session in SESSIONS.items():
            content = await write(writing, one, session)
            (folder / f"{name}.journal").write_bytes(content)
            expected[name] = await resume(other, content)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    print(f"{len(expected)} journals in {folder}")
    for leak in (*writing.end(), *resuming.end()):
        print(leak)


if __name__ == "__main__":
    # Parses no arguments, but --help and mistakes end here, before the journals are replaced.
    argparse.ArgumentParser(description="Writes the journals of this release.").parse_args()
    anyio.run(main)
