"""Languages of strategies: the facts of each that server and worker share. Pure.

Contract: a new language is one more entry here and a folder beside worker/engine/lua that offers `ABI` and `prepare`.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Language:
    """`module_forms`: where a module's text may be below a library path, in order."""

    name: str
    suffix: str
    runtime: str  # the Python module that runs it in the engine
    interpreter: str  # the interpreter, with the version that a journal depends on
    distribution: str | None  # the installed package that contains it; None: the Python that runs the worker
    prelude: int  # counts up whenever a change around the interpreter could change a replay
    module_forms: tuple[str, ...]
    warmup: str  # a strategy with two prompts, one after the other
    child: str  # the code of a child of alc.fork; {} is the name of its package, of letters, digits and _
    entered: Callable[[str, str], str]  # (name, source of a strategy package) -> the code that runs it
    spec_library: str  # directory of its test library, below this package
    hints: str | None  # file below this package with `syntax_hint`, which the server runs too; None: Python's own texts
    spec: str  # a strategy that runs the spec in ctx, {source, chunk}, with that library

    def abi(self, version_of: Callable[[str], str]) -> dict[str, Any]:
        """The facts that a journal records; an engine with other facts does not replay it."""
        distribution = {self.distribution: version_of(self.distribution)} if self.distribution else {}
        return {"language": self.name, "interpreter": self.interpreter} | distribution | {"prelude": self.prelude}

    def entry_file(self, name: str = "") -> str:
        """The source file of a package that is a directory, relative to the directory that holds the package; without
        a name relative to the package."""
        return self.module_forms[-1].format(name).removeprefix("/")


def _enter_lua(name: str, source: str) -> str:
    """Code that makes the package available to `require` under its name, then calls its `run`. The lines of the package
    keep their numbers: code is added on the first line, and behind the mark, whose lines no traceback shows."""
    source = source.removeprefix("\ufeff")
    if source.startswith("#"):  # for a shell
        source = f"--{source}"
    library = f"Package '{name}' is a library package, it has no run(ctx): use it by require in code of your own"
    return (
        f'package.preload["{name}"] = function(...) {source}\nend -- [alc]\n'
        f'local strategy = require("{name}")\n'
        'if type(strategy) ~= "table" or type(strategy.run) ~= "function" then\n'
        f'  error("{library}", 0)\n'
        "end\n"
        f'return strategy.run(require("alc.inputs")("{name}", strategy.meta, ctx))\n'
    )


LUA = Language(
    name="lua",
    suffix=".lua",
    runtime="algocline_mcp.worker.engine.lua.runtime",
    interpreter="Lua 5.5",
    distribution="lupa",
    prelude=4,
    module_forms=("{}.lua", "{}/init.lua"),
    warmup="alc.log('info', 'one') return alc.llm('one') .. alc.llm('two', {system = 'three', max_tokens = 4})",
    child=(
        "local package = require('{0}') "
        "if type(package) ~= 'table' or type(package.run) ~= 'function' then "
        "error('the package does not export run(ctx)', 0) end "
        "return package.run(require('alc.inputs')('{0}', package.meta, ctx))"
    ),
    entered=_enter_lua,
    spec_library="worker/engine/lua/specs",
    hints="worker/engine/lua/hints.lua",
    spec='return require("lust").run(ctx)',
)


def _enter_python(name: str, source: str) -> str:
    """The source as it is: its chunk, NAME/__init__.py or NAME.py, names the package whose module the engine runs."""
    return source.removeprefix("\ufeff")


PYTHON = Language(
    name="python",
    suffix=".py",
    runtime="algocline_mcp.worker.engine.python.runtime",
    # The minor version counts: 3.13 sorts with a comparison function in another order than 3.12.
    interpreter=f"CPython {sys.version_info[0]}.{sys.version_info[1]}",
    distribution=None,
    prelude=1,
    module_forms=("{}.py", "{}/__init__.py"),
    warmup=(
        "import alc\n\n\ndef run(ctx):\n"
        "    alc.log('info', 'one')\n"
        "    return alc.llm('one') + alc.llm('two', system='three', max_tokens=4)\n"
    ),
    child=(
        'package = __import__("{0}")\n'
        'if not callable(getattr(package, "run", None)):\n'
        '    raise RuntimeError("the package does not export run(ctx)")\n'
        'run, meta = package.run, getattr(package, "meta", None)\n'
    ),
    entered=_enter_python,
    spec_library="worker/engine/python/specs",
    hints=None,
    spec="import alc_spec\n\n\ndef run(ctx):\n    return alc_spec.run(ctx)\n",
)
LANGUAGES = {language.name: language for language in (PYTHON, LUA)}


def language_of_file(name: str) -> Language | None:
    """By the suffix of the name."""
    return next((language for language in LANGUAGES.values() if name.endswith(language.suffix)), None)
