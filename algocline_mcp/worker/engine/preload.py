"""The read-only state that all workers of one process start with.

Contract: built once, before the first fork, so that workers share its memory. Nothing writes to it afterwards, except
in a worker that was started by exec: it prepares the language of its session, and another one where a child needs it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Generic, Self, TypeVar

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.config.sandbox import probe
from algocline_mcp.languages import LANGUAGES, Language
from algocline_mcp.worker.confinement.confinement import Confinement
from algocline_mcp.worker.engine.process import LanguageRuntime
from algocline_mcp.worker.lowlevel.memory_pages import NO_RANGES, Ranges

NODE_SOCKET = "ALC_NODE_SOCKET"  # set by a server with a database for its workers; not a setting of a user

Value = TypeVar("Value")


class OnDemand(Mapping[str, Value], Generic[Value]):
    """A value for each language, made when it is first asked for."""

    def __init__(self, make: Callable[[Language], Value]) -> None:
        self._make = make
        self._made: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self._made:
            self._made[name] = self._make(LANGUAGES[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(LANGUAGES)

    def __len__(self) -> int:
        return len(LANGUAGES)


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
    node_socket: str = ""  # where the node listens that commits to a database; empty: there is no database

    def of(self, part: str) -> "Preloaded":
        """The same for a session in that part of the home."""
        return replace(self, home=Home(self.home.root, part)) if part else self

    @classmethod
    def from_env(cls, environ: Mapping[str, str], names: Iterable[str] = LANGUAGES) -> Self:
        """Reads the settings and prepares the languages `names` (Python takes 0.12 s, Lua 0.04), others on demand.
        Raises HomeUnusable for a setting that cannot be used."""
        limits = Limits.from_env(environ)

        def prepare(language: Language) -> LanguageRuntime:
            runtime: LanguageRuntime = import_module(language.runtime).prepare(
                heap_bytes=limits.heap_bytes, headroom_bytes=limits.headroom_bytes, line_bytes=limits.line_bytes
            )
            return runtime

        def abi(language: Language) -> dict[str, Any]:
            return dict(import_module(language.runtime).ABI)

        runtimes, abis = OnDemand(prepare), OnDemand(abi)
        for name in names:
            runtimes.get(name)
        confinement = Confinement.prepare(probe(environ))
        node_socket = environ.get(NODE_SOCKET, "")
        return cls(Home.from_env(environ), limits, runtimes, abis, confinement, node_socket=node_socket)
