"""Ten ordinary strategies, written from the instructions, the tools and the help alone, and run with scripted answers.

`TEXTS` names what had to be read for each beside the description of alc_run: a page that nobody needs, or a strategy
that needs a text that does not exist, would show here.
"""

import re
from typing import Any

import pytest

from algocline_mcp.help.topics import functions, topic_of
from algocline_mcp.pool.dispatch import continue_via_pool
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, Rig, run

pytestmark = pytest.mark.anyio
Case = tuple[str, dict[str, Any], dict[str, Any], Any]

VERIFICATION = """
draft = alc.llm(f"Answer: {ctx['task']}")
TEXTS = {"type": "array", "items": {"type": "string"}}
claims = alc.llm_json(f"List the claims to check in: {draft}", schema=TEXTS) or []
verdicts = alc.parallel(claims, lambda c: f"Is it true? {c}", schema={"enum": ["TRUE", "FALSE"]}, grounded=True)
wrong = [c for c, v in zip(claims, verdicts) if alc.match_enum(v, ["TRUE", "FALSE"]) != "TRUE"]
if not wrong:
    return draft
return alc.llm(f"Rewrite without these wrong claims {wrong}: {draft}")
"""
PANEL = """
roles = ["security", "cost", "user"]
ask = lambda role: f"{ctx['task']} You review {role}. Say yes or no, then why."
votes = alc.parallel(roles, ask, system="A reviewer", schema={"type": "boolean"})
tally = alc.vote([{True: "yes", False: "no", None: "unclear"}[alc.match_bool(v)] for v in votes])
opinions = "\\n".join(f"{r}: {v}" for r, v in zip(roles, votes))
verdict = alc.llm(f"Opinions:\\n{opinions}\\nDecide.", system="The judge")
return {"tally": tally, "verdict": verdict}
"""
CRITIC = """
text = alc.llm(ctx["task"])
for i in range(5):
    words = ["APPROVED", "REJECTED"]
    remark = alc.llm(f"Criticise: {text}", system="A strict critic", schema={"enum": words})
    if alc.match_enum(remark, words) == "APPROVED":
        return {"text": text, "rounds": i}
    text = alc.llm(f"Improve by this remark: {remark}\\n{text}")
raise RuntimeError("the critic never agreed")
"""
MAP_REDUCE = """
parts = alc.chunk(ctx["text"], mode="chars", size=ctx.get("chars", 4000))
notes = []
for i in range(0, len(parts), 8):
    notes += alc.parallel(parts[i:i + 8], lambda part: f"Facts about {ctx['task']} in this part, or NOTHING:\\n{part}")
    alc.progress(len(notes), len(parts))
facts = [n for n in notes if n != "NOTHING"]
return alc.llm("Merge:\\n" + "\\n".join(facts))
"""
TREE = """
from dataclasses import dataclass, field

@dataclass
class Node:
    plan: str
    score: int = 0
    children: list = field(default_factory=list)

def expand(node, depth):
    if depth == 0:
        return node
    texts = {"type": "array", "items": {"type": "string"}}
    for plan in alc.llm_json(f"Two ways to continue: {node.plan}", schema=texts) or []:
        answer = alc.llm(f"Rate 1 to 10: {plan}", schema={"type": "integer", "minimum": 1, "maximum": 10})
        score = alc.parse_score(answer)
        node.children.append(Node(plan, score))
    if not node.children:
        return node
    return expand(max(node.children, key=lambda child: child.score), depth - 1)

best = expand(Node(ctx["task"]), 2)
return {"plan": best.plan, "score": best.score}
"""
BATCH = """
answers = alc.llm_batch([{"prompt": f"Translate: {w}", "max_tokens": 50} for w in ctx["words"]])
done, open_ = {}, []
for word, answer in zip(ctx["words"], answers):
    if alc.refused(answer):
        open_.append(word)
    else:
        done[word] = answer
return {"done": done, "open": open_}
"""
FORK = """
entries = alc.fork(["short", "long"], {"task": ctx["task"]})
texts = [e["result"] for e in entries if e["ok"]]
number = {"type": "integer", "minimum": 1, "maximum": 2}
choice = alc.llm("Which is better, 1 or 2?\\n" + "\\n---\\n".join(texts), schema=number)
return texts[int(alc.parse_number(choice) or 1) - 1]
"""
STATE = """
seen = alc.state.get("seen", [])
new = [item for item in ctx["items"] if item not in seen]
for item in new:
    summary = alc.llm(f"Summarise {item}")
    alc.state.update("seen", lambda old: (old or []) + [item], [])
return {"new": new, "runs": alc.state.incr("runs"), "all": alc.state.get("seen")}
"""
EXTRACTION = """
import re
SCHEMA = {"type": "object", "required": ["name", "total"], "properties": {
    "name": {"type": "string"}, "total": {"type": "number", "minimum": 0}}}
rows, bad = [], []
for page in ctx["text"].split("\\f"):
    answer = alc.llm_json(f"Extract from this invoice:\\n{page}", schema=SCHEMA, details=True)
    if answer.value is None:
        bad.append(answer.mismatch or "no JSON")
    else:
        rows.append(answer.value)
return {"rows": rows, "sum": sum(r["total"] for r in rows), "bad": bad}
"""
BUDGETED = """
best, tries = None, 0
try:
    while True:
        best = alc.llm(f"Better than this: {best}" if best else ctx["task"])
        tries += 1
except alc.BudgetExceeded:
    pass
return {"best": best, "tries": tries, "left": alc.budget_remaining()["llm_calls"]}
"""
CASES: dict[str, Case] = {
    "a verification chain": (
        VERIFICATION,
        {"task": "T"},
        {
            "Answer: T": "draft",
            "List the": '["A", "B"]',
            "true? A": "Verdict: TRUE",
            "true? B": "FALSE",
            "Rewrite": "new",
        },
        "new",
    ),
    "a panel with a judge": (
        PANEL,
        {"task": "Ship?"},
        {"Ship?": "Verdict: yes", "Opinions": "ship"},
        {"tally": {"winner": "yes", "count": 3, "total": 3}, "verdict": "ship"},
    ),
    "a loop until a critic agrees": (
        CRITIC,
        {"task": "T"},
        {"Criticise": ["too long\nVerdict: REJECTED", "Verdict: APPROVED"], "Improve": "short", "T": "long text"},
        {"text": "short", "rounds": 1},
    ),
    "map-reduce over a file": (
        MAP_REDUCE,
        {"task": "x", "text": "abcdefghij" * 3, "chars": 2},
        {"Facts about": ["one", "NOTHING", "two"], "Merge:\none\ntwo": "merged"},
        "merged",
    ),
    "a tree search": (
        TREE,
        {"task": "T"},
        {"Two ways": ['["p", "q"]', '["r"]'], "Rate": ["Answer: 3", "Answer: 8", "Answer: 6"]},
        {"plan": "r", "score": 6},
    ),
    "a batch with a refusal": (
        BATCH,
        {"words": ["Haus", "xyz"]},
        {"Haus": "house", "xyz": {"refuse": "no word"}},
        {"done": {"Haus": "house"}, "open": ["xyz"]},
    ),
    "a fork of packages": (
        FORK,
        {"task": "T"},
        {"short": "s", "long": "l", "Which": "Answer: 2"},
        "l",
    ),
    "state across runs": (
        STATE,
        {"items": ["a", "b"]},
        {"Summarise": "s"},
        {"new": ["a", "b"], "runs": 1, "all": ["a", "b"]},
    ),
    "structured extraction": (
        EXTRACTION,
        {"text": "one\ftwo"},
        {"invoice:\none": '{"name": "A", "total": 2.5}', "invoice:\ntwo": '{"name": "B", "total": -1}'},
        {"rows": [{"name": "A", "total": 2.5}], "sum": 2.5, "bad": ["answer.total is -1 and less than 0"]},
    ),
    "a budgeted loop": (
        BUDGETED,
        {"task": "T", "budget": {"max_llm_calls": 3}},
        {"T": "a", "Better": "b"},
        {"best": "b", "tries": 3, "left": 0},
    ),
}
TEXTS = {
    "a verification chain": "answers asking",
    "a panel with a judge": "answers",
    "a loop until a critic agrees": "answers",
    "map-reduce over a file": "files text",
    "a tree search": "answers",
    "a batch with a refusal": "errors asking",
    "a fork of packages": "forks answers",
    "state across runs": "state",
    "structured extraction": "answers files",
    "a budgeted loop": "strategies errors",
}


def _answer(answers: dict[str, Any], query: dict[str, Any]) -> Answer:
    key = next(part for part in answers if part in query["prompt"])
    answer = answers[key]
    if isinstance(answer, list):
        answer = answer.pop(0) if len(answer) > 1 else answer[0]
    if isinstance(answer, dict):
        return Answer(query["query_id"], refuse=answer["refuse"])
    return Answer(query["query_id"], answer)


async def test_strategies_that_were_written_from_the_help_do_what_they_should(rig: Rig) -> None:
    for name in ("short", "long"):
        (rig.home.packages / name).mkdir(parents=True)
        (rig.home.packages / name / "__init__.py").write_text(
            f'import alc\n\ndef run(ctx):\n    return alc.llm("{name} " + ctx["task"])\n'
        )
    wrong = {}
    async with rig.pool() as pool:
        for name, (code, ctx, answers, expected) in CASES.items():
            reply = await run(pool, code, ctx=ctx, language="python")
            while reply.result["status"] == "needs_response":
                queries = reply.result.get("queries") or [reply.result]
                given = [_answer(answers, query) for query in queries]
                reply = await continue_via_pool(pool, reply.session_id, given, wait_s=WAIT_S)
            if reply.result.get("result") != expected or reply.result.get("warnings"):
                wrong[name] = reply.result

    assert wrong == {}


@pytest.mark.parametrize("name", CASES)
def test_each_function_of_such_a_strategy_is_in_the_texts_that_it_needed(name: str) -> None:
    of_alc_run = {"llm", "parallel", "llm_json", "match_enum", "call"}
    used = set(re.findall(r"alc\.((?:state\.)?[a-z_]+)\(", CASES[name][0])) - of_alc_run

    assert TEXTS.keys() == CASES.keys()
    assert {topic_of(function) for function in used} - {"strategies"} <= set(TEXTS[name].split())
    assert used <= {function for topic in (*TEXTS[name].split(), "strategies") for function in functions(topic)}
