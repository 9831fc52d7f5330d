"""Dates are of Python's own classes: only their clock is another."""

# ruff: noqa: DTZ002, DTZ005, DTZ006, DTZ007, DTZ011  dates without a zone, as strategies make them

import copy
import datetime
import pickle
import time
from typing import Any

import pytest

from algocline_mcp.worker.engine.python import determinism
from tests.worker.engine.python.determinism.conftest import Tape

NOW = datetime.datetime(2023, 11, 14, 22, 13, 20, 125000, datetime.UTC)


class Own(datetime.datetime):
    pass


def test_now_is_the_recorded_time_in_each_zone(tape: Tape) -> None:
    tokyo = datetime.timezone(datetime.timedelta(hours=9))

    assert datetime.datetime.now(datetime.UTC) == NOW
    assert datetime.datetime.now(tokyo).isoformat() == "2023-11-15T07:13:20.125000+09:00"
    assert datetime.datetime.now(tz=None) == datetime.datetime.fromtimestamp(tape.now_s)
    assert datetime.datetime.today() == datetime.datetime.now()
    assert datetime.date.today() == datetime.datetime.now().date()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda: datetime.datetime.now(), datetime.datetime),
        (lambda: datetime.datetime.now() + datetime.timedelta(1), datetime.datetime),
        (lambda: datetime.datetime.strptime("2024", "%Y"), datetime.datetime),
        (lambda: datetime.datetime.fromtimestamp(0), datetime.datetime),
        (lambda: pickle.loads(pickle.dumps(datetime.datetime.now())), datetime.datetime),
        (lambda: copy.deepcopy(datetime.datetime.now()), datetime.datetime),
        (lambda: datetime.date.today(), datetime.date),
        (lambda: Own.now(), Own),
        (lambda: Own.today(), Own),
    ],
)
def test_dates_have_the_plain_class(tape: Tape, value: object, kind: type) -> None:
    assert callable(value)
    date = value()

    assert type(date) is kind
    assert isinstance(date, datetime.date)
    assert repr(datetime.datetime.now(datetime.UTC)).startswith("datetime.datetime(2023, 11, 14, 22, 13")


def test_sleep_moves_the_recorded_clock_and_no_other(tape: Tape) -> None:
    began = time.monotonic(), time.time(), time.perf_counter_ns()
    time.sleep(3600)

    assert time.monotonic() - began[0] == 3600
    assert time.time() - began[1] == 3600
    assert time.perf_counter_ns() - began[2] == 3600 * 10**9


def test_a_clock_that_goes_back_leaves_monotonic_where_it_was(tape: Tape) -> None:
    before = time.monotonic()
    tape.now_s -= 10

    assert time.monotonic() == before
    assert time.time() == before - 10


@pytest.mark.parametrize(("seconds", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)])
def test_a_sleep_that_python_refuses_is_refused(tape: Tape, seconds: float, error: type[Exception]) -> None:
    with pytest.raises(error):
        time.sleep(seconds)


def test_a_clock_as_attribute_of_a_class_takes_no_instance(tape: Tape) -> None:
    timer: Any = type("Timer", (), {"now": time.time, "wait": time.sleep})()
    timer.wait(1)

    assert timer.now() == tape.now_s


def test_after_deactivation_the_machine_has_its_clock_again(tape: Tape) -> None:
    determinism.deactivate()

    assert datetime.datetime.now(datetime.UTC) > datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert time.time() > tape.now_s + 10**6
