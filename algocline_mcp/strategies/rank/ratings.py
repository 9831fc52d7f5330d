"""Strengths of items from comparisons in pairs, with their uncertainty. Pure.

The model of Bradley and Terry (1952): item i wins against j with the probability 1 / (1 + exp(sj - si)). Strengths are
the mode of the posterior under a normal prior of each, so that an item that has won all its games has a finite one. The
posterior is taken as normal (Laplace): its covariance is the inverse of the curvature at the mode.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

PRIOR_SD = 2.0  # of a strength, in log-odds: 95 % of the items within odds of 50 to 1 of the average
_STEPS = 100
_LONGEST_STEP = 1.0  # of one strength: a full step of Newton may jump over the mode
_TOLERANCE = 1e-10

Game = tuple[int, int, float]  # two items, and the points of the first: 1 win, 0 loss, 0.5 tie
Matrix = list[list[float]]


@dataclass(frozen=True, slots=True)
class Ratings:
    strengths: list[float]  # in log-odds; they sum to 0
    covariance: Matrix

    def beats(self, one: int, other: int) -> float:
        """The probability that `one` is the stronger item."""
        sd = math.sqrt(self._variance({one: 1.0, other: -1.0}))
        return NormalDist().cdf((self.strengths[one] - self.strengths[other]) / sd)

    def interval(self, item: int, share: float = 0.95) -> tuple[float, float]:
        """The interval that holds the strength of an item, relative to the average item, with this probability."""
        count = len(self.strengths)
        sd = math.sqrt(self._variance({i: (i == item) - 1 / count for i in range(count)}))
        half = NormalDist().inv_cdf((1 + share) / 2) * sd
        return self.strengths[item] - half, self.strengths[item] + half

    def _variance(self, weights: dict[int, float]) -> float:
        """Of a weighted sum of strengths."""
        terms = (u * v * self.covariance[i][j] for i, u in weights.items() for j, v in weights.items())
        return max(math.fsum(terms), 1e-12)


def ratings_of(count: int, games: Sequence[Game], prior_sd: float = PRIOR_SD) -> Ratings:
    """The strengths of `count` items."""
    precision = 1 / prior_sd**2
    strengths = [0.0] * count
    for _ in range(_STEPS):
        gradient, curvature = _derivatives(strengths, games, precision)
        step = [math.fsum(map(math.prod, zip(row, gradient, strict=True))) for row in inverse(curvature)]
        longest = max(map(abs, step), default=0.0)
        scale = min(1.0, _LONGEST_STEP / longest) if longest else 1.0
        strengths = [strength + scale * change for strength, change in zip(strengths, step, strict=True)]
        if longest < _TOLERANCE:
            break
    return Ratings(strengths, inverse(_derivatives(strengths, games, precision)[1]))


def _derivatives(strengths: Sequence[float], games: Sequence[Game], precision: float) -> tuple[list[float], Matrix]:
    """The gradient of the log posterior, and the negative of its second derivatives."""
    count = len(strengths)
    gradient = [-precision * strength for strength in strengths]
    curvature = [[precision * (i == j) for j in range(count)] for i in range(count)]
    for one, other, points in games:
        chance = 1 / (1 + math.exp(strengths[other] - strengths[one]))
        gradient[one] += points - chance
        gradient[other] -= points - chance
        weight = chance * (1 - chance)
        curvature[one][one] += weight
        curvature[other][other] += weight
        curvature[one][other] -= weight
        curvature[other][one] -= weight
    return gradient, curvature


def inverse(matrix: Matrix) -> Matrix:
    """Of a positive definite matrix (Gauss and Jordan, which needs no pivots there)."""
    count = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(count))] for i, row in enumerate(matrix)]
    for i in range(count):
        pivot = rows[i][i]
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(count):
            factor = rows[j][i]
            if j != i and factor:
                rows[j] = [value - factor * own for value, own in zip(rows[j], rows[i], strict=True)]
    return [row[count:] for row in rows]
