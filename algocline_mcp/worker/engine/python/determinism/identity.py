"""Hash and repr of own instances: by a serial number in place of the address.

A class of the strategy gets a last base whose `__hash__` and `__repr__` every other base overrides. As attributes of
the class itself they would look like the author's own, and @dataclass would leave them. Metaclasses that look at the
bases (Enum, NamedTuple, TypedDict, Protocol, and those of a strategy) do not get to see the base: their classes get
attributes, where they have neither method.
"""

import abc
import builtins
import types
import weakref
from itertools import count
from typing import Any, Protocol

from algocline_mcp.worker.engine.python.determinism import world
from algocline_mcp.worker.engine.python.determinism.patches import Patches

_PROTOCOL = type(Protocol)
_OF_OBJECT = type(object().__repr__)  # of a method in C, with the class that it is defined in


class _Reference(weakref.ref[Any]):
    __slots__ = ("key", "serial")
    key: int
    serial: int


class _Serials:
    """Numbers objects in the order in which they are first asked for, in one session."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._next = count(1)
        self._references: dict[int, _Reference] = {}
        self._lasting: dict[int, tuple[int, Any]] = {}

    def of(self, obj: Any) -> int:
        key = id(obj)
        if (reference := self._references.get(key)) is not None and reference() is obj:
            return reference.serial
        if (lasting := self._lasting.get(key)) is not None:
            return lasting[0]
        serial = next(self._next)
        try:
            reference = _Reference(obj, self._forget)
        except TypeError:  # __slots__ without __weakref__: kept, because another object could get its address
            self._lasting[key] = (serial, obj)
            return serial
        reference.key, reference.serial = key, serial
        self._references[key] = reference
        return serial

    def _forget(self, reference: _Reference) -> None:
        if self._references.get(reference.key) is reference:
            del self._references[reference.key]


serials = _Serials()


def _is_of_object(method: Any) -> bool:
    return type(method) is _OF_OBJECT and getattr(method, "__objclass__", None) is object


def _numbered_repr(self: Any) -> str:
    cls = type(self)
    return f"<{cls.__module__}.{cls.__qualname__} object at 0x{serials.of(self):012x}>"


class Identity:
    """The last base of a strategy's classes.

    Not always the last one of all: for the bases (Own, ValueError), where Own has it too, Exception comes later."""

    __slots__ = ()

    def __hash__(self) -> int:
        following: Any = super().__hash__
        if _is_of_object(following):
            return serials.of(self)
        if following is None:
            raise TypeError(f"unhashable type: '{type(self).__name__}'")
        return int(following())

    def __repr__(self: Any) -> str:
        if not isinstance(self, Identity):  # Enum takes this function from a mixin, to show the values of its members
            return repr(self)
        following: Any = super().__repr__
        return _numbered_repr(self) if _is_of_object(following) else str(following())


_ATTRIBUTES: dict[str, Any] = {"__hash__": lambda self: serials.of(self), "__repr__": _numbered_repr}


def _metaclass(bases: tuple[Any, ...], given: Any) -> Any:
    """As Python chooses it: the most derived one."""
    if given is not None and not isinstance(given, type):
        return given
    derived = given or type
    for base in bases:
        if not isinstance(base, type):  # Python calls its type, and that raises
            return type(base)
        if issubclass(type(base), derived):
            derived = type(base)
    return derived


def _with_identity(bases: tuple[Any, ...]) -> tuple[Any, ...]:
    if Identity in bases:
        return bases
    if bases and bases[-1] is object:
        return (*bases[:-1], Identity, object)
    return (*bases, Identity)


class _Builder:
    def __init__(self) -> None:
        self._original: Any = builtins.__build_class__

    def build_class(self, function: Any, name: str, /, *bases: Any, **keywords: Any) -> Any:
        if world.current is None:
            return self._original(function, name, *bases, **keywords)
        resolved = types.resolve_bases(bases)
        metaclass = _metaclass(resolved, keywords.get("metaclass"))
        is_protocol = metaclass is _PROTOCOL and Protocol in resolved
        if metaclass in (type, abc.ABCMeta) or (metaclass is _PROTOCOL and not is_protocol):
            cls = self._original(function, name, *_with_identity(bases), **keywords)
            if vars(cls).get("__hash__") is object.__hash__:  # of an author who defines __eq__
                type.__setattr__(cls, "__hash__", _ATTRIBUTES["__hash__"])
            return cls
        cls = self._original(function, name, *bases, **keywords)
        if isinstance(cls, type) and not is_protocol:
            for name_of_method, method in _ATTRIBUTES.items():
                if getattr(cls, name_of_method) is getattr(object, name_of_method):
                    type.__setattr__(cls, name_of_method, method)
        return cls


class _NewClass:
    """types.new_class, which dataclasses.make_dataclass calls, too."""

    def __init__(self) -> None:
        self._original = types.new_class

    def __call__(self, name: str, bases: tuple[Any, ...] = (), kwds: Any = None, exec_body: Any = None) -> Any:
        if world.current is not None:
            given = (kwds or {}).get("metaclass")
            if _metaclass(types.resolve_bases(bases), given) in (type, abc.ABCMeta):
                bases = _with_identity(tuple(bases))
        return self._original(name, bases, kwds, exec_body)


def install(patches: Patches) -> None:
    patches.replace(builtins, "__build_class__", _Builder().build_class)
    patches.replace(types, "new_class", _NewClass())
