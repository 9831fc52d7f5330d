"""Runs the packages' own specs: `try_specs.py CHECKOUT [--path DIR]… [--only TEXT]`.

Each spec file (`**/spec/*.lua`, `tests/**/*.lua`) is one session, as with `alc pkg test`. The examples of `flow` need
`--path CHECKOUT/flow/doc`. Prints each failed case and the counts, and exits 0, because some cases fail in any program:
one expects an older version, one a word that its package does not write, one opens a pipe, and one of `optimize`
depends on the second in which it runs.
"""

import argparse
import os
from pathlib import Path

import anyio

from algocline_mcp.config.limits import Limits
from algocline_mcp.packages.specs import Spec, SpecRun, run_specs

LIMIT_S = 1800.0  # of all spec files together


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the packages' own specs.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--path", type=Path, action="append", default=[], help="a further directory for require")
    parser.add_argument("--only", default="", help="only files whose name contains this")
    args = parser.parse_args()
    files = sorted([*args.checkout.glob("**/spec/*.lua"), *args.checkout.glob("tests/**/*.lua")])
    specs = [Spec(str(path), path.read_text()) for path in files if args.only in path.name]
    paths = [str(path.resolve()) for path in (args.checkout, *args.path)]
    result = anyio.run(run_specs, SpecRun(specs, paths), Limits(), os.environ, LIMIT_S)
    for failure in result.get("failures", ()):
        print(f"{failure['file']}: {failure['name'] or 'the file'}: {failure['error']}")
    counts = f"{result['passed']} cases passed, {result['failed']} failed"
    print(f"{len(specs)} files: {counts}, {result['duration_ms'] / 1000:.0f} s")


if __name__ == "__main__":
    main()
