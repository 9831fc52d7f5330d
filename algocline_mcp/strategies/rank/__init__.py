"""A ranking from comparisons of two items each, which models do better than giving grades.

Each pair is judged twice with the positions swapped; where the two verdicts differ the pair is a tie, for then the
position decided. Few items are all compared with each other, in one pause. With more, each round compares neighbours in
the ranking so far (as Swiss chess tournaments do), so that a few games for each item suffice.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any

import alc
from alc_rounds import Rounds, cut, labelled
from rank.ratings import Game, Ratings, ratings_of

meta = {
    "name": "rank",
    "version": "1.0.0",
    "category": "built in",
    "description": "Orders items by comparisons in pairs, both ways round, and says how certain each place is",
    "reference": "Bradley & Terry 1952; pairwise ranking: Qin et al. 2023, arXiv:2306.17563; position bias: Zheng et "
    "al. 2023, arXiv:2306.05685",
    "inputs": {
        "items": {"type": "array", "description": "what to order, at least two texts or JSON values"},
        "task": {
            "type": "string",
            "default": "Which one is better?",
            "description": "the question that decides a pair",
        },
        "games": {
            "type": "integer",
            "default": 0,
            "minimum": 0,
            "maximum": 100,
            "description": "pairs that each item is in; 0: all others for up to 5 items, else log2 of their number + 1",
        },
    },
    "outputs": {
        "answer": "the items, the best one first",
        "ranking": "of each item, in that order: item, score (log-odds against the average item), low and high (95 % "
        "interval of the score), beats_next (the probability that it is better than the next one), games",
        "order_bias": "the share of pairs in which the position decided and not the item",
    },
    "cost": "2 prompts for each pair: 20 for 5 items in one pause, 120 for 20 items in 6 pauses",
}

_ALL_PAIRS = 5  # up to so many items
_MAX_ITEMS = 100
_ITEM_CHARS = 12_000
_LABEL_CHARS = 25  # of each item
_BIAS = 0.4  # from this share on a warning
_VERDICTS = ["A", "B", "equal"]
_COMPARE = """\
{task}

<A>
{a}
</A>

<B>
{b}
</B>

Judge by the question alone; length and order are no merit. Name the difference that decides in one sentence."""


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    items, task = rounds.inputs["items"], rounds.inputs["task"]
    if not 2 <= len(items) <= _MAX_ITEMS:
        raise ValueError(f"rank: items must be from 2 to {_MAX_ITEMS}; there are {len(items)}")
    texts = [
        cut(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False), _ITEM_CHARS) for item in items
    ]

    wanted = rounds.inputs["games"] or _default_games(len(items))
    games: list[Game] = []
    compared: set[tuple[int, int]] = set()
    biased = 0
    ratings = ratings_of(len(items), games)
    while pairs := next_pairs(_order(ratings), compared, wanted):
        affordable = rounds.affordable(2 * len(pairs)) // 2
        if affordable < len(pairs):
            rounds.warn("the budget ended before all pairs were compared: the intervals show how little is known")
        pairs = pairs[:affordable]
        compared |= set(pairs)
        played, turned = _play(rounds, task, texts, pairs)
        games, biased = [*games, *played], biased + turned
        ratings = ratings_of(len(items), games)
        if rounds.is_out_of_budget or not played:
            break
    return _result(rounds, items, games, ratings, biased)


def _default_games(count: int) -> int:
    return count - 1 if count <= _ALL_PAIRS else (count - 1).bit_length() + 1


def next_pairs(order: Sequence[int], compared: Collection[tuple[int, int]], games: int) -> list[tuple[int, int]]:
    """The pairs of the next round: all of them where every item meets all others, else neighbours in `order` that were
    not compared yet and lack games. Empty when all have theirs."""
    if games >= len(order) - 1:
        return [pair for one in order for other in order if (pair := (one, other)) not in compared and one < other]
    played = [sum(item in pair for pair in compared) for item in range(len(order))]
    free = [item for item in order if played[item] < games]
    pairs = []
    while free:
        one = free.pop(0)
        other = next((item for item in free if _pair(one, item) not in compared), None)
        if other is not None:
            free.remove(other)
            pairs.append(_pair(one, other))
    return pairs


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def _order(ratings: Ratings) -> list[int]:
    return sorted(range(len(ratings.strengths)), key=lambda item: -ratings.strengths[item])


def _play(rounds: Rounds, task: str, texts: Sequence[str], pairs: Sequence[tuple[int, int]]) -> tuple[list[Game], int]:
    """The games of these pairs, and in how many of them the position decided."""
    prompts = [
        labelled(
            _COMPARE.format(task=task, a=texts[first], b=texts[second]),
            f"{texts[first][:_LABEL_CHARS]} against {texts[second][:_LABEL_CHARS]}",
        )
        for one, other in pairs
        for first, second in ((one, other), (other, one))
    ]
    verdicts = rounds.ask_all(
        prompts, lambda answer: alc.match_enum(answer, _VERDICTS), "comparisons", schema={"enum": _VERDICTS}
    )
    games: list[Game] = []
    biased = 0
    for (one, other), straight, swapped in zip(pairs, verdicts[::2], verdicts[1::2], strict=True):
        if straight is not None and swapped is not None:
            games.append((one, other, (_POINTS[straight] + 1 - _POINTS[swapped]) / 2))
            biased += straight == swapped != "equal"
    return games, biased


_POINTS = {"A": 1.0, "B": 0.0, "equal": 0.5}  # of the item in the first position


def _result(
    rounds: Rounds, items: Sequence[Any], games: Sequence[Game], ratings: Ratings, biased: int
) -> dict[str, Any]:
    if not games:
        rounds.warn("no pair was compared: the order is that of the items as they were given")
    if games and biased / len(games) >= _BIAS:
        rounds.warn(f"in {biased} of {len(games)} pairs the position decided and not the item: each counts as a tie")
    order = _order(ratings)
    ranking = []
    for place, item in enumerate(order):
        low, high = ratings.interval(item)
        entry = {"item": items[item], "score": round(ratings.strengths[item], 3), "low": round(low, 3)}
        entry |= {"high": round(high, 3), "games": sum(item in game[:2] for game in games)}
        if place + 1 < len(order):
            entry["beats_next"] = round(ratings.beats(item, order[place + 1]), 3)
        ranking.append(entry)
    return rounds.result(
        answer=[items[item] for item in order],
        ranking=ranking,
        order_bias=round(biased / len(games), 3) if games else None,
    )
