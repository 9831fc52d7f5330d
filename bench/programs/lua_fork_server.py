"""The program's own fork server without Python: what the second language costs the first is seen beside it.

    python -s -P lua_fork_server.py fork-server --control FD

Contract: that of `algocline_mcp.worker.fork_server.main`, with Lua as the only language. A session in Python has no
engine here.
"""

import sys

from algocline_mcp.languages import LANGUAGES, PYTHON
from algocline_mcp.worker.fork_server.main import main

if __name__ == "__main__":
    del LANGUAGES[PYTHON.name]
    sys.exit(main(sys.argv[2:]))
