"""Requests on a worker's socket: malformed ones, several on one connection, keys that stand twice."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from algocline_mcp.protocol.messages import PROTOCOL, PoolRequest
from tests.rig.rig import ASK_ONCE, ASK_TWICE, RawClient, Rig, run, say

pytestmark = pytest.mark.anyio


def request(sid: str, **fields: Any) -> bytes:
    whole = {"op": "status", "id": 7, "sid": sid, "protocol": PROTOCOL}
    return json.dumps(whole | fields).encode() + b"\n"


LIES: dict[str, Callable[[str], bytes]] = {
    "another session": lambda sid: request("p-1-0000000000000000"),
    "another protocol": lambda sid: request(sid, protocol=2),
    "no JSON": lambda sid: b"GET / HTTP/1.1\r\n",
    "no object": lambda sid: b"[1]\n",
    "bad UTF-8": lambda sid: b'{"op":"\xff"}\n',
    "NaN": lambda sid: request(sid, wait_s=float("nan")),
    "infinity": lambda sid: request(sid)[:-2] + b',"wait_s":1e400}\n',
    "a number of 5,000 digits": lambda sid: request(sid)[:-2] + b',"wait_s":' + b"9" * 5000 + b"}\n",
    "a long number": lambda sid: request(sid)[:-2] + b',"wait_s":' + b"9" * 400 + b"}\n",
    "a negative wait": lambda sid: request(sid, wait_s=-1),
    "deep nesting": lambda sid: b'{"op":' + b"[" * 100_000 + b"\n",
    "unknown op": lambda sid: request(sid, op="erase"),
    "unknown mode": lambda sid: request(sid, op="shutdown", mode="erase"),
    "no id": lambda sid: request(sid, id=None),
    "answer that is no object": lambda sid: request(sid, op="continue", answers=["A"]),
    "response that is no text": lambda sid: request(sid, op="continue", answers=[{"query_id": "q-0", "response": 5}]),
    "query id that is no text": lambda sid: request(sid, op="continue", answers=[{"query_id": {}, "response": "A"}]),
    "answer without a word": lambda sid: request(sid, op="continue", answers=[{"query_id": "q-0"}]),
    "usage of nonsense": lambda sid: request(
        sid, op="continue", answers=[{"query_id": "q-0", "response": "A", "usage": {"prompt_tokens": "many"}}]
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
async def test_malformed_request_is_answered_with_an_error_and_changes_nothing(rig: Rig, lie: str) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        keeper, before = rig.keeper(sid), rig.journal(sid).read_bytes()
        with RawClient(rig.home.socket(sid)) as client:
            client.send(LIES[lie](sid))
            response = client.receive()
        untouched = rig.journal(sid).read_bytes() == before
        second = (await say(pool, sid, "q-0", "A")).result

        assert response is not None
        assert response["ok"] is False
        assert response["error"]
        assert untouched
        assert second["prompt"] == "second after A"
        assert rig.keeper(sid) == keeper


async def test_second_request_before_the_first_is_answered_closes_the_connection(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        with RawClient(rig.home.socket(sid)) as client:
            client.send(request(sid) + request(sid))
            response = client.receive()
            end = client.receive()
        second = (await say(pool, sid, "q-0", "A")).result

    assert response is not None
    assert "one request at a time" in response["error"]
    assert end is None
    assert second["prompt"] == "second after A"


async def test_client_may_ask_again_on_the_same_connection(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        with RawClient(rig.home.socket(sid)) as client:
            shapes = []
            for _ in range(3):
                client.send(PoolRequest("status", 1, sid))
                response = client.receive()
                assert response is not None
                shapes.append(list(response["data"]["feed_result"]))

    assert shapes == [["Paused"]] * 3


async def test_key_that_stands_twice_means_its_last_value_in_the_decision_and_in_the_record(rig: Rig) -> None:
    code = 'local a = alc.llm("first") return alc.llm(a .. alc.json_decode(a).k)'
    text = '{\\"k\\":1,\\"k\\":2}'
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        with RawClient(rig.home.socket(sid)) as client:
            client.send(
                f'{{"op":"shutdown","id":1,"sid":"none","op":"continue","sid":"{sid}","wait_s":5,"protocol":1,"answers":'
                f'[{{"query_id":"q-9","response":"no","query_id":"q-0","response":"{text}"}}]}}\n'.encode()
            )
            reply = client.receive()
        end = (await say(pool, sid, "q-1", "B")).result

    assert reply is not None
    assert reply["data"]["feed_result"]["Paused"]["queries"][0]["prompt"] == '{"k":1,"k":2}2'
    assert rig.answers(sid) == [("q-0", '{"k":1,"k":2}'), ("q-1", "B")]
    assert end["result"] == "B"
