"""Fuzzes every reader of bytes from outside: `python bench/fuzz.py --minutes 5 --seed 1`.

Each property of tests/attacks/fuzz.py in turn, with new cases each time. Ends with 1 at the first case that breaks one:
hypothesis has made it as small as it can, and the seed plays it again.
"""

import argparse
import secrets
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.attacks.fuzz import PROPERTIES

_EXAMPLES = 200  # of one property in one round: a few seconds


def main() -> int:
    parser = argparse.ArgumentParser(description="Random bytes for the protocol, the keeper and the journals.")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--only", choices=list(PROPERTIES), help="one property")
    args = parser.parse_args()
    names = [args.only] if args.only else list(PROPERTIES)
    print(f"{args.minutes:g} minutes, seed {args.seed}", flush=True)
    ends_s = time.monotonic() + args.minutes * 60
    number = args.seed
    while time.monotonic() < ends_s:
        for name in names:
            try:
                PROPERTIES[name].play(_EXAMPLES, number)
            except Exception as exc:  # noqa: BLE001  whatever a reader has raised is what was looked for
                print(f"broken: {name}, --seed {number}\n{type(exc).__name__}: {exc}")
                print("\n".join(getattr(exc, "__notes__", ())))
                return 1
        number += 1
    print(f"{number - args.seed} rounds of {_EXAMPLES} cases each, nothing broken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
