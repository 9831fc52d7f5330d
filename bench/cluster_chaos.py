"""Breaks nodes, connections and the database at random under many sessions: `python bench/cluster_chaos.py --seed 1`.

Prints what happened, and how many answers were lost or doubled, prompts changed, owners crossed, calls late: all must
be 0, else it ends with 1. The PostgreSQL is its own, in a directory of TMPDIR. The sessions and the faults are
tests/cluster/chaos.py.
"""

import argparse
import secrets
import sys
import time
from functools import partial
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.cluster.chaos import OWNERS, SETTINGS, Chaos, Verdict
from tests.cluster.nodes import Cluster
from tests.cluster.postgres import Postgres


def main() -> int:
    parser = argparse.ArgumentParser(description="Random failures of nodes, network and database, and what must hold.")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long things fail; finishing takes longer")
    parser.add_argument("--sessions", type=int, default=200, help="at a time")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--lease-s", type=float, default=3.0)
    parser.add_argument("--pause-s", type=float, default=1.0, help="between two failures, on average")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    args = parser.parse_args()
    print(
        f"seed {args.seed}, {args.seconds:g} s, {args.nodes} nodes, {args.sessions} sessions at a time, "
        f"leases of {args.lease_s:g} s",
        flush=True,
    )
    postgres = Postgres()
    try:
        with Cluster(postgres, count=args.nodes, lease_s=args.lease_s, principals=OWNERS, settings=SETTINGS) as cluster:
            cluster.start()
            began = time.monotonic()
            chaos = Chaos(cluster, args.seed, sessions=args.sessions, pause_s=args.pause_s)
            verdict = anyio.run(partial(chaos.run, args.seconds))
            took_s = time.monotonic() - began
    finally:
        postgres.remove()
    _show(verdict, took_s)
    return int(not verdict.is_kept)


def _show(verdict: Verdict, took_s: float) -> None:
    print(f"{took_s:.0f} s")
    for name, number in sorted(verdict.events.items()):
        print(f"{number:8} {name}")
    print(f"{verdict.events['answers acknowledged'] / took_s:8.1f} answers acknowledged per second")
    for name, number in verdict.broken.items():
        print(f"{number:8} {name}{'' if not number else '  <- must be 0'}")
    for detail in verdict.details:
        print(f"  {detail}")


if __name__ == "__main__":
    sys.exit(main())
