"""Waits for any answer in a real keeper's session, whose engine the test plays: delivered, recorded, replayed."""

import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.timeline import text_of
from algocline_mcp.config.limits import Limits
from algocline_mcp.history.new_session import Strategy
from algocline_mcp.history.views import Page, view_of
from algocline_mcp.session.events import Answer, Continue
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Phase
from algocline_mcp.storage.journal_lines import scan
from algocline_mcp.worker.engine.messages import Wait, parse, problem_of
from tests.attacks.in_process import Scene, scene
from tests.session.histories import LIMITS


class Play:
    """An engine's side of a session: sends messages, keeps the replies."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._rest = b""
        self.begin()

    def begin(self) -> None:
        self._rest = b""
        self.heard()  # its start

    def say(self, **message: Any) -> list[Record]:
        """What the keeper replies at once."""
        engine = self.scene.runner.engines.by_stream[""]
        self.scene.far[engine.pid].sendall(json.dumps(message).encode() + b"\n")
        self.scene.runner.read(engine)
        return self.heard()

    def heard(self) -> list[Record]:
        far = self.scene.far[self.scene.runner.engines.by_stream[""].pid]
        try:
            while chunk := far.recv(1 << 20):
                self._rest += chunk
        except BlockingIOError:
            pass
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def wait(self, *prompts: str, wake_s: float | None = None, withdrawn: Sequence[int] = ()) -> list[Record]:
        queries = [{"prompt": prompt, "system": None, "max_tokens": 64} for prompt in prompts]
        return self.say(op="wait", queries=queries, wake_s=wake_s, withdrawn=withdrawn)

    def answer(self, **texts: str) -> list[Record]:
        answers = tuple(Answer(name.replace("_", "-"), text) for name, text in texts.items())
        self.scene.runner.apply(Continue(answers, time.time()))
        return self.heard()

    def revive(self) -> None:
        self.scene.runner.flush()
        self.scene.revive()
        self.begin()

    def records(self) -> list[Record]:
        self.scene.runner.flush()
        return scan(self.scene.path.read_bytes()).records


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    with scene(tmp_path, Limits(), Strategy("return 1")) as made:
        yield Play(made)


def delivered(*answered: tuple[int, str]) -> list[Record]:
    return [{"answered": [[number, {"response": text}] for number, text in answered], "woke": False}]


WOKEN = [{"answered": [], "woke": True}]


def test_each_answer_is_delivered_as_soon_as_it_is_there(play: Play) -> None:
    assert play.wait("a", "b", "c") == []
    assert play.answer(q_1="B") == delivered((1, "B"))
    assert play.wait("d") == []
    assert play.answer(q_3="D", q_0="A") == delivered((0, "A"), (3, "D"))
    assert list(play.scene.runner.session.pending) == ["q-2"]


def test_answer_that_comes_while_the_engine_computes_is_kept_for_the_next_wait(play: Play) -> None:
    play.wait("a", "b")
    play.answer(q_1="B")

    assert play.answer(q_0="A") == []
    assert play.say(op="ask", queries=[{"prompt": "now", "max_tokens": 5}]) == []
    assert play.answer(q_2="N") == [{"answers": [{"response": "N"}]}]
    assert play.wait() == delivered((0, "A"))


def test_timer_fires_in_the_keeper_and_leaves_the_query_open(play: Play) -> None:
    play.wait("a", wake_s=0.02)
    due = play.scene.runner.due
    assert due is not None
    assert play.scene.runner.session.phase is Phase.PAUSED
    time.sleep(max(0.0, due - time.monotonic()))

    play.scene.runner.process_due()

    assert play.heard() == WOKEN
    assert play.scene.runner.engines.is_driven_by_timers
    assert play.answer(q_0="A") == []
    assert play.wait() == delivered((0, "A"))


def test_sleeping_session_is_not_at_rest(play: Play) -> None:
    play.wait(wake_s=50)

    assert play.scene.runner.is_asleep
    assert play.scene.runner.session.phase is Phase.RUNNING
    assert "Running" in play.scene.runner.feed_result()


def test_timer_counts_from_the_recorded_time_also_after_a_revival(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    play.wait("a", wake_s=60)
    play.revive()
    assert play.wait("a", wake_s=60) == []
    play.revive()
    module = "algocline_mcp.worker.keeper.message_runner.now_s"
    monkeypatch.setattr(module, lambda: time.time() + 61)

    assert play.wait("a", wake_s=60) == WOKEN


@pytest.mark.parametrize("seed", range(20))
def test_killed_after_each_message_it_is_served_the_same_deliveries(play: Play, seed: int) -> None:
    rng = random.Random(seed)
    said: list[tuple[tuple[str, ...], float | None, list[int]]] = []
    replies: list[Record] = []
    asked = 0

    def replay() -> list[Record]:
        play.revive()
        waits = (play.wait(*prompts, wake_s=wake_s, withdrawn=withdrawn) for prompts, wake_s, withdrawn in said)
        return [reply for replies in waits for reply in replies]

    for _ in range(8):
        open_ids = list(play.scene.runner.session.pending)
        withdrawn = rng.sample(range(asked), rng.randrange(asked + 1)) if rng.random() < 0.3 else []
        is_one_left = any(int(query_id[2:]) not in withdrawn for query_id in open_ids)
        count = rng.randrange(0 if is_one_left else 1, 4)
        wake_s = 0 if is_one_left and rng.random() < 0.2 else None
        said.append((tuple(f"p{asked + n}" for n in range(count)), wake_s, withdrawn))
        asked += count
        replies += play.wait(*said[-1][0], wake_s=wake_s, withdrawn=withdrawn)
        assert not {f"q-{number}" for number in withdrawn} & play.scene.runner.session.pending.keys()
        if len(replies) < len(said):
            assert replay() == replies
            open_ids = list(play.scene.runner.session.pending)
            chosen = rng.sample(open_ids, rng.randrange(1, len(open_ids) + 1))
            replies += play.answer(**{query_id.replace("-", "_"): f"A {query_id}" for query_id in chosen})
        assert len(replies) == len(said)
        assert replay() == replies
    given = [number for reply in replies for number, _ in reply["answered"]]
    assert len(given) == len(set(given))


def test_killed_between_an_answer_and_its_delivery_it_is_delivered_after_the_replay(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    play.wait("a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(play.scene.runner, "process_due", lambda: None)
        play.answer(q_1="B")
    play.revive()

    assert play.wait("a", "b") == delivered((1, "B"))
    assert play.records()[-1]["kind"] in ("delivery", "flushed")


def test_other_wait_on_replay_is_diverged(play: Play) -> None:
    play.wait("a", wake_s=9)
    play.revive()
    play.wait("a", wake_s=8)  # a second engine tries it once more
    play.scene.send("", b'{"op":"wait","queries":[{"prompt":"a","max_tokens":64}],"wake_s":8}\n')

    assert play.scene.runner.fatal is not None
    assert play.scene.runner.fatal["error_code"] == "diverged"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"queries": [], "wake_s": None}, "nothing would ever come"),
    ({"queries": [], "wake_s": -1}, "a timer of -1 s, at least 0"),
    ({"queries": [], "wake_s": -0.5}, "a timer of -0.5 s"),
    ({"queries": [], "wake_s": 86_401}, "at most 86400"),
    ({"queries": [], "wake_s": 1e300}, "at most 86400"),
    ({"queries": [{"prompt": " ", "max_tokens": 5}]}, "the prompt is empty"),
    ({"queries": [{"prompt": "p", "max_tokens": 5}] * 257}, "257 prompts at once"),
]


@pytest.mark.parametrize(("message", "sentence"), REFUSED, ids=str)
def test_impossible_wait_is_refused_with_a_sentence_and_again_on_replay(
    play: Play, message: dict[str, Any], sentence: str
) -> None:
    (reply,) = play.say(op="wait", **message)
    play.wait("a")
    play.revive()

    assert sentence in reply["error"]
    assert play.say(op="wait", **message) == [reply]
    assert play.wait("a") == []


BREACHES = (
    b'{"op":"wait","queries":[],"wake_s":NaN}',
    b'{"op":"wait","queries":[],"wake_s":1e999}',
    b'{"op":"wait","queries":[],"wake_s":' + b"9" * 400 + b"}",
    b'{"op":"wait","queries":[],"wake_s":true}',
    b'{"op":"wait","queries":[],"wake_s":"1"}',
    b'{"op":"wait","queries":{},"wake_s":1}',
    b'{"op":"wait","wake_s":1}',
    b'{"op":"wait","queries":[5],"wake_s":1}',
    b'{"op":"wait","queries":[],"wake_s":1,"withdrawn":0}',
    b'{"op":"wait","queries":[],"wake_s":1,"withdrawn":["q-0"]}',
    b'{"op":"wait","queries":[],"wake_s":1,"withdrawn":[true]}',
)


@pytest.mark.parametrize("line", BREACHES)
def test_wait_of_another_form_is_a_strike(play: Play, line: bytes) -> None:
    engine = play.scene.runner.engines.by_stream[""]
    play.scene.far[engine.pid].sendall(line + b"\n")
    play.scene.runner.read(engine)

    assert play.scene.runner.session.strikes == 1


def test_engine_that_asks_without_end_is_refused_beside_what_is_open(play: Play) -> None:
    play.wait(*["p"] * 200, wake_s=0)

    (reply,) = play.wait(*["p"] * 57, wake_s=0)

    assert "57 prompts beside 200 that are not answered yet, at most 256 together" in reply["error"]
    assert play.wait(*["p"] * 56, wake_s=0) == WOKEN


def test_message_over_its_limits_is_judged_by_itself() -> None:
    wait = parse(b'{"op":"wait","queries":[],"wake_s":86400}', json_depth=8)

    assert wait == Wait((), 86_400)
    assert problem_of(wait, LIMITS) is None


def test_withdrawn_query_is_asked_no_longer_also_after_a_revival(play: Play) -> None:
    said = {"op": "wait", "queries": [{"prompt": "c", "max_tokens": 64}], "wake_s": None, "withdrawn": [0]}
    play.wait("a", "b", wake_s=0)
    assert play.say(**said) == []
    play.revive()
    assert [play.wait("a", "b", wake_s=0), play.say(**said)] == [WOKEN, []]
    assert list(play.scene.runner.session.pending) == ["q-1", "q-2"]

    decision = play.scene.runner.apply(Continue((Answer("q-0", "late"),), time.time()))

    assert decision.error is not None
    assert "q-0 is no longer asked: the strategy waits for it no more" in decision.error.reason
    assert play.answer(q_1="B") == delivered((1, "B"))
    text = text_of(play.records())
    assert "asks q-0 no longer" in text


def test_answer_that_came_before_its_withdrawal_is_delivered_and_not_lost(play: Play) -> None:
    play.wait("a", "b", wake_s=0)
    play.answer(q_0="A")

    replies = play.say(op="wait", queries=[], wake_s=5, withdrawn=[0, 7])

    assert replies == delivered((0, "A"))
    play.revive()
    assert [*play.wait("a", "b", wake_s=0), *play.say(op="wait", queries=[], wake_s=5, withdrawn=[0, 7])] == [
        *WOKEN,
        *replies,
    ]


def test_views_show_what_was_delivered_and_that_a_timer_fired(play: Play) -> None:
    play.wait("a", "b", wake_s=0)
    play.wait()
    play.answer(q_1="B")
    records = play.records()

    log = view_of(records, "log", Page(limit=10), worker="none", now_s=0.0)
    history = view_of(records, "history", Page(limit=10), worker="none", now_s=0.0)

    assert [item["kind"] for item in log["log"]] == ["wake"]
    assert [turn.get("response") for turn in history["history"]] == [None, "B"]
    text = text_of(records)
    assert "woken by its timer" in text
    assert "waits for any answer" in text
    assert "goes on with the answer to q-1" in text
