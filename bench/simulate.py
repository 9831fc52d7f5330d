"""Plays many schedules of faults against the durable core: `python bench/simulate.py --schedules 1000000 --seed 0`.

Uses every processor, or `--processes`. Prints what happened in them; ends with 1 at the first broken promise, whose
seed it names: `--seed N --schedules 1` plays that one again. The world they are played in is tests/sim.
"""

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.sim.machine import Violation
from tests.sim.world import play

_BATCH = 500


def main() -> int:
    parser = argparse.ArgumentParser(description="Schedules of faults against the durable core.")
    parser.add_argument("--schedules", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first one; the others follow")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    began = time.monotonic()
    happened: Counter[str] = Counter()
    end = args.seed + args.schedules
    with ProcessPoolExecutor(args.processes) as workers:
        batches = [workers.submit(play, first, min(_BATCH, end - first)) for first in range(args.seed, end, _BATCH)]
        try:
            for done in as_completed(batches):
                happened.update(done.result())
        except Violation as exc:
            workers.shutdown(cancel_futures=True)
            print(f"broken: {exc}")
            return 1
    took_s = time.monotonic() - began
    print(f"{args.schedules} schedules in {took_s:.0f} s, {args.schedules / took_s:.0f} per second, no promise broken")
    for name, count in happened.most_common():
        print(f"{count:12} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
