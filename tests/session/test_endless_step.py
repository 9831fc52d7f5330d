"""A step that burned its processor time twice: the code is deterministic, so it is not tried a third time by itself."""

import pytest

from algocline_mcp.session.events import Died
from algocline_mcp.session.records import CPU_USED_UP
from algocline_mcp.session.results import view
from algocline_mcp.session.state import Phase
from algocline_mcp.session.streams import MAIN
from tests.session.histories import BORN_S, History, paused, running


def burned(history: History, *reasons: str) -> History:
    for reason in reasons:
        history.do(Died(MAIN, reason, history.tick()))
    return history


@pytest.mark.parametrize(
    ("history", "phase"),
    [
        (burned(running(), CPU_USED_UP), Phase.RUNNING),
        (burned(running(), CPU_USED_UP, "ended by SIGSEGV"), Phase.RUNNING),
        (burned(running(), CPU_USED_UP, CPU_USED_UP), Phase.STUCK),
        (burned(paused(), CPU_USED_UP, CPU_USED_UP), Phase.PAUSED),
    ],
)
def test_step_that_burned_its_processor_time_twice_is_not_tried_again(history: History, phase: Phase) -> None:
    assert history.session.phase is phase


def test_advice_names_the_call_that_keeps_the_answers() -> None:
    stuck = view(burned(running(), CPU_USED_UP, CPU_USED_UP).session, now_s=BORN_S)["Stuck"]

    assert "alc_branch(session_id, code=…)" in stuck["next"]
