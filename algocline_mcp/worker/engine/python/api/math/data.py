"""Statistics of alc.math: descriptive, ranking, information, series. Variances are of samples (divided by n - 1)."""

import math
from collections.abc import Callable
from itertools import permutations as orders
from typing import TypedDict

from algocline_mcp.worker.engine.python.api.math.checks import (
    added,
    checked,
    divided,
    exp,
    log,
    probability,
    refusal,
    sqrt,
)  # fmt: skip
from algocline_mcp.worker.engine.python.api.math.special import log_sum_exp, standard_normal_ppf

Data = list[float]
_MAX_PERMUTED = 10  # 3.6 million lists, as many as fit into memory


class Histogram(TypedDict):
    counts: list[int]
    edges: list[float]


class Interval(TypedDict):
    lower: float
    upper: float
    center: float


# ── descriptive ───────────────────────────────────────────────────────────────────────────────────────────


def mean_of(data: Data) -> float:
    total = lost = 0.0  # Neumaier 1974: the rounding error of each addition is added at the end
    for value in data:
        new = total + value
        lost += total - new + value if abs(total) >= abs(value) else value - new + total
        total = new
    return (total if math.isnan(lost) else total + lost) / len(data)


def assert_paired(name: str, xs: Data, ys: Data, least: int) -> None:
    if len(xs) != len(ys):
        raise refusal(name, "the second list", f"as long as the first, {len(xs)},", len(ys))
    if len(xs) < least:
        raise refusal(name, "the length", f"at least {least}", len(xs))


def _covariance(xs: Data, ys: Data) -> float:
    mean_x, mean_y = mean_of(xs), mean_of(ys)
    return added((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / (len(xs) - 1)


def variance_of(data: Data) -> float:
    return _covariance(data, data) if len(data) > 1 else 0.0


@checked("a")
def mean(data: Data) -> float:
    """The arithmetic mean."""
    return mean_of(data)


@checked("a")
def variance(data: Data) -> float:
    """Divided by n - 1."""
    return variance_of(data)


@checked("a")
def stddev(data: Data) -> float:
    """Root of the variance."""
    return sqrt(variance_of(data))


@checked("a a")
def covariance(xs: Data, ys: Data) -> float:
    """Divided by n - 1."""
    assert_paired("covariance", xs, ys, 2)
    return _covariance(xs, ys)


def _correlation(xs: Data, ys: Data) -> float:
    r = divided(_covariance(xs, ys), sqrt(variance_of(xs) * variance_of(ys)))
    return max(-1.0, min(1.0, r)) if not math.isnan(r) else r


@checked("a a")
def correlation(xs: Data, ys: Data) -> float:
    """Pearson's; not a number where one does not vary."""
    assert_paired("correlation", xs, ys, 2)
    return _correlation(xs, ys)


def _at(ordered: Data, share: float) -> float:
    """Linear between neighbours."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    value = ordered[low]
    return value + (place - low) * (ordered[low + 1] - value) if place > low else value


@checked("a")
def median(data: Data) -> float:
    """The middle."""
    return _at(sorted(data), 0.5)


@checked("a n")
def percentile(data: Data, p: float) -> float:
    """p from 0 to 100, linear between neighbours."""
    if not 0 <= p <= 100:
        raise refusal("percentile", "p", "a number from 0 to 100", p)
    return _at(sorted(data), p / 100)


@checked("a")
def iqr(data: Data) -> float:
    """Between the quartiles."""
    ordered = sorted(data)
    return _at(ordered, 0.75) - _at(ordered, 0.25)


@checked("a")
def softmax(data: Data) -> list[float]:
    """Shares that sum to 1."""
    total = log_sum_exp(data)
    return [exp(value - total) for value in data]


@checked("a")
def log_normalize(data: Data) -> list[float]:
    """Logarithms on a scale from 0, the smallest, to 100, the largest; all 0 where they are equal."""
    for n, value in enumerate(data, 1):
        if not value > 0:
            raise refusal("log_normalize", f"data[{n}]", "a number above 0", value)
    low = log(min(data))
    width = log(max(data)) - low
    return [100 * (log(value) - low) / width if width > 0 else 0.0 for value in data]


@checked("a u")
def histogram(data: Data, bins: int) -> Histogram:
    """Bins of equal width. Each contains its lower edge, the last bin both edges."""
    if bins < 1:
        raise refusal("histogram", "bins", "at least 1", bins)
    low, high = min(data), max(data)
    if low == high:
        low, high = low - 0.5, high + 0.5
    width = (high - low) / bins
    if not 0 < width < math.inf:  # of data with NaN or an infinity, or too large or too close for floats
        raise refusal("histogram", "the width of a bin", "a finite number above 0", width)
    counts = [0] * bins
    for value in data:
        counts[min(bins - 1, math.floor((value - low) / width))] += 1
    return {"counts": counts, "edges": [low + i * width for i in range(bins)] + [float(high)]}


@checked("n +")
def wilson_ci(successes: float, total: float, confidence: float | None = None) -> Interval:
    """Interval of a share (Wilson 1927); `confidence` is 0.95."""
    chosen = 0.95 if confidence is None else probability(confidence, "wilson_ci", "confidence")
    z, p = standard_normal_ppf(0.5 + chosen / 2), successes / total
    if z == math.inf:
        return {"lower": 0.0, "upper": 1.0, "center": 0.5}
    scale = 1 + z * z / total
    center = (p + z * z / (2 * total)) / scale
    half = z * sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / scale
    return {"lower": center - half, "upper": center + half, "center": center}


# ── ranking ───────────────────────────────────────────────────────────────────────────────────────────────


def ranks_of(data: Data) -> tuple[list[float], int]:
    """Ranks from 1; ties get their average rank. Also the correction for ties that tests need: the sum of t^3 - t."""
    order = sorted(range(len(data)), key=data.__getitem__)
    ranks, ties, i = [0.0] * len(data), 0, 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and data[order[j + 1]] == data[order[i]]:
            j += 1
        for place in range(i, j + 1):
            ranks[order[place]] = (i + j) / 2 + 1
        t = j - i + 1
        ties, i = ties + t * t * t - t, j + 1
    return ranks, ties


@checked("a")
def rank(data: Data) -> list[float]:
    """From 1, ties share their average."""
    return ranks_of(data)[0]


@checked("a a")
def spearman_correlation(xs: Data, ys: Data) -> float:
    """Correlation of ranks."""
    assert_paired("spearman_correlation", xs, ys, 2)
    return _correlation(ranks_of(xs)[0], ranks_of(ys)[0])


@checked("a a")
def kendall_tau(xs: Data, ys: Data) -> float:
    """tau-b"""
    assert_paired("kendall_tau", xs, ys, 2)
    score = pairs_x = pairs_y = 0  # pairs that are not tied
    for i in range(1, len(xs)):
        for j in range(i):
            x = (xs[i] > xs[j]) - (xs[i] < xs[j])
            y = (ys[i] > ys[j]) - (ys[i] < ys[j])
            pairs_x, pairs_y, score = pairs_x + (x != 0), pairs_y + (y != 0), score + x * y
    return divided(score, sqrt(pairs_x * pairs_y))


@checked("a u")
def ndcg(relevance: Data, k: int) -> float:
    """Gain of the first k, discounted by log2(place + 1), over the best order's (Järvelin and Kekäläinen 2002)."""
    best = _dcg(sorted(relevance, reverse=True), k)
    return _dcg(relevance, k) / best if best > 0 else 0.0


def _dcg(relevance: Data, k: int) -> float:
    return added(gain / math.log2(place + 1) for place, gain in enumerate(relevance[:k], 1))


@checked("a")
def mrr(ranks: Data) -> float:
    """Mean of 1/rank; a rank of 0 is "not found"."""
    return added(1 / rank if rank > 0 else 0 for rank in ranks) / len(ranks)


# ── information, in nats ──────────────────────────────────────────────────────────────────────────────────


def _expected(p: Data, term: Callable[[int], float]) -> float:
    """Sum of p * term, where a p of 0 adds 0 even if its term is infinite."""
    return added(share * term(i) for i, share in enumerate(p) if share != 0)


def _divergence(p: Data, q: Data) -> float:
    return _expected(p, lambda i: log(divided(p[i], q[i])))


@checked("a")
def entropy(probs: Data) -> float:
    """In nats."""
    return _expected(probs, lambda i: -log(probs[i]))


@checked("a a")
def kl_divergence(p: Data, q: Data) -> float:
    """Of Kullback and Leibler."""
    assert_paired("kl_divergence", p, q, 1)
    return _divergence(p, q)


@checked("a a")
def js_divergence(p: Data, q: Data) -> float:
    """Of Jensen and Shannon."""
    assert_paired("js_divergence", p, q, 1)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return (_divergence(p, middle) + _divergence(q, middle)) / 2


@checked("a a")
def cross_entropy(p: Data, q: Data) -> float:
    """In nats."""
    assert_paired("cross_entropy", p, q, 1)
    return _expected(p, lambda i: -log(q[i]))


# ── series, orders ────────────────────────────────────────────────────────────────────────────────────────


@checked("a u")
def moving_average(data: Data, window: int) -> list[float]:
    """As many fewer as the window is longer than 1."""
    if window < 1:
        raise refusal("moving_average", "window", "at least 1", window)
    result, total = [], 0.0
    for i, value in enumerate(data):
        total += value - (data[i - window] if i >= window else 0)
        if i + 1 >= window:
            result.append(total / window)
    return result


@checked("a p")
def ewma(data: Data, alpha: float) -> list[float]:
    """Exponentially weighted."""
    result = [float(data[0])]
    for value in data[1:]:
        result.append(alpha * value + (1 - alpha) * result[-1])
    return result


@checked("a u")
def autocorrelation(data: Data, lag: int) -> float:
    """With itself, `lag` later."""
    center = mean_of(data)
    above = added((data[i] - center) * (data[i - lag] - center) for i in range(lag, len(data)))
    return divided(above, added((value - center) ** 2 for value in data))


@checked("u")
def permutations(n: int) -> list[list[int]]:
    """All orders of 1 to n, for n up to 10."""
    if n > _MAX_PERMUTED:
        raise refusal("permutations", "n", f"at most {_MAX_PERMUTED}", n)
    return [list(order) for order in orders(range(1, n + 1))]
