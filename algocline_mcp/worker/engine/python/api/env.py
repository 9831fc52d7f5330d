"""alc.env: environment variables. Each read is an effect, recorded and replayed."""

from collections.abc import Sequence
from typing import Any, TypeVar, overload

from algocline_mcp.worker.engine.python.api.host import call
from algocline_mcp.worker.engine.python.api.texts import kind_of, problem

Default = TypeVar("Default")


class Environment:
    """`env.NAME` and `env["NAME"]` are the variable, or None where it is not set or not allowed."""

    __slots__ = ()

    def __getattr__(self, name: str) -> str | None:
        if name.startswith("__"):  # asked by Python itself
            raise AttributeError(name)
        return _variable(name)

    def __getitem__(self, name: str) -> str | None:
        return _variable(name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise problem("env.readonly")

    def __setitem__(self, name: str, value: Any) -> None:
        raise problem("env.readonly")

    @overload
    def get(self, name: str, default: None = None) -> str | None: ...
    @overload
    def get(self, name: str, default: Default) -> str | Default: ...
    def get(self, name: str, default: Any = None) -> Any:
        value = _variable(name)
        return default if value is None else value

    def use(self, names: Sequence[str]) -> dict[str, str]:
        """Several variables at once. The first missing variable is an error."""
        if not isinstance(names, Sequence) or isinstance(names, str):
            raise problem("argument", "alc.env:use", "the names", "a list of strings", kind_of(names))
        values: dict[str, str] = {}
        for name in names:
            value = _variable(name)
            if value is None:
                raise problem("env.missing", name)
            values[name] = value
        return values


def _variable(name: Any) -> str | None:
    if not isinstance(name, str):
        raise problem("argument", "alc.env", "a name", "a string", kind_of(name))
    value: str | None = call("env", name)
    return value


env = Environment()
