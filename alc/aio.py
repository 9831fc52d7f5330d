"""alc.aio: the functions of alc that wait, as coroutines for asyncio: `await alc.aio.llm(prompt)`."""

from typing import TYPE_CHECKING

from algocline_mcp.worker.engine.python.aio import cache as cache
from algocline_mcp.worker.engine.python.aio import call as call
from algocline_mcp.worker.engine.python.aio import fork as fork
from algocline_mcp.worker.engine.python.aio import ground as ground
from algocline_mcp.worker.engine.python.aio import llm as llm
from algocline_mcp.worker.engine.python.aio import llm_batch as llm_batch
from algocline_mcp.worker.engine.python.aio import llm_json as llm_json
from algocline_mcp.worker.engine.python.aio import llm_safe as llm_safe
from algocline_mcp.worker.engine.python.aio import parallel as parallel
from algocline_mcp.worker.engine.python.aio import pipe as pipe
from algocline_mcp.worker.engine.python.aio import sleep as sleep
from algocline_mcp.worker.engine.python.aio import specify as specify

if not TYPE_CHECKING:
    from algocline_mcp.worker.engine.python.aio import __getattr__ as __getattr__
