"""The records with which a branch begins: a pure decision from the parent's records."""

import pytest

from algocline_mcp.config.limits import MIB, Limits
from algocline_mcp.errors import Refused
from algocline_mcp.pool.branch import Branch, inherited, plan, records_before
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import fold
from tests.rig.journals import answer, final, header, prompt, sid_of

SID = sid_of(1, created_s=1.7e9)


def ids(records: list[Record], kind: str) -> list[str]:
    name = "queries" if kind == "prompt" else "answers"
    return [item["id"] for record in records if record["kind"] == kind for item in record[name]]


def test_branch_has_the_records_before_the_answer_and_folds_to_the_open_prompt() -> None:
    records = [header(SID), prompt("q-0"), answer("q-0"), prompt("q-1"), answer("q-1"), prompt("q-2"), final()]
    shared = list(records_before(records, "q-1"))

    assert ids(shared, "prompt") == ["q-0", "q-1"]
    assert ids(shared, "answer") == ["q-0"]
    assert list(fold([records[0], *shared]).pending) == ["q-1"]
    assert all(item["shared"] for record in shared if record["kind"] == "answer" for item in record["answers"])


@pytest.mark.parametrize("is_one_call", [True, False])
def test_queries_that_were_asked_together_keep_their_answers(is_one_call: bool) -> None:
    answers = [answer(f"q-{n}") for n in range(3)]
    if is_one_call:
        answers = [{"kind": "answer", "answers": [record["answers"][0] for record in answers], "t": 1002.0}]
    records = [header(SID), prompt("q-0", "q-1", "q-2"), *answers, prompt("q-3")]
    shared = list(records_before(records, "q-1"))

    assert ids(shared, "answer") == ["q-0", "q-2"]
    assert ids(shared, "prompt") == ["q-0", "q-1", "q-2"]


def test_crashes_and_log_records_of_a_keeper_are_not_shared() -> None:
    crash = {"kind": "crash", "reason": "ended by SIGSEGV", "t": 1001.5}
    note = {"kind": "note", "bytes": 1, "level": "info", "message": "tried again", "by": "keeper"}
    records = [header(SID), prompt("q-0"), *[crash] * 3, note, {"kind": "flushed"}, answer("q-0"), prompt("q-1")]

    shared = list(records_before(records, "q-1"))

    assert [record["kind"] for record in shared] == ["prompt", "answer", "prompt"]
    assert fold([records[0], *shared]).strikes == 0


def test_inherited_answers_are_listed_by_digest_in_the_order_of_the_prompts() -> None:
    one, two, three = prompt("q-0"), prompt("q-1"), prompt("q-2")
    for repeated in (two, three):
        repeated["queries"][0]["digest"] = one["queries"][0]["digest"]
    effect = {"kind": "effect", "name": "time", "args": [], "result": 1.5, "times": 3}
    module = {"kind": "module", "name": "module", "args": ["m"], "result": {}}
    shared = inherited([one, answer("q-0", "A"), effect, module, two, three, answer("q-2", "C")], MIB)

    (items,) = shared["answers"].values()
    assert [item and item["response"] for item in items] == ["A", None, "C"]
    assert shared["effects"] == [["time", [], {"result": 1.5}, 3]]


@pytest.mark.parametrize(
    ("branch", "sentence"),
    [
        (Branch(at="q-7"), "at='q-7' is not a query of that session: it asked q-0, q-1"),
        (Branch(response="x"), "give at, a query id"),
        (Branch(code="x" * 2_000_000), "code has 2000000 bytes"),
    ],
)
def test_impossible_branch_is_refused(branch: Branch, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        plan([header(SID), prompt("q-0", "q-1")], branch, Limits(), now_s=1.0)


def test_scrubbed_session_cannot_be_branched() -> None:
    with pytest.raises(Refused, match="was scrubbed"):
        plan([header(SID, kept="result"), final()], Branch(), Limits(), now_s=1.0)


def test_parent_of_another_version_is_shared_by_prompt() -> None:
    planned = plan([header(SID), prompt("q-0"), answer("q-0")], Branch(at="q-0"), Limits(), now_s=1.0)

    assert "carried" in planned.header
    assert planned.shared is None


LONG = [header(SID), prompt("q-0"), answer("q-0", "A" * 100), prompt("q-1"), answer("q-1", "B" * 100), prompt("q-2")]


@pytest.mark.parametrize("branch", [Branch(code="return 1"), Branch(ctx={}), Branch(at="q-2", code="return 1")])
def test_more_than_a_branch_by_prompt_can_hold_is_refused_by_name(branch: Branch) -> None:
    with pytest.raises(
        Refused, match=r"over 250 bytes as JSON \(ALC_INHERITED_BYTES\).* earlier query as at"
    ) as caught:
        plan(LONG, branch, Limits(inherited_bytes=250), now_s=1.0)

    assert caught.value.code == "too_large"


def test_what_a_branch_by_prompt_does_not_take_along_does_not_count() -> None:
    planned = plan(LONG, Branch(at="q-1", code="return 1"), Limits(inherited_bytes=250), now_s=1.0)

    assert sum(map(len, planned.header["carried"]["answers"].values())) == 2


def test_branch_at_a_query_that_was_withdrawn_begins_before_that() -> None:
    wait = {"wait": True}
    delivered = {"kind": "delivery", "answered": [[1, "q-1"]], "t": 1003.0}
    records = [
        *(header(SID), prompt("q-0", "q-1") | wait, answer("q-1"), delivered),
        *(prompt("q-2") | wait | {"withdrawn": ["q-0"]}, answer("q-2")),
    ]

    shared = list(records_before(records, "q-0"))

    assert ids(shared, "prompt") == ["q-0", "q-1"]
    assert list(fold([records[0], *shared]).pending) == ["q-0"]
    assert ids(list(records_before(records, "q-2")), "prompt") == ["q-0", "q-1", "q-2"]


def test_branch_of_a_session_that_waits_for_any_answer_keeps_the_answers_to_what_was_open_beside() -> None:
    """q-1 let a task ask q-3 while q-0 and q-2 were open; the branch asks q-0 again."""
    wait = {"wait": True}
    delivered = {"kind": "delivery", "answered": [[1, "q-1"]], "t": 1003.0}
    records = [
        *(header(SID), prompt("q-0", "q-1", "q-2") | wait, answer("q-1"), delivered, prompt("q-3") | wait),
        *(answer("q-0"), {**delivered, "answered": [[0, "q-0"]]}, prompt("q-4") | wait, answer("q-2"), answer("q-4")),
    ]
    shared = list(records_before(records, "q-0"))

    session = fold([records[0], *shared])
    assert ids(shared, "prompt") == ["q-0", "q-1", "q-2", "q-3"]
    assert ids(shared, "answer") == ["q-1", "q-2"]
    assert list(session.pending) == ["q-0", "q-3"]
    assert session.streams[""].waits.ready == [[2, "q-2"]]
