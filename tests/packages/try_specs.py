"""Runs the packages' own specs through real sessions: `try_specs.py CHECKOUT [--path DIR]… [--only TEXT]`.

Each spec file (`**/spec/*.lua`, `tests/**/*.lua`) is one session; lust.lua beside this file is the library they are
written for; the examples of `flow` are found with `--path CHECKOUT/flow/doc`. Prints each case that failed, and the
counts. Some fail by themselves: one expects an older version, one a word that its package does not say, one opens a
pipe; and one of `optimize` depends on the second in which it runs. So it exits 0; the counts are to be read.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio

from algocline_mcp.limits import Home, Limits
from algocline_mcp.pool.dispatch import Pool, Strategy, run_via_pool

WAIT_S = 120.0
AT_ONCE = 3
# On the first line, so that the numbers of the lines stay.
CODE = """lust = require("lust") local ok, why = pcall(function() %s
end)
return {lust.passed, lust.failed, ok, tostring(why)}"""


async def run(checkout: Path, paths: Sequence[Path], texts: Mapping[Path, str]) -> tuple[int, int, int]:
    """Cases passed and failed, and files that did not come to their end."""
    passed = failed = broken = 0
    places = [checkout, Path(__file__).parent, *paths]
    environ = dict(os.environ) | {"ALC_PACKAGES_PATH": ":".join(str(path.resolve()) for path in places)}
    slots = anyio.CapacityLimiter(AT_ONCE)
    with tempfile.TemporaryDirectory(prefix="alc") as root:
        async with Pool(Home(Path(root)), Limits(), environ=environ) as pool, anyio.create_task_group() as tasks:

            async def one(spec: Path, text: str) -> None:
                nonlocal passed, failed, broken
                async with slots:
                    strategy = Strategy(CODE % text, spec.name)
                    end = (await run_via_pool(pool, strategy, wait_s=WAIT_S)).result
                if end["status"] != "completed":
                    broken += 1
                    print(f"{spec}: {end['status']}: {end.get('error') or end.get('prompt')}", flush=True)
                    return
                good, bad, is_whole, why = end["result"]
                problems = list(bad.values()) if isinstance(bad, dict) else bad
                passed, failed = passed + good, failed + len(problems)
                for problem in problems:
                    print(f"{spec.name}: {problem}", flush=True)
                if not is_whole:
                    broken += 1
                    print(f"{spec}: {why}", flush=True)

            for spec, text in texts.items():
                tasks.start_soon(one, spec, text)
    return passed, failed, broken


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the packages' own specs.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--path", type=Path, action="append", default=[], help="a further directory for require")
    parser.add_argument("--only", default="", help="only files whose name holds this")
    args = parser.parse_args()
    files = sorted([*args.checkout.glob("**/spec/*.lua"), *args.checkout.glob("tests/**/*.lua")])
    specs = {path: path.read_text() for path in files if args.only in path.name}
    passed, failed, broken = anyio.run(run, args.checkout, args.path, specs)
    print(f"{len(specs)} files: {passed} cases passed, {failed} failed, {broken} files not run to their end")


if __name__ == "__main__":
    main()
