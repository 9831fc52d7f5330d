"""What every worker of one process begins with: made once, before the first fork, and only read afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.languages import LANGUAGES
from algocline_mcp.worker.engine.process import LanguageRuntime
from algocline_mcp.worker.lowlevel.memory_pages import NO_RANGES, Ranges


@dataclass(frozen=True, slots=True)
class Preloaded:
    home: Home
    limits: Limits
    runtimes: Mapping[str, LanguageRuntime]  # by language, ready to run
    abis: Mapping[str, dict[str, Any]]  # by language: what a journal must have been written under
    keeper_pages: Ranges = NO_RANGES  # what workers write of the memory that they share at first
    engine_pages: Ranges = NO_RANGES

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises HomeUnusable for a setting that cannot be used."""
        limits = Limits.from_env(environ)
        modules = {name: import_module(language.runtime) for name, language in LANGUAGES.items()}
        runtimes = {
            name: module.prepare(
                heap_bytes=limits.heap_bytes, headroom_bytes=limits.headroom_bytes, line_bytes=limits.line_bytes
            )
            for name, module in modules.items()
        }
        abis = {name: module.ABI for name, module in modules.items()}
        return cls(Home.from_env(environ), limits, runtimes, abis)
