"""Runs every package of a checkout through real sessions.

`try_packages.py CHECKOUT [--only NAME,…] [--path DIR]… [--hostile KIND]`. CHECKOUT is a directory of packages,
`<name>/init.lua` each, such as a clone of algocline-bundled-packages; --path adds directories for `require`
(evalframe). Each package with a `run` runs twice with the answers of answers.py and the same seed: once undisturbed,
and once with its worker killed (SIGKILL) at a random pause. Both runs must end with the same result. With --hostile,
each package runs once with answers of that kind (`all`: of each kind): it may raise an error, but must end. Prints the
packages that failed and the counts; exits 1 if there are any.
"""

import argparse
import itertools
import json
import os
import random
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import Pool, PoolReply, Strategy, continue_via_pool, run_via_pool, status_via_pool
from algocline_mcp.session.events import Answer

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.published.answers import HOSTILE, Model, answer_to
from tests.published.contexts import arguments_of

WAIT_S = 120.0
WAITS = 10
AT_ONCE = 3
RUNS = itertools.count()
PAUSES = 3000  # no package sends more prompts
# Both runs get the same clock, because some results contain durations.
CODE = """
os.clock, os.time, alc.time = function() return 1 end, function() return 2 end, function() return 3 end
local package = require("%s")
if type(package) ~= "table" or type(package.run) ~= "function" then return "a library" end
local out = package.run(%s)
if type(out) == "table" and out.result ~= nil then out = out.result end
return { result = out }
"""
CARD_ID = re.compile(r"_\d{8}T\d{6}_[0-9a-f]+")  # the part of a card id that depends on time and session


@dataclass(frozen=True, slots=True)
class Run:
    end: dict[str, Any]
    pauses: int
    is_killed: bool

    @property
    def result(self) -> str:
        return CARD_ID.sub("", json.dumps(self.end.get("result"), sort_keys=True))

    @property
    def problem(self) -> str | None:
        if self.end["status"] == "completed":
            return None
        return f"{self.end['status']}: {self.end.get('error')}"


def _answers(result: dict[str, Any], model: Model) -> list[Answer]:
    queries = result.get("queries") or [result]
    return [Answer(query["query_id"], model(query["prompt"], query.get("system"))) for query in queries]


async def _continue(pool: Pool, reply: PoolReply, model: Model) -> PoolReply:
    """Answers all queries. Refuses a query whose answer is too long, as a host would in the end."""
    sid, answers = reply.session_id, _answers(reply.result, model)
    try:
        reply = await continue_via_pool(pool, sid, answers, wait_s=WAIT_S)
        ids = [item["query_id"] for item in reply.result.get("refused", ())]
    except Refused:
        ids = [str(answer.query_id) for answer in answers]
    if ids:
        refusals = [Answer(query_id, refuse="too long") for query_id in ids]
        reply = await continue_via_pool(pool, sid, refusals, wait_s=WAIT_S)
    return reply


async def _waited(pool: Pool, reply: PoolReply) -> PoolReply:
    """Waits for the end of a step. 40 s of CPU time take minutes on a busy machine; a step may use 180 s."""
    for _ in range(WAITS):
        if reply.result["status"] != "running":
            break
        reply = await status_via_pool(pool, reply.session_id, wait_s=WAIT_S)
    return reply


async def run_package(pool: Pool, name: str, model: Model, *, kill_at: int | None = None) -> Run:
    ctx = {"_ns": f"{name}-{next(RUNS)}"}  # some packages continue with the alc.state of an earlier run
    strategy = Strategy(CODE % (name, arguments_of(name)), name, ctx=ctx)
    reply = await _waited(pool, await run_via_pool(pool, strategy, wait_s=WAIT_S))
    pauses, is_killed = 0, False
    while reply.result["status"] == "needs_response" and pauses < PAUSES:
        if pauses == kill_at:
            (pid,) = (entry.pid for entry in pool.registry.known.values() if entry.sid == reply.session_id)
            os.kill(pid, signal.SIGKILL)
            is_killed = True
        pauses += 1
        reply = await _waited(pool, await _continue(pool, reply, model))
    return Run(reply.result, pauses, is_killed)


async def check(pool: Pool, name: str, rng: random.Random) -> tuple[str, str]:
    """Returns a word for the counts, and a sentence where the package failed, else an empty one."""
    first = await run_package(pool, name, answer_to)
    if first.problem:
        return "failed", first.problem
    if first.end["result"] == "a library":
        return "library", ""
    second = await run_package(pool, name, answer_to, kill_at=rng.randrange(first.pauses) if first.pauses else None)
    if second.problem:
        return "failed after a kill", second.problem
    if second.result != first.result:
        return "differs after a kill", f"{first.result[:300]} | {second.result[:300]}"
    return ("completed, killed once" if second.is_killed else "completed, asks nothing"), ""


async def check_hostile(pool: Pool, name: str, model: Model) -> tuple[str, str]:
    hostile_run = await run_package(pool, name, model)
    if hostile_run.end["status"] == "needs_response":
        return "failed: asks without end", f"{hostile_run.pauses} pauses"
    if hostile_run.end["status"] == "error":
        return "raised", ""
    return ("completed", "") if hostile_run.problem is None else ("failed", hostile_run.problem)


async def run(paths: Sequence[Path], names: Sequence[str], hostile: Model | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    environ = dict(os.environ) | {"ALC_PACKAGES_PATH": ":".join(map(str, paths))}
    slots = anyio.CapacityLimiter(AT_ONCE)
    with tempfile.TemporaryDirectory(prefix="alc") as root:
        async with Pool(Home(Path(root)), Limits(), environ=environ) as pool, anyio.create_task_group() as tasks:

            async def one(name: str) -> None:
                async with slots:
                    if hostile:
                        word, problem = await check_hostile(pool, name, hostile)
                    else:
                        word, problem = await check(pool, name, random.Random(name))
                counts[word] += 1
                if problem:
                    print(f"{name}: {word}: {problem}", flush=True)

            for name in names:
                tasks.start_soon(one, name)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs every package of a checkout, undisturbed and killed.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--path", type=Path, action="append", default=[], help="a further directory for require")
    parser.add_argument("--only", default="", help="names of packages, separated by commas")
    parser.add_argument("--hostile", choices=[*HOSTILE, "all"], help="a package may raise, but must come to an end")
    args = parser.parse_args()
    names = sorted(path.parent.name for path in args.checkout.glob("*/init.lua"))
    chosen = [name for name in names if not args.only or name in args.only.split(",")]
    paths = [args.checkout.resolve(), *(path.resolve() for path in args.path)]
    is_bad = False
    for kind in HOSTILE if args.hostile == "all" else [args.hostile]:
        with mock.patch("secrets.randbits", return_value=4):  # the same seed for every run
            counts = anyio.run(run, paths, chosen, HOSTILE.get(kind))
        for word, count in sorted(counts.items()):
            print(f"{count:5} {word}{f' ({kind} answers)' if kind else ''}", flush=True)
        is_bad = is_bad or any(word.startswith(("failed", "differs")) for word in counts)
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
