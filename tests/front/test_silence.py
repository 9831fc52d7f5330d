"""A server that says nothing is asked, and ended if it stays silent; one that owes nothing is left alone."""

from math import inf

from algocline_mcp.front.silence import Silence, Step


def test_a_server_is_asked_after_the_limit_and_ended_after_it_once_more() -> None:
    silence = Silence(30.0)
    steps = [silence.decide(now_s, is_owing=True) for now_s in (0.0, 29.9, 30.0, 59.9, 60.0)]

    assert steps == [Step.NOTHING, Step.NOTHING, Step.ASK, Step.NOTHING, Step.END]


def test_a_word_of_the_server_begins_the_limit_anew() -> None:
    silence = Silence(30.0)
    steps = []
    for now_s in (0.0, 30.0, 40.0, 69.9, 70.0):
        steps.append(silence.decide(now_s, is_owing=True))
        if now_s == 30.0:
            silence.heard()

    assert steps == [Step.NOTHING, Step.ASK, Step.NOTHING, Step.NOTHING, Step.ASK]


def test_a_pause_of_both_processes_ends_no_server() -> None:
    silence = Silence(30.0)
    silence.decide(0.0, is_owing=True)

    assert silence.decide(5000.0, is_owing=True) is Step.ASK
    assert silence.due_s == 5030.0


def test_a_server_that_owes_nothing_is_not_watched() -> None:
    silence = Silence(30.0)
    silence.decide(0.0, is_owing=True)
    silence.decide(10.0, is_owing=False)

    assert silence.due_s == inf
    assert silence.decide(40.0, is_owing=True) is Step.NOTHING


def test_a_limit_of_zero_is_none() -> None:
    silence = Silence(0.0)
    silence.decide(0.0, is_owing=True)

    assert silence.due_s == inf
