"""Statistics: the figures of scipy, called directly, and the right test for each kind of scores."""

import numpy as np
import pytest
from scipy import stats

from algocline_mcp.errors import Refused
from algocline_mcp.evaluation.statistics import (
    RESAMPLES,
    SEED,
    Comparison,
    Interval,
    compare,
    compare_all,
    holm,
    interval_of,
)

ONES = {str(number): float(number % 3 != 0) for number in range(20)}
OTHERS = {str(number): float(number % 4 != 0) for number in range(20)}
PARTS = {str(number): (number % 5) / 4 for number in range(20)}


def test_the_interval_of_a_pass_rate_is_that_of_wilson() -> None:
    result = interval_of(list(ONES.values()))

    wanted = stats.binomtest(13, 20).proportion_ci(0.95, method="wilson")
    assert (result.low, result.high, result.method) == (wanted.low, wanted.high, "Wilson")


def test_the_interval_of_other_scores_is_a_bootstrap() -> None:
    values = list(PARTS.values())

    result = interval_of(values)

    rng = np.random.default_rng(SEED)
    wanted = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, rng=rng).confidence_interval
    assert (result.low, result.high) == (wanted.low, wanted.high)
    assert interval_of([0.5, 0.5]) == Interval(0.5, 0.5, "bootstrap (BCa)")


def test_passes_are_compared_by_mcnemar_pair_by_pair() -> None:
    result = compare("a", "b", {"a": ONES, "b": OTHERS})

    table = [(ONES[case], OTHERS[case]) for case in ONES]
    better, worse = table.count((0, 1)), table.count((1, 0))
    assert (result.test, result.better, result.worse) == ("McNemar's exact test", better, worse)
    assert result.p == stats.binomtest(better, better + worse, 0.5).pvalue
    assert result.difference == pytest.approx(sum(OTHERS.values()) / 20 - sum(ONES.values()) / 20)


def test_scores_are_compared_by_wilcoxon_pair_by_pair() -> None:
    result = compare("a", "b", {"a": ONES, "b": PARTS})

    assert result.test == "Wilcoxon signed-rank test"
    assert result.p == stats.wilcoxon([PARTS[case] - ONES[case] for case in ONES]).pvalue


def test_equal_strategies_do_not_differ() -> None:
    result = compare("a", "b", {"a": PARTS, "b": dict(PARTS)})

    assert (result.p, result.difference, result.interval.low, result.interval.high) == (1.0, 0.0, 0.0, 0.0)


def test_only_common_cases_are_compared() -> None:
    result = compare("a", "b", {"a": {"1": 1.0, "2": 0.0}, "b": {"2": 1.0, "3": 0.0}})

    assert (result.cases, result.better) == (1, 1)
    with pytest.raises(Refused, match="no case in common"):
        compare("a", "b", {"a": {"1": 1.0}, "b": {"2": 1.0}})


def test_several_comparisons_are_corrected_after_holm() -> None:
    def of(p: float) -> Comparison:
        return Comparison("a", "b", "t", 1, 0, 0, 0.0, Interval(0, 0, "m"), p)

    assert [item.p_holm for item in holm([of(0.04), of(0.01), of(0.03)])] == [0.06, 0.03, 0.06]
    assert holm([of(0.04)])[0].p_holm is None
    assert len(compare_all({"a": ONES, "b": OTHERS, "c": PARTS})) == 3
