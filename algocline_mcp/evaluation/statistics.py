"""Intervals and paired comparisons of scores, by scipy. Pure; the extra `eval`.

Contract. A case that ran several times (epochs) is one observation, its mean: the runs of one case are not independent.

    scores that are all 0 or 1      Wilson's interval of the pass rate; two strategies: McNemar's exact test
    other scores                    a bootstrap interval (BCa) of the mean over cases; Wilcoxon's signed-rank test
    difference of two strategies    a paired bootstrap interval (BCa) of the mean difference over cases

The bootstrap draws from a generator with a constant seed: the same scores give the same figures. Several comparisons in
one run also carry p after Holm's correction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from algocline_mcp.errors import Refused

RESAMPLES = 9999
SEED = 20250101
LEVEL = 0.95
NEEDS = "the intervals and comparisons need scipy: pip install 'algocline-mcp[eval]'"


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float
    method: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`second` against `first` on the cases that both have. `difference`: mean of second minus first. `better`,
    `worse`: cases in which second scored more, or less. `p_holm`: of several comparisons."""

    first: str
    second: str
    test: str
    cases: int
    better: int
    worse: int
    difference: float
    interval: Interval
    p: float
    p_holm: float | None = None


@cache
def has_scipy() -> bool:
    from importlib.util import find_spec

    return find_spec("scipy") is not None


def _stats() -> Any:
    if not has_scipy():
        raise Refused(NEEDS)
    from scipy import stats  # 0.5 s, which only an evaluation spends

    return stats


def is_binary(scores: Sequence[float]) -> bool:
    return all(score in (0.0, 1.0) for score in scores)


def interval_of(scores: Sequence[float]) -> Interval:
    """Of the mean of the scores, one for each case."""
    if is_binary(scores):
        passed = round(sum(scores))
        result = _stats().binomtest(passed, len(scores)).proportion_ci(LEVEL, method="wilson")
        return Interval(float(result.low), float(result.high), "Wilson")
    return bootstrap(scores)


def bootstrap(values: Sequence[float]) -> Interval:
    """Of the mean. Equal values have no spread to resample: the interval is that value."""
    if len(set(values)) <= 1:
        return Interval(values[0], values[0], "bootstrap (BCa)")
    import numpy as np

    result = _stats().bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, rng=np.random.default_rng(SEED)
    )
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high), "bootstrap (BCa)")


def compare(first: str, second: str, scores: Mapping[str, Mapping[str, float]]) -> Comparison:
    """`scores`: strategy -> case -> score. Raises Refused where the two have no case in common."""
    common = [case for case in scores[first] if case in scores[second]]
    if not common:
        raise Refused(f"{first} and {second} have no case in common: nothing can be compared")
    before = [scores[first][case] for case in common]
    after = [scores[second][case] for case in common]
    differences = [y - x for x, y in zip(before, after, strict=True)]
    better, worse = sum(value > 0 for value in differences), sum(value < 0 for value in differences)
    if is_binary(before) and is_binary(after):
        test = "McNemar's exact test"
        p = float(_stats().binomtest(better, better + worse, 0.5).pvalue) if better + worse else 1.0
    else:
        test = "Wilcoxon signed-rank test"
        p = float(_stats().wilcoxon(differences).pvalue) if better + worse else 1.0
    mean = sum(differences) / len(differences)
    return Comparison(first, second, test, len(common), better, worse, mean, bootstrap(differences), p)


def compare_all(scores: Mapping[str, Mapping[str, float]]) -> list[Comparison]:
    """Each pair of strategies, in their order."""
    names = list(scores)
    pairs = [(first, second) for number, first in enumerate(names) for second in names[number + 1 :]]
    return holm([compare(first, second, scores) for first, second in pairs])


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """With p after Holm's step-down correction, where there are several."""
    if len(comparisons) < 2:
        return list(comparisons)
    order = sorted(range(len(comparisons)), key=lambda index: comparisons[index].p)
    corrected = list(comparisons)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, comparisons[index].p * (len(order) - rank)))
        corrected[index] = replace(comparisons[index], p_holm=largest)
    return corrected
