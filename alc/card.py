"""alc.card: checks arguments and sends them to the keeper, which stores and finds cards."""

from algocline_mcp.worker.engine.python.api.card import alias_list as alias_list
from algocline_mcp.worker.engine.python.api.card import alias_set as alias_set
from algocline_mcp.worker.engine.python.api.card import append as append
from algocline_mcp.worker.engine.python.api.card import create as create
from algocline_mcp.worker.engine.python.api.card import find as find
from algocline_mcp.worker.engine.python.api.card import get as get
from algocline_mcp.worker.engine.python.api.card import get_by_alias as get_by_alias
from algocline_mcp.worker.engine.python.api.card import lineage as lineage
from algocline_mcp.worker.engine.python.api.card import list as list
from algocline_mcp.worker.engine.python.api.card import read_samples as read_samples
from algocline_mcp.worker.engine.python.api.card import sink_backfill as sink_backfill
from algocline_mcp.worker.engine.python.api.card import write_samples as write_samples
