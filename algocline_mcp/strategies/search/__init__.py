"""A tree search: attempts at a task are improved again and again, the promising ones more often.

Each step goes down from the root to the attempt with the highest upper confidence bound, asks for `breadth` different
improvements of it, and grades each on its own. A grade counts for all attempts above, so a branch that improves is
visited more, and one that was tried little is not forgotten.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import alc
from alc_rounds import Rounds, cut, json_of, labelled, list_of

meta = {
    "name": "search",
    "version": "1.0.0",
    "category": "built in",
    "description": "Improves attempts at a task in a tree, chosen by grade and curiosity, and returns the best one",
    "reference": "UCT: Kocsis & Szepesvari 2006, doi:10.1007/11871842_29; Tree of Thoughts: Yao et al. 2023, "
    "arXiv:2305.10601; LATS: Zhou et al. 2023, arXiv:2310.04406",
    "inputs": {
        "task": {"type": "string", "description": "what to solve or write"},
        "goal": {
            "type": "string",
            "default": "It does the task completely and without a mistake.",
            "description": "what a perfect attempt is: the measure of the grades",
        },
        "steps": {
            "type": "integer",
            "default": 4,
            "minimum": 1,
            "maximum": 100,
            "description": "how many attempts are improved, the empty one included",
        },
        "breadth": {
            "type": "integer",
            "default": 3,
            "minimum": 1,
            "maximum": 8,
            "description": "how many improvements of one attempt",
        },
        "enough": {
            "type": "integer",
            "default": 10,
            "minimum": 1,
            "maximum": 10,
            "description": "the grade from which the search ends",
        },
        "curiosity": {
            "type": "number",
            "default": 0.5,
            "minimum": 0,
            "maximum": 10,
            "description": "weight of what was tried little against grades; 0 follows the best grade alone",
        },
    },
    "outputs": {
        "answer": "the attempt with the best grade, of equal ones the first",
        "grade": "its grade from 0 to 10",
        "path": "the approaches that led to it, from the first on",
        "attempts": "all attempts: {approach, grade, weakness, visits, parent}, parent an index, null for the first",
    },
    "cost": "in each step one prompt for the attempts, and one for the grade of each: 16",
}

_FIRST = """\
{task}

Write {breadth} attempts at this, each by another approach. Name each approach in at most eight words."""
_IMPROVE = """\
{task}

An attempt, by the approach "{approach}":
<attempt>
{attempt}
</attempt>
What is weak in it: {weakness}

Write {breadth} better attempts, each complete by itself and each by another change. Name each change in at most eight \
words."""
_GRADE = """\
Task: {task}
A perfect attempt: {goal}

<attempt>
{attempt}
</attempt>

Find the worst weakness of this attempt; check step by step what can be checked. Then grade it from 0 to 10: 10 is \
perfect, 5 is half way, 0 is of no use."""

_ATTEMPTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"approach": {"type": "string"}, "attempt": {"type": "string"}},
        "required": ["approach", "attempt"],
    },
}
_GRADED = {
    "type": "object",
    "properties": {"weakness": {"type": "string"}, "grade": {"type": "number", "minimum": 0, "maximum": 10}},
    "required": ["weakness", "grade"],
}
_TOKENS = 1500  # of one attempt
_ATTEMPT_CHARS, _WORDS_CHARS = 30_000, 1000


@dataclass(slots=True, eq=False)
class Node:
    """An attempt. `grade`: its own, from 0 to 10; `total`: of itself and all below, from 0 to 1 each."""

    approach: str = ""
    attempt: str = ""
    weakness: str = ""
    grade: float = 0.0
    parent: "Node | None" = None
    children: list["Node"] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0

    def path(self) -> Iterator["Node"]:
        """The node and those above, without the root."""
        node = self
        while node.parent is not None:
            yield node
            node = node.parent


def ucb(mean: float, visits: int, parent_visits: int, curiosity: float) -> float:
    """The upper confidence bound UCB1 (Auer et al. 2002): the mean, and what may be missing for want of visits."""
    return math.inf if not visits else mean + curiosity * math.sqrt(2 * math.log(parent_visits) / visits)


def select(root: Node, curiosity: float) -> Node:
    """The attempt without improvements at the end of the highest bounds, from the root down."""
    node = root
    while node.children:
        visits = node.visits
        node = max(node.children, key=lambda child: ucb(child.total / child.visits, child.visits, visits, curiosity))
    return node


def add(parent: Node, child: Node) -> None:
    """Puts a graded attempt into the tree, and counts its grade for all above."""
    child.parent = parent
    parent.children.append(child)
    node: Node | None = child
    while node is not None:
        node.visits += 1
        node.total += child.grade / 10
        node = node.parent


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    root, nodes = Node(), list[Node]()
    for step in range(rounds.inputs["steps"]):
        if rounds.affordable(2) < 2:
            rounds.warn(f"the budget ended before step {step + 1} of {rounds.inputs['steps']}")
            break
        leaf = select(root, rounds.inputs["curiosity"])
        children = _graded(rounds, _attempts(rounds, leaf))
        for child in children:
            add(leaf, child)
        nodes += children
        alc.progress(step + 1, rounds.inputs["steps"])
        if not children or max(child.grade for child in children) >= rounds.inputs["enough"]:
            break
    best = max(nodes, key=lambda node: node.grade, default=root)
    return rounds.result(
        answer=best.attempt or None,
        grade=best.grade if nodes else None,
        path=[node.approach for node in reversed(list(best.path()))],
        attempts=[
            {
                "approach": node.approach,
                "grade": node.grade,
                "weakness": node.weakness,
                "visits": node.visits,
                "parent": nodes.index(node.parent) if node.parent in nodes else None,
            }
            for node in nodes
        ],
    )


def _attempts(rounds: Rounds, leaf: Node) -> list[Node]:
    """New attempts that improve on one, or the first ones."""
    breadth = rounds.inputs["breadth"]
    prompt = (_IMPROVE if leaf.parent else _FIRST).format(
        task=rounds.inputs["task"],
        breadth=breadth,
        approach=leaf.approach,
        attempt=leaf.attempt,
        weakness=leaf.weakness,
    )
    read = list_of(approach=str, attempt=str)
    tokens = _TOKENS * breadth
    written = rounds.ask(prompt, read, "attempts", reserve=1, schema=_ATTEMPTS, max_tokens=tokens) or []
    return [
        Node(cut(item["approach"], _WORDS_CHARS), cut(item["attempt"], _ATTEMPT_CHARS))
        for item in written[:breadth]
        if item["attempt"].strip()
    ]


def _grade_of(answer: str) -> dict[str, Any] | None:
    graded = json_of(weakness=str, grade=float)(answer)
    return graded if graded is not None and 0 <= graded["grade"] <= 10 else None


def _graded(rounds: Rounds, attempts: Sequence[Node]) -> list[Node]:
    """The attempts that a grade came for."""
    if not attempts:
        return []
    task, goal = rounds.inputs["task"], rounds.inputs["goal"]
    prompts = [labelled(_GRADE.format(task=task, goal=goal, attempt=node.attempt), node.approach) for node in attempts]
    answers = rounds.ask_all(prompts, _grade_of, "grades", schema=_GRADED)
    for node, answer in zip(attempts, answers, strict=True):
        if answer:
            node.grade, node.weakness = float(answer["grade"]), cut(answer["weakness"], _WORDS_CHARS)
    return [node for node, answer in zip(attempts, answers, strict=True) if answer]
