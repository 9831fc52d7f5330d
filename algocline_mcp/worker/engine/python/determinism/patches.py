"""Replaces functions of the standard library, also where a module has imported them by name."""

import ctypes
import gc
import sys
from collections.abc import Callable
from typing import Any


class Patches:
    def __init__(self) -> None:
        self._replacements: dict[int, tuple[Any, Any]] = {}  # id of the original -> original, replacement

    def replace(self, module: Any, name: str, replacement: Callable[..., Any]) -> None:
        """`replacement` is a bound method, or an object of a class without `__get__`: as an attribute of a class it is
        called without the instance, like the functions in C that it replaces."""
        original = getattr(module, name)
        self._replacements[id(original)] = (original, replacement)
        setattr(module, name, replacement)

    def rebind_imported(self) -> None:
        """Replaces what modules hold under a name of their own, as `random._urandom` and `queue.time`. Not in this
        project, which needs the real clock."""
        for module_name, module in list(sys.modules.items()):
            if module_name.partition(".")[0] == "algocline_mcp":
                continue
            for name, value in list(getattr(module, "__dict__", {}).items()):
                original, replacement = self._replacements.get(id(value), (None, None))
                if original is value and replacement is not None:
                    module.__dict__[name] = replacement


def replace_class_method(owner: type, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Replaces a class method of a class in C, and returns the original as a function of the class and its arguments.

    A subclass in its place would be another class than that of the objects which C code makes: of `strptime`, of
    arithmetic, of pickles. The class itself stays the same here, so nothing of this can differ."""
    namespace: dict[str, Any] = gc.get_referents(owner.__dict__)[0]
    original = namespace[name]
    namespace[name] = classmethod(function)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))  # method caches hold the original
    return lambda cls, *args, **options: original.__get__(None, cls)(*args, **options)
