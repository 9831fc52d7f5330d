"""Measures are inactive until a strategy begins, and afterwards everything is as it was."""

import logging
import os
import random
import sys
import threading
import uuid
from typing import Any

import pytest

from algocline_mcp.worker.engine.python import determinism
from algocline_mcp.worker.engine.python.determinism.identity import Identity
from algocline_mcp.worker.engine.python.determinism.world import ByteStream


def _state() -> dict[str, Any]:
    class Sample:
        pass

    return {
        "random": random.getstate(),
        "environ": dict(os.environ),
        "bytes": dict(os.environb),
        "argv": sys.argv,
        "executable": sys.executable,
        "pid": os.getpid(),
        "directory": os.getcwd(),
        "user": os.getuid(),
        "thread": threading.get_native_id(),
        "main": repr(threading.main_thread()),
        "ident": threading.get_ident(),
        "threads": threading.enumerate(),
        "groups": (os.getpgrp(), os.getsid(0), os.getresuid()),
        "log": vars(logging)["_startTime"],
        "node": uuid.getnode(),
        "bases": Sample.__bases__,
    }


def _activate(seed: int = 7) -> None:
    determinism.activate(seed, lambda: 1.0, lambda seconds: None)


def test_everything_is_restored() -> None:
    determinism.install()
    before = _state()

    _activate()
    during = _state()
    random.random()
    uuid.uuid1()
    os.environ["ALC_NEW"] = "1"
    determinism.deactivate()

    os.unsetenv("ALC_NEW")
    assert _state() == before
    assert during["bases"] == (Identity,)
    assert set(during["environ"]) == {"LC_ALL", "PYTHONHASHSEED", "TZ"}


def test_an_exception_of_a_strategy_leaves_nothing_active() -> None:
    determinism.install()
    before = _state()

    for _ in range(2):
        _activate()
        with pytest.raises(ZeroDivisionError):
            exec("class A: pass\n1 / 0", {"__name__": "strategy"})
        determinism.deactivate()

    assert _state() == before


def test_activation_over_an_active_session_and_second_deactivation_change_nothing() -> None:
    determinism.install()
    before = _state()

    _activate()
    _activate(8)
    determinism.deactivate()
    determinism.deactivate()

    assert _state() == before


def test_inactive_measures_give_true_randomness() -> None:
    determinism.install()

    assert os.urandom(8) != os.urandom(8)
    assert random.Random().random() != random.Random().random()
    assert uuid.uuid4() != uuid.uuid4()


def test_a_second_session_in_a_process_begins_like_the_first() -> None:
    def numbers() -> tuple[Any, ...]:
        class Sample:
            pass

        _activate()
        try:
            return random.random(), os.urandom(9), str(uuid.uuid1()), hash(str(uuid.uuid4())), random.randbytes(3)
        finally:
            determinism.deactivate()

    assert numbers() == numbers()


def test_a_seed_of_the_strategy_gives_the_numbers_of_plain_python() -> None:
    plain = random.Random(3).random()
    _activate()
    random.seed(3)
    number = random.random()
    determinism.deactivate()

    assert number == plain


@pytest.mark.parametrize("sizes", [[200], [1] * 200, [64, 64, 72], [63, 0, 137]])
def test_a_byte_stream_is_the_same_in_any_portions(sizes: list[int]) -> None:
    stream = ByteStream(5)

    assert b"".join(map(stream.read, sizes)) == ByteStream(5).read(200)
    assert ByteStream(6).read(200) != ByteStream(5).read(200)


def test_addresses_in_texts_are_replaced() -> None:
    text = determinism.clean(f"{_activate} and {object()!r}, at 0 and 0x12")

    assert text == "<function _activate at 0x0> and <object object at 0x0>, at 0 and 0x12"
