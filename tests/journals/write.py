"""Writes the journals that this release leaves to the next ones: `python tests/journals/write.py`.

They lie in tests/journals/VERSION beside `expected.json`, what becomes of each. A version that is released is never
written again: its journals are in people's homes.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from algocline_mcp import __version__
from tests.journals.stories import STORIES, play, write
from tests.rig.rig import Rig


async def main() -> None:
    written, played = Rig(), Rig()
    folder = Path(__file__).parent / __version__
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    expected: dict[str, Any] = {}
    async with written.pool() as one, played.pool() as other:
        for name, story in STORIES.items():
            content = await write(written, one, story)
            (folder / f"{name}.journal").write_bytes(content)
            expected[name] = await play(other, content)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    print(f"{len(expected)} journals in {folder}")
    for leak in (*written.end(), *played.end()):
        print(leak)


if __name__ == "__main__":
    anyio.run(main)
