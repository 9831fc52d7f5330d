"""The benchmark: measures the program beside its floors and alternatives, and prints what met its aim.

    python bench/run.py [--quick] [--only NAMES] [--baseline PYTHON] [--out DIR]

Contract: about five minutes (--quick: seconds, for a look whether it works; its figures mean little). NAMES are parts,
separated by commas. PYTHON has another version of the program installed. Prints a table; writes results.json into DIR.
Needs Linux. Homes lie below TMPDIR and are removed, and no process is left. Exit code 0, also where an aim is
missed; 1 where a part broke; 2 for a wrong command line.
"""

import argparse
import resource
import shlex
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import alternatives
import anyio
import burst
import cluster
import continues
import first_prompt
import idle
import idle_server
import languages
import last_step
import machine
import many
import memory
import report
import revival
import startup
import step
from measure import Row, not_run
from stage import Stage

PARTS: dict[str, Callable[[Stage], Awaitable[list[Row]]]] = {
    "first_prompt": first_prompt.measure,
    "step": step.measure,
    "last_step": last_step.measure,
    "languages": languages.measure,
    "memory": memory.measure,
    "many": many.measure,
    "burst": burst.measure,
    "continues": continues.measure,
    "revival": revival.measure,
    "startup": startup.measure,
    "idle": idle.measure,
    "idle_server": idle_server.measure,
    "cluster": cluster.measure,
    "alternatives": alternatives.measure,
}


async def measure_all(stage: Stage, names: list[str]) -> tuple[list[Row], bool]:
    """All rows, and whether every part ran."""
    rows: list[Row] = []
    is_whole = True
    for name in names:
        began = time.monotonic()
        print(f"{name} …", end=" ", file=sys.stderr, flush=True)
        try:
            rows += await PARTS[name](stage)
        except Exception as exc:  # noqa: BLE001  one part that breaks must not take the figures of the others along
            traceback.print_exc()
            rows.append(not_run(name, name, _told(exc)))
            is_whole = False
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    return rows, is_whole


def _told(exc: Exception) -> str:
    """A group says nothing: its first cause does."""
    while isinstance(exc, ExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"


def raise_descriptor_limit() -> None:
    """A pool holds one descriptor per worker it watches."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures the program beside its floors and alternatives.")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; the figures mean little")
    parser.add_argument("--only", default=",".join(PARTS), metavar="NAMES", help=f"of {','.join(PARTS)}")
    parser.add_argument("--baseline", metavar="PYTHON", help="another version, for last_step and continues")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), metavar="DIR", help="default: %(default)s")
    args = parser.parse_args()
    names = args.only.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"no part {', '.join(map(repr, unknown))}: the parts are {', '.join(PARTS)}")
    if sys.platform != "linux":
        parser.error("the benchmark reads /proc and needs Linux")
    raise_descriptor_limit()
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with Stage(is_quick=args.quick, baseline=args.baseline) as stage:
        facts = machine.describe(stage.root)
        rows, is_whole = anyio.run(measure_all, stage, names)
    took_s = round(time.monotonic() - began, 1)
    command = shlex.join(["python", "bench/run.py", *sys.argv[1:]])
    print(report.table(rows))
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items()))
    print(f"{command}: {took_s} s")
    report.write_json(args.out / "results.json", rows, facts, command=command, seconds=took_s, is_quick=args.quick)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
