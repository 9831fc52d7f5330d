"""The read-only state that all workers of one process start with.

Contract: built once, before the first fork, so that workers share its memory. Nothing writes to it afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.config.sandbox import probe
from algocline_mcp.languages import LANGUAGES
from algocline_mcp.worker.confinement.confinement import Confinement
from algocline_mcp.worker.engine.process import LanguageRuntime
from algocline_mcp.worker.lowlevel.memory_pages import NO_RANGES, Ranges


@dataclass(frozen=True, slots=True)
class Preloaded:
    """Home, limits, the prepared languages, the confinement of engines; in a fork server also the memory pages that
    workers write first."""

    home: Home
    limits: Limits
    runtimes: Mapping[str, LanguageRuntime]  # language -> its machine, ready to run
    abis: Mapping[str, dict[str, Any]]  # language -> the ABI that a journal must have been written under
    confinement: Confinement  # of engines
    keeper_pages: Ranges = NO_RANGES  # pages that a keeper writes before its first prompt
    engine_pages: Ranges = NO_RANGES  # pages that an engine writes before its first prompt

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Reads the settings and prepares each language. Raises HomeUnusable for a setting that cannot be used."""
        limits = Limits.from_env(environ)
        modules = {name: import_module(language.runtime) for name, language in LANGUAGES.items()}
        runtimes = {
            name: module.prepare(
                heap_bytes=limits.heap_bytes, headroom_bytes=limits.headroom_bytes, line_bytes=limits.line_bytes
            )
            for name, module in modules.items()
        }
        abis = {name: module.ABI for name, module in modules.items()}
        return cls(Home.from_env(environ), limits, runtimes, abis, Confinement.prepare(probe(environ)))
