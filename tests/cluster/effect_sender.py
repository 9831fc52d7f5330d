"""A node that makes changes for one session, as a process: python -m tests.cluster.effect_sender SID EPOCH WHEN CALL.

CALL is a key of CALLS. stdin is the URL, then the number of such a change, one a line. Each gets its reply as a line on
stdout. WHEN: `written` kills the process when effect and mark are written and not committed, `committed` right after
the commit, `written:stop` stops it there instead; `-` does nothing.
"""

import json
import os
import signal
import sys

from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.effects import Effects
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError
from algocline_mcp.session.records import Record
from algocline_mcp.worker.database.connection import digest
from algocline_mcp.worker.engine.messages import Call

CALLS = {"incr": Call("state.incr", ("c", 1, 0)), "create": Call("card.create", ({"pkg": {"name": "p"}},))}


def message(sid: str, epoch: int, n: int, name: str = "incr") -> Record:
    call = CALLS[name]
    request: Record = {"sid": sid, "epoch": epoch, "owner": "ann", "namespace": "default", "stream": "", "n": n}
    return request | {"name": call.name, "args": list(call.args), "digest": digest("default", call)}


class Mortal(Effects):
    when = "-"

    def _once(self, connection: Connection, request: Record) -> Record:
        outcome = super()._once(connection, request)
        if self.when.startswith("written"):
            os.kill(os.getpid(), signal.SIGSTOP if self.when.endswith(":stop") else signal.SIGKILL)
        return outcome


def main() -> None:
    sid, epoch, Mortal.when, name = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    database = Database(sys.stdin.readline().strip())
    connection = database.connect()
    print("ready", flush=True)
    for n in sys.stdin:
        try:
            reply = Mortal(database, Limits()).perform(connection, message(sid, epoch, int(n), name))
        except AlcError as exc:
            reply = {"code": exc.code}
        if Mortal.when == "committed":
            os.kill(os.getpid(), signal.SIGKILL)
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
