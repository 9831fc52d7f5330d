"""alc.state: keys and JSON values in a namespace of the home, which outlive the session."""

from algocline_mcp.worker.engine.python.api.state import delete as delete
from algocline_mcp.worker.engine.python.api.state import get as get
from algocline_mcp.worker.engine.python.api.state import has as has
from algocline_mcp.worker.engine.python.api.state import incr as incr
from algocline_mcp.worker.engine.python.api.state import keys as keys
from algocline_mcp.worker.engine.python.api.state import set as set
from algocline_mcp.worker.engine.python.api.state import set_nx as set_nx
from algocline_mcp.worker.engine.python.api.state import update as update
