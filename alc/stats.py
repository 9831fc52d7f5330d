"""alc.stats: values that go to `stats.custom` of the result, and the count of prompts."""

from algocline_mcp.worker.engine.python.api.stats import get as get
from algocline_mcp.worker.engine.python.api.stats import llm_calls as llm_calls
from algocline_mcp.worker.engine.python.api.stats import record as record
