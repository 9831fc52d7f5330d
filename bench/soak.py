"""Kills whatever can be killed while many sessions run: `python bench/soak.py --minutes 10 --seed 1`.

Prints what happened; ends with 1 at the first broken promise, names the seed and leaves the home to be looked at. The
sessions and the killing are tests/fault.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fault.expected_session import Violation
from tests.fault.soak import Soak
from tests.rig.rig import Rig


def main() -> int:
    parser = argparse.ArgumentParser(description="Random deaths of every process, and what must hold all the same.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    args = parser.parse_args()
    rig = Rig()
    print(f"seed {args.seed}, {args.minutes:g} minutes, home {rig.home.root}", flush=True)
    began = time.monotonic()
    try:
        happened = anyio.run(partial(Soak(rig, args.seed).run, args.minutes * 60))
    except BaseException as exc:
        for process in rig.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        if not isinstance(exc, Violation):
            raise
        print(f"broken: {exc}\nthe home stays: {rig.home.root}")
        return 1
    leaks = rig.end()
    print(f"{time.monotonic() - began:.0f} s, no promise broken" if not leaks else f"left behind: {leaks}")
    for name, count in sorted(happened.items()):
        print(f"{count:8} {name}")
    shutil.rmtree(rig.root, ignore_errors=True)
    return int(bool(leaks))


if __name__ == "__main__":
    sys.exit(main())
