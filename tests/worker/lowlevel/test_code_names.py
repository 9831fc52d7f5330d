"""Names of code and modules, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.rig.stdio_home import LIMIT_S

ROOT = Path(__file__).parents[3]
PROGRAM = """
import gc, json, logging, sys, traceback
import alc
from types import FunctionType
from algocline_mcp.worker.lowlevel.code_names import shorten

def outer():
    return [lambda: 1 for _ in range(1)]

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.filename)

shorten()
import colorsys  # more can be imported
lines = []
logging.getLogger().addHandler(Lines())
logging.getLogger().warning("x")
try:
    json.loads("{")
except ValueError as exc:
    frames = [frame.filename for frame in traceback.extract_tb(exc.__traceback__)]
codes = [value.__code__ for value in gc.get_objects() if isinstance(value, FunctionType)]
codes += [part for code in codes for part in code.co_consts if hasattr(part, "co_filename")]
print(json.dumps({
    "codes": sorted({code.co_filename for code in codes} - {colorsys.__file__}),
    "files": sorted({module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)}),
    "frames": frames, "logged": lines, "alc": [alc.__file__, alc.llm.__code__.co_filename],
}))
"""


def test_code_and_modules_are_named_by_their_library_and_python_goes_on() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout)

    assert [name for name in names["codes"] if os.path.isabs(name)] == []
    assert [name for name in names["files"] if os.path.isabs(name) and "colorsys" not in name] == []
    assert names["frames"][-1] == "<lib>/json/decoder.py"
    assert names["logged"] == ["<string>"]  # logging knows its own frames
    assert names["alc"][0] == "<lib>/alc/__init__.py"
    assert names["alc"][1].startswith("<lib>/algocline_mcp/")
