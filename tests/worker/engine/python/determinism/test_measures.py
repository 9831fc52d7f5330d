"""Measures that no comparison of processes on one machine would miss, one by one."""

import asyncio
import datetime
import gc
import json
import os
import sched
import traceback
import uuid
import warnings
import weakref
from collections.abc import Iterator

import pytest

from algocline_mcp.worker.engine.python import determinism
from algocline_mcp.worker.engine.python.event_loop import EventLoop
from tests.worker.engine.python.fake_exchange import FakeExchange

NOW_S = 1_700_000_000.0


def activate(seed: int = 7) -> None:
    determinism.activate(seed, lambda: NOW_S, lambda seconds: None)


@pytest.fixture
def active() -> Iterator[None]:
    activate()
    yield
    determinism.deactivate()


@pytest.mark.usefixtures("active")
def test_clocks_that_are_read_in_c_or_by_a_default_are_the_recorded_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        utc = datetime.datetime.utcnow()  # noqa: DTZ003  what old code calls

    assert utc.replace(tzinfo=datetime.UTC).timestamp() == NOW_S
    assert sched.scheduler().timefunc() == NOW_S


def test_the_node_of_a_uuid_follows_from_the_seed() -> None:
    nodes = []
    for seed in (7, 7, 8):
        activate(seed)
        nodes.append(uuid.getnode())
        determinism.deactivate()

    assert nodes[0] == nodes[1] != nodes[2]


def test_a_uuid_does_not_depend_on_those_that_its_process_made_before(monkeypatch: pytest.MonkeyPatch) -> None:
    first = []
    for last in (None, 1 << 60):
        monkeypatch.setattr(uuid, "_last_timestamp", last)
        activate()
        first.append(uuid.uuid1())
        determinism.deactivate()

    assert first[0] == first[1]


class Node:
    def __init__(self) -> None:
        self.itself = self


def test_garbage_that_a_process_inherits_is_gone_and_the_rest_is_no_longer_looked_at() -> None:
    determinism.install()
    gc.disable()
    reference = weakref.ref(Node())
    was_there = reference() is not None
    activate()
    frozen = gc.get_freeze_count()
    determinism.deactivate()
    gc.enable()

    assert (was_there, reference()) == (True, None)
    assert frozen > 1000


@pytest.mark.usefixtures("active")
def test_tracebacks_and_stacks_name_no_file_of_the_machine() -> None:
    stack: list[traceback.FrameSummary] = []
    json.loads("{}", object_hook=lambda _: stack.extend(traceback.extract_stack()))
    try:
        json.loads("{")
    except ValueError:
        text = traceback.format_exc()

    library = os.path.dirname(os.__file__) + os.sep + "json"
    assert library not in text
    assert not [frame for frame in stack if frame.filename.startswith(library)]
    assert any(frame.filename == __file__ for frame in stack)


def test_futures_of_a_loop_have_the_hash_of_their_number_and_its_time_never_goes_back() -> None:
    exchange = FakeExchange()
    loop = EventLoop(exchange)
    futures: list[asyncio.Future[None]] = [loop.create_future() for _ in range(50)]
    times = [loop.time()]
    exchange.clock_s -= 100
    times.append(loop.time())
    loop.close()

    first = hash(futures[0])
    assert [hash(future) for future in futures] == list(range(first, first + 50))
    assert times[0] == times[1]
