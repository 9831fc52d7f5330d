"""Classes with the base that numbers instances are what they are in plain Python."""

import abc
import collections
import copy
import dataclasses
import enum
import gc
import pickle
import sys
import typing
import weakref
from typing import Any

import pytest

from algocline_mcp.worker.engine.python.determinism.identity import Identity, serials

pytestmark = pytest.mark.usefixtures("tape")
T = typing.TypeVar("T")


def _made() -> dict[str, Any]:
    """Classes of many kinds, made while the measures are active."""

    class Plain:
        pass

    class FromObject(object):  # noqa: UP004  the written base
        pass

    class Child(Plain):
        pass

    class Mixed(Child, ValueError):
        pass

    class Keyed(Plain, collections.UserDict[str, int]):
        pass

    class Base(abc.ABC):
        @abc.abstractmethod
        def f(self) -> int: ...

    class Whole(Base):
        def f(self) -> int:
            return 1

    class Slots:
        __slots__ = ("x",)

    class WeakSlots:
        __slots__ = ("__weakref__", "x")

    class Meta(type):
        roots: typing.ClassVar[list[str]] = []

        def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
            if not bases:
                mcs.roots.append(name)
            return super().__new__(mcs, name, bases, namespace)

    class Root(metaclass=Meta):
        pass

    class Leaf(Root):
        pass

    class Box(typing.Generic[T]):
        pass

    class Shape(typing.Protocol):
        def area(self) -> int: ...

    class Square(Shape):
        def area(self) -> int:
            return 4

    return {name: value for name, value in locals().items() if isinstance(value, type)}


@pytest.mark.parametrize(
    "name", ["Plain", "FromObject", "Child", "Mixed", "Whole", "Slots", "WeakSlots", "Root", "Leaf", "Box", "Square"]
)
def test_instances_have_the_hash_of_their_serial_number(name: str) -> None:
    cls = _made()[name]
    items = [cls() for _ in range(50)]
    first = hash(items[0])

    assert [hash(item) for item in items] == list(range(first, first + 50))
    assert len(set(items)) == 50
    assert items[0] != items[1]


def test_another_base_goes_before_the_serial_number() -> None:
    classes = _made()

    assert repr(classes["Mixed"]("bad")) == "Mixed('bad')"
    with pytest.raises(TypeError, match="unhashable type: 'Keyed'"):
        hash(classes["Keyed"]())
    assert repr(classes["Keyed"](a=1)) == "{'a': 1}"
    assert repr(classes["Plain"]()).endswith(".Plain object at 0x000000000001>")


def test_classes_that_look_at_their_bases_see_only_those_written() -> None:
    classes = _made()

    assert classes["Meta"].roots == ["Root"]
    assert Identity not in classes["Root"].__mro__
    with pytest.raises(TypeError, match="abstract"):
        classes["Base"]()


def test_dataclasses_enums_and_tuples_are_plain() -> None:
    @dataclasses.dataclass
    class Point:
        x: int

    @dataclasses.dataclass(frozen=True, slots=True, order=True)
    class Frozen:
        x: int

    @dataclasses.dataclass(slots=True, weakref_slot=True, eq=False)
    class Weak:
        x: int

    class Colour(enum.Enum):
        RED = "red"

    class Level(enum.IntEnum):
        LOW = 1

    class Pair(typing.NamedTuple):
        a: int

    class Options(typing.TypedDict):
        a: int

    assert repr(Point(1)).endswith("Point(x=1)")
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))
    assert Frozen(1) < Frozen(2)
    assert hash(Frozen(1)) == hash((1,))
    assert weakref.ref(weak := Weak(1))() is weak
    assert (Colour("red"), Level(1) + 1, Pair(1), Options(a=1)) == (Colour.RED, 2, (1,), {"a": 1})
    assert repr(Colour.RED) == "<Colour.RED: 'red'>"


def test_a_class_with_eq_and_without_hash_is_unhashable() -> None:
    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

    with pytest.raises(TypeError, match="unhashable"):
        hash(Equal())


def test_copies_and_pickles_are_other_objects() -> None:
    cls = _made()["Plain"]
    cls.__qualname__ = "Numbered"
    setattr(sys.modules[__name__], "Numbered", cls)  # noqa: B010
    cls.__module__ = __name__
    item = cls()
    item.x = [1]

    others = [copy.copy(item), copy.deepcopy(item), *(pickle.loads(pickle.dumps(item, n)) for n in range(6))]

    assert all(type(other) is cls and other.x == [1] and vars(other) == {"x": [1]} for other in others)
    assert len({item, *others}) == 9
    delattr(sys.modules[__name__], "Numbered")


def test_the_number_of_a_dead_object_is_not_given_to_the_next_at_its_address() -> None:
    cls = _made()["Plain"]

    numbers = [hash(cls()) for _ in range(20)]
    gc.collect()

    assert numbers == sorted(set(numbers))
    assert not serials._references


def test_an_error_in_the_head_of_a_class_is_that_of_python() -> None:
    with pytest.raises(TypeError, match="duplicate base class"):
        exec("class A: pass\nclass B(A, A): pass", {"__name__": "strategy"})
