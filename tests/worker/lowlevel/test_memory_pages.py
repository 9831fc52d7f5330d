"""Memory pages that are copied before they are written."""

import json
import os
import subprocess
import sys

import pytest

from tests.worker.lowlevel import page_writer

LINUX = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


@pytest.mark.skipif(
    sys.platform != "linux" or not os.access("/proc/self/pagemap", os.R_OK),
    reason="the system reports no written pages",
)
def test_sibling_copies_the_recorded_pages_and_no_others() -> None:
    program = [sys.executable, "-m", page_writer.__name__]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)

    idle, written, ahead = json.loads(done.stdout)

    assert idle == []
    assert written == [3, 4, 9]
    assert ahead == (written if LINUX >= (5, 14) else [])
