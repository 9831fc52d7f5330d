"""Tests of hypotheses of alc.math, two-sided."""

import math
from typing import TypedDict

from algocline_mcp.worker.engine.python.api.math.checks import added, checked, divided, exp, refusal, sqrt
from algocline_mcp.worker.engine.python.api.math.data import Data, mean_of, ranks_of, variance_of
from algocline_mcp.worker.engine.python.api.math.special import incomplete_beta, incomplete_gamma


class WelchTest(TypedDict):
    t_stat: float
    df: float
    p_value: float


class MannWhitneyTest(TypedDict):
    u_stat: float
    z_score: float
    p_value: float


class ChiSquaredTest(TypedDict):
    chi2_stat: float
    df: int
    p_value: float


class KolmogorovSmirnovTest(TypedDict):
    d_stat: float
    p_value: float


@checked("a a")
def welch_t_test(xs: Data, ys: Data) -> WelchTest:
    """Do two means differ (Welch 1947)."""
    if len(xs) < 2 or len(ys) < 2:
        raise refusal("welch_t_test", "the length of each sample", "at least 2", min(len(xs), len(ys)))
    a, b = variance_of(xs) / len(xs), variance_of(ys) / len(ys)
    difference = mean_of(xs) - mean_of(ys)
    if a + b == 0:  # no variance: equal, or different for certain
        t = math.copysign(math.inf, difference) if difference else 0.0
        return {"t_stat": t, "df": len(xs) + len(ys) - 2.0, "p_value": 0.0 if difference else 1.0}
    t = difference / sqrt(a + b)
    df = (a + b) ** 2 / (a * a / (len(xs) - 1) + b * b / (len(ys) - 1))
    return {"t_stat": t, "df": df, "p_value": incomplete_beta(df / (df + t * t), df / 2, 0.5)}


@checked("a a")
def mann_whitney_u(xs: Data, ys: Data, *, continuity_correction: bool = True) -> MannWhitneyTest:
    """Does one sample lie above the other: U of the first, by the normal approximation with ties (1947)."""
    n, m = len(xs), len(ys)
    total = n + m
    ranks, ties = ranks_of([*xs, *ys])
    u = added(ranks[:n]) - n * (n + 1) / 2
    spread = sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
    distance = u - n * m / 2
    if continuity_correction and distance != 0:
        distance -= math.copysign(0.5, distance)
    z = distance / spread if spread > 0 else 0.0
    return {"u_stat": u, "z_score": z, "p_value": math.erfc(abs(z) / math.sqrt(2))}


@checked("a a")
def chi_squared_test(observed: Data, expected: Data) -> ChiSquaredTest:
    """Do counts fit (Pearson 1900)."""
    if len(observed) != len(expected):
        wanted = f"as long as the first, {len(observed)},"
        raise refusal("chi_squared_test", "the second list", wanted, len(expected))
    for n, count in enumerate(expected, 1):
        if not count > 0:
            raise refusal("chi_squared_test", f"expected[{n}]", "a number above 0", count)
    total = added((seen - wanted) ** 2 / wanted for seen, wanted in zip(observed, expected, strict=True))
    df = len(observed) - 1
    return {"chi2_stat": total, "df": df, "p_value": incomplete_gamma(df / 2, total / 2)[1] if df else 1.0}


def _kolmogorov(lambda_: float) -> float:
    """Kolmogorov's distribution: the first form converges for small lambda, the second form for large lambda."""
    if lambda_ < 1.18:
        y = exp(-(math.pi**2) / (8 * lambda_ * lambda_))
        return 1 - math.sqrt(2 * math.pi) / lambda_ * (y + y**9 + y**25 + y**49)
    return added((2 if k % 2 else -2) * exp(-2 * k * k * lambda_ * lambda_) for k in range(1, 21))


@checked("a a")
def ks_test(xs: Data, ys: Data) -> KolmogorovSmirnovTest:
    """Do two distributions differ; p with Stephens' correction (1970) for small samples."""
    if any(map(math.isnan, (*xs, *ys))):  # it has no place in an order
        return {"d_stat": math.nan, "p_value": math.nan}
    a, b = sorted(xs), sorted(ys)
    i = j = 0
    distance = 0.0
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        while i < len(a) and x <= y and a[i] == x:
            i += 1
        while j < len(b) and y <= x and b[j] == y:
            j += 1
        distance = max(distance, abs(i / len(a) - j / len(b)))
    root = sqrt(divided(len(a) * len(b), len(a) + len(b)))
    p = _kolmogorov((root + 0.12 + 0.11 / root) * distance) if distance > 0 else 1.0
    return {"d_stat": distance, "p_value": max(0.0, min(1.0, p))}
