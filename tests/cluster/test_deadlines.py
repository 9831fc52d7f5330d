"""What is due is carried out by one thread, in the order of the deadlines, and nothing that was removed."""

import threading

from algocline_mcp.cluster.deadlines import Deadlines
from tests.rig.processes import SOON_S

LATER_S = 1000.0


def test_what_is_added_later_and_due_earlier_is_carried_out_first() -> None:
    deadlines, done, is_due = Deadlines(), list[str](), threading.Event()
    deadlines.add(LATER_S, lambda: done.append("later"))
    deadlines.add(0.02, is_due.set)
    assert is_due.wait(SOON_S)
    assert not done


def test_what_was_removed_is_not_carried_out() -> None:
    deadlines, done, is_due = Deadlines(), list[str](), threading.Event()
    removed = deadlines.add(0.02, lambda: done.append("removed"))
    deadlines.remove(removed)
    deadlines.add(0.04, is_due.set)  # by the same thread, and after it
    assert is_due.wait(SOON_S)
    assert not done
    deadlines.remove(removed)  # a second time, as after it was carried out


def test_after_all_is_done_the_next_one_is_carried_out() -> None:
    deadlines = Deadlines()
    for _ in range(3):  # each time the thread sleeps without a deadline
        is_due = threading.Event()
        deadlines.add(0.01, is_due.set)
        assert is_due.wait(SOON_S)


def test_there_is_one_thread() -> None:
    deadlines = Deadlines()
    before = threading.active_count()
    for _ in range(100):
        deadlines.remove(deadlines.add(LATER_S, lambda: None))
    assert threading.active_count() == before + 1
