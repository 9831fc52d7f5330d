"""Hosts of a schedule: the calls that they make next."""

from dataclasses import replace
from typing import TYPE_CHECKING

from algocline_mcp.session.events import Answer
from tests.sim.book import Call, Story

if TYPE_CHECKING:
    from tests.sim.world import World


def next_call(world: "World") -> Call:
    """One call of a host, by chance."""
    rng, stories = world.rng, world.book.stories
    if world.runs_begun < len(world.programs) and (not stories or rng.random() < 0.2):
        world.runs_begun += 1
        return Call("run", program=world.programs[world.runs_begun - 1])
    if not stories:
        world.runs_begun = 0
        return next_call(world)
    sid = rng.choice(list(stories))
    story = stories[sid]
    kind = rng.random()
    if kind < 0.25 or not story.shown:
        return world.call("status", sid)
    if kind < 0.27:
        return world.call("hibernate", sid)
    if kind < 0.275:
        return world.call("cancel", sid)
    return replace(world.call("continue", sid, _answers(world, story)), is_checked=True)


def _answers(world: "World", story: Story) -> tuple[Answer, ...]:
    """Answers mostly the pending queries; also answered ones with the same text or another, unknown ones, or no id."""
    rng = world.rng
    kind = rng.random()
    if kind < 0.7 and story.pending:
        chosen = story.pending[: rng.randrange(1, len(story.pending) + 1)]
    elif kind < 0.97:
        chosen = rng.sample(list(story.shown), rng.randrange(1, len(story.shown) + 1))
    else:
        chosen = ["q-99"]
    answers = []
    for query_id in chosen:
        before = story.sent.setdefault(query_id, [])
        new = f"{query_id} a{len(before)}"
        new = f'{{"a": "{new}"}}' if rng.random() < 0.5 else new  # only this one fits a schema
        text = rng.choice(before) if before and rng.random() < 0.6 else new
        before.append(text)
        named = query_id if rng.random() < 0.93 else None
        answers.append(Answer(named, refuse=text) if text.endswith("3") else Answer(named, text))
    return tuple(answers)
