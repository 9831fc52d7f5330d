"""An owner of a session in a database, as a process: python -m tests.cluster.writer ID LEASE_S.

The first line on stdin is the URL. Each that follows is how many records it appends, each with a flush of its own; `-`
is as many as it can until stdin ends. Each record gets a line on stdout after its flush: its number, or the code of the
error, which ends the process.
"""

import select
import sys

from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.rows import RowsJournal, SessionRows
from algocline_mcp.errors import AlcError
from algocline_mcp.session.records import Record
from tests.rig.journals import answer, header, prompt


def record(number: int) -> Record:
    """Record `number` of each session: the header, then a prompt and its answer in turn."""
    asks = number % 2
    return (
        prompt(f"q-{number}", t=1000.0 + number) if asks else answer(f"q-{number - 1}", f"a-{number}", 1000.0 + number)
    )


def main() -> None:
    sid, lease_s = sys.argv[1], float(sys.argv[2])
    rows = SessionRows(Database(sys.stdin.readline().strip()), lease_s=lease_s)
    journal = rows.create(header(sid))
    journal.flush()
    print(0, flush=True)
    number = 1
    for order in sys.stdin:
        number = _append(journal, number, None if order.strip() == "-" else int(order))


def _append(journal: RowsJournal, number: int, count: int | None) -> int:
    last = None if count is None else number + count
    while number != last:
        try:
            journal.append(record(number))
            journal.flush()
        except AlcError as exc:
            print(exc.code, flush=True)
            sys.exit(1)
        print(number, flush=True)
        number += 1
        if last is None and select.select([sys.stdin], [], [], 0)[0]:
            break
    return number


if __name__ == "__main__":
    main()
