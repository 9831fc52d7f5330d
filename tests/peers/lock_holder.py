"""Holds an exclusive lock on the file it is given until its stdin ends, and does nothing else.

First line on stdout: `{pid}`, once the lock is held.
"""

import fcntl
import json
import os
import sys

fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
print(json.dumps({"pid": os.getpid()}), flush=True)
sys.stdin.read()
