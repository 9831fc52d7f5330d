"""alc.math against Python's own `math` and `statistics`, and against published values, each with its source."""

import json
import math
import random
import statistics
from typing import Any

import pytest

from tests.worker.engine.lua.in_process import play

DATA = [2.5, -1.0, 7.25, 3.0, 3.0, 11.5, -4.75, 0.125]
OTHER = [1.0, 0.5, 6.0, 2.0, 4.5, 9.0, -5.0, -1.5]
L, M = "{2.5, -1.0, 7.25, 3.0, 3.0, 11.5, -4.75, 0.125}", "{1.0, 0.5, 6.0, 2.0, 4.5, 9.0, -5.0, -1.5}"
XS = [-30.5, -6.0, -2.5, -1.0, -0.1, 0.0, 1e-8, 0.3, 0.5, 1.0, 1.5, 2.2, 3.7, 5.9, 8.0, 26.0]
POSITIVE = [1e-5, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 3.25, 10.0, 55.5, 171.5, 1e4, 1e8]


def values(code: str) -> Any:
    return play(f"local m = alc.math return {code}").result


def mapped(name: str, xs: list[float], *rest: float) -> list[float]:
    more = "".join(f", {value!r}" for value in rest)
    result: list[float] = values(f"alc.map(alc.json_decode('{json.dumps(xs)}'), function(x)"
                                 f" return m.{name}(x{more}) end)")  # fmt: skip
    return result


def near(expected: Any, rel: float = 1e-12) -> Any:
    return pytest.approx(expected, rel=rel, abs=1e-300)


# ── against Python ────────────────────────────────────────────────────────────────────────────────────────


def test_special_functions_are_those_of_python() -> None:
    assert mapped("erf", XS) == near([math.erf(x) for x in XS], 1e-13)
    assert mapped("erfc", XS) == near([math.erfc(x) for x in XS], 2e-13)
    assert mapped("lgamma", POSITIVE) == pytest.approx([math.lgamma(x) for x in POSITIVE], rel=1e-13, abs=1e-14)
    negative = [-0.5, -1.5, -2.25, -10.75]
    assert mapped("lgamma", negative) == pytest.approx([math.lgamma(x) for x in negative], rel=1e-12, abs=1e-13)
    assert values("{m.lgamma(0), m.lgamma(-3)}") == [None, None]  # infinite, as JSON has it
    assert mapped("factorial", [0, 1, 5, 20, 170]) == near([float(math.factorial(n)) for n in (0, 1, 5, 20, 170)])
    assert mapped("ln_factorial", [0, 5, 1000]) == near([math.lgamma(n + 1) for n in (0, 5, 1000)])


def test_normal_distribution_is_that_of_python() -> None:
    normal = statistics.NormalDist(2.0, 3.0)
    shares = [1e-300, 1e-10, 0.001, 0.05, 0.3, 0.5, 0.8, 0.975, 1 - 1e-12]

    assert mapped("normal_cdf", XS, 2.0, 3.0) == near([0.5 * math.erfc((2 - x) / (3 * math.sqrt(2))) for x in XS])
    assert mapped("normal_ppf", shares) == near([statistics.NormalDist().inv_cdf(p) for p in shares])
    assert mapped("normal_inverse_cdf", shares[1:], 2.0, 3.0) == near([normal.inv_cdf(p) for p in shares[1:]])
    assert values("{m.normal_ppf(0) == -math.huge, m.normal_ppf(1) == math.huge}") == [True, True]


def test_descriptive_statistics_are_those_of_python() -> None:
    assert values(f"{{m.mean{L}, m.variance{L}, m.stddev{L}, m.median{L}}}") == near(
        [statistics.mean(DATA), statistics.variance(DATA), statistics.stdev(DATA), statistics.median(DATA)]
    )
    quartiles = statistics.quantiles(DATA, n=4, method="inclusive")
    assert values(f"{{m.percentile({L}, 25), m.percentile({L}, 50), m.percentile({L}, 75), m.iqr{L}}}") == near(
        [*quartiles, quartiles[2] - quartiles[0]]
    )
    assert values(f"{{m.covariance({L}, {M}), m.correlation({L}, {M})}}") == near(
        [statistics.covariance(DATA, OTHER), statistics.correlation(DATA, OTHER)]
    )
    assert values("m.mean{1e100, 1, -1e100}") == statistics.mean([1e100, 1, -1e100]) == 1 / 3


def _ranks(data: list[float]) -> list[float]:
    return [(sum(y < x for y in data) + sum(y <= x for y in data) + 1) / 2 for x in data]


def test_ranks_and_rank_correlations() -> None:
    pairs = [(i, j) for i in range(len(DATA)) for j in range(i)]
    signs = [(math.copysign(1, DATA[i] - DATA[j]) if DATA[i] != DATA[j] else 0,
              math.copysign(1, OTHER[i] - OTHER[j]) if OTHER[i] != OTHER[j] else 0) for i, j in pairs]  # fmt: skip
    tau = sum(x * y for x, y in signs) / math.sqrt(sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs))

    assert values(f"m.rank{L}") == _ranks(DATA)
    assert values(f"m.spearman_correlation({L}, {M})") == near(statistics.correlation(_ranks(DATA), _ranks(OTHER)))
    assert values(f"m.kendall_tau({L}, {M})") == near(tau)


def test_information_is_its_definition() -> None:
    p, q = [0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4]
    middle = [(x + y) / 2 for x, y in zip(p, q, strict=True)]

    def divergence(p: list[float], q: list[float]) -> float:
        return math.fsum(x * math.log(x / y) for x, y in zip(p, q, strict=True) if x)

    both = "{0.5, 0.25, 0.25, 0.0}, {0.1, 0.2, 0.3, 0.4}"
    assert values("m.entropy{0.5, 0.25, 0.25, 0.0}") == near(-math.fsum(x * math.log(x) for x in p if x))
    assert values(f"m.kl_divergence({both})") == near(divergence(p, q))
    assert values(f"m.js_divergence({both})") == near((divergence(p, middle) + divergence(q, middle)) / 2)
    assert values(f"m.cross_entropy({both})") == near(-math.fsum(x * math.log(y) for x, y in zip(p, q, strict=True)))
    assert values("m.js_divergence({1, 0}, {0, 1})") == near(math.log(2))


def test_incomplete_functions_are_their_integrals() -> None:
    # Whole parameters have closed forms: sums of Poisson and of binomial probabilities.
    for k, rate in [(0, 0.5), (3, 2.5), (7, 40.0), (40, 30.0)]:
        poisson = math.fsum(math.exp(-rate) * rate**i / math.factorial(i) for i in range(k + 1))
        assert values(f"m.poisson_cdf({k}, {rate})") == near(poisson)
        assert values(f"m.gamma_cdf({2 * rate}, {k + 1}, 2)") == near(1 - poisson, 1e-11)
        assert values(f"m.regularized_incomplete_gamma({k + 1}, {rate})") == near(1 - poisson, 1e-11)
    for x, a, b in [(0.1, 1, 1), (0.3, 2, 3), (0.9, 5, 2), (0.42, 20, 30)]:
        n = a + b - 1
        binomial = math.fsum(math.comb(n, i) * x**i * (1 - x) ** (n - i) for i in range(a, n + 1))
        assert values(f"m.beta_cdf({x}, {a}, {b})") == near(binomial)
        assert values(f"m.regularized_incomplete_beta({x}, {a}, {b})") == near(binomial)
        assert values(f"m.beta_ppf({binomial!r}, {a}, {b})") == near(x, 1e-10)


def test_python_agrees_on_large_random_data() -> None:
    rng = random.Random(5)
    xs = [rng.gauss(1e6, 3) for _ in range(5000)]

    mean, variance, median = values(f"(function() local t = alc.json_decode('{json.dumps(xs)}')"
                                    " return {m.mean(t), m.variance(t), m.median(t)} end)()")  # fmt: skip

    assert mean == near(statistics.fmean(xs), 1e-15)
    assert variance == near(statistics.variance(xs), 1e-11)
    assert median == statistics.median(xs)


# ── against published values ──────────────────────────────────────────────────────────────────────────────

PUBLISHED: list[tuple[str, Any, float]] = [
    # Abramowitz and Stegun 1964, table 6.1 (digamma) and 6.3.3
    ("m.digamma(1)", -0.5772156649015329, 1e-14),
    ("m.digamma(0.5)", -1.9635100260214235, 1e-14),
    ("m.digamma(2)", 0.4227843350984671, 1e-14),
    ("m.digamma(-0.5)", 0.03648997397857652, 1e-12),
    # B(a, b) of whole numbers is (a-1)!(b-1)!/(a+b-1)!; B(1/2, 1/2) is pi
    ("m.beta(2, 3)", 1 / 12, 1e-13),
    ("m.beta(0.5, 0.5)", math.pi, 1e-13),
    ("m.ln_beta(0.5, 0.5)", math.log(math.pi), 1e-13),
    ("m.beta_mean(2, 3)", 0.4, 1e-15),
    ("m.beta_variance(2, 3)", 0.04, 1e-15),
    ("m.beta_ppf(0.5, 2, 2)", 0.5, 1e-14),
    ("m.logit(0.75)", math.log(3), 1e-14),
    ("m.expit(-710)", 4.476286225675130e-309, 1e-9),
    ("m.logsumexp{1000, 1000}", 1000 + math.log(2), 1e-15),
    ("m.logsumexp{-1000, -1000}", -1000 + math.log(2), 1e-15),
    # Wilson's interval for 8 of 10 at 95 %: Brown, Cai, DasGupta 2001 give the formula, R's binom.wilson the digits
    ("m.wilson_ci(8, 10, 0.95)", {"lower": 0.4901625, "upper": 0.9433178, "center": 0.7167402}, 1e-6),
    # NIST/SEMATECH e-Handbook 1.3.6.7.4: the upper 5 % of chi-squared with 3 degrees of freedom is 7.815
    ("m.chi_squared_test({10, 20, 30}, {20, 20, 20})", {"chi2_stat": 10.0, "df": 2, "p_value": math.exp(-5)}, 1e-12),
    ("1 - m.gamma_cdf(7.8147279, 1.5, 2)", 0.05, 1e-7),
    # Student's t with 1 degree is Cauchy's, with 2 it is closed: p = 1 - t / sqrt(t^2 + 2)
    ("m.welch_t_test({1, 3}, {11, 13})", {"t_stat": -math.sqrt(50), "df": 2, "p_value": 1 - math.sqrt(50 / 52)}, 1e-9),
    # Welch 1947's first example as in R's t.test for these samples
    ("m.welch_t_test({27.5, 21, 19, 23.6, 17, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19, 21.7, 21.4},"
     " {27.1, 22, 20.8, 23.4, 23.4, 23.5, 25.8, 22, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4})",
     {"t_stat": -2.46, "df": 25.0, "p_value": 0.021}, 0.02),
    # Hollander and Wolfe 1973, p. 69, permeability: W = 35 for (x, y), U of the first sample
    ("m.mann_whitney_u({0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}, {1.15, 0.88, 0.90, 0.74, 1.21})"
     ".u_stat", 35.0, 1e-12),
    ("m.mann_whitney_u({1, 2, 3}, {4, 5, 6}, {continuity_correction = false}).z_score", -1.9639610121239315, 1e-12),
    ("m.mann_whitney_u({1, 2, 3}, {4, 5, 6}).z_score", -4 / math.sqrt(5.25), 1e-12),
    ("m.mann_whitney_u({1, 1}, {1, 1}).p_value", 1.0, 1e-12),
    ("m.ks_test({1, 2, 3}, {2, 3, 4, 5}).d_stat", 0.5, 1e-12),
    ("m.ks_test({1, 1, 2}, {1, 1, 2})", {"d_stat": 0.0, "p_value": 1.0}, 1e-12),
    # Jarvelin and Kekalainen 2002 with logarithms from the second place on: 3 2 3 0 1 2 -> 6.861 of 7.141
    ("m.ndcg({3, 2, 3, 0, 1, 2}, 6)", 0.9608081943360617, 1e-12),
    ("m.ndcg({0, 0}, 2)", 0.0, 1e-12),
    ("m.mrr{1, 2, 0, 4}", 0.4375, 1e-12),
    ("m.softmax{0, math.log(3)}", [0.25, 0.75], 1e-14),
    ("m.log_normalize{1, 10, 100}", [0.0, 50.0, 100.0], 1e-13),
    ("m.histogram({1, 2, 3, 4, 5}, 2)", {"counts": [2, 3], "edges": [1.0, 3.0, 5.0]}, 1e-14),
    ("m.histogram({4, 4}, 1)", {"counts": [2], "edges": [3.5, 4.5]}, 1e-14),
    ("m.moving_average({1, 2, 3, 4}, 2)", [1.5, 2.5, 3.5], 1e-14),
    ("m.moving_average({1}, 2)", [], 0),
    ("m.ewma({1, 2, 4}, 0.5)", [1.0, 1.5, 2.75], 1e-14),
    ("m.autocorrelation({1, 2, 3, 4, 5}, 1)", 0.4, 1e-14),
    ("m.autocorrelation({1, 2, 3}, 0)", 1.0, 1e-14),
    ("m.permutations(3)", [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]], 0),
    ("#m.permutations(0)", 1, 0),
    ("m.mean{1, 2, 3}", 2.0, 0),
    ("m.median{1, 2, 3, 4}", 2.5, 0),
    ("m.percentile({1, 2, 3, 4}, 50)", 2.5, 0),
    ("m.variance{5}", 0.0, 0),
]  # fmt: skip


@pytest.mark.parametrize(("code", "result", "rel"), PUBLISHED)
def test_published_value(code: str, result: Any, rel: float) -> None:
    value = values(code)

    if isinstance(result, dict) or not rel:
        assert value == (pytest.approx(result, rel=rel) if rel and all(map(_is_number, result.values())) else result)
    else:
        assert value == pytest.approx(result, rel=rel, abs=1e-300)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def test_both_forms_of_kolmogorovs_distribution_are_its_series() -> None:
    code = """(function()
      local n, out = 2000, {}
      for shift = 20, 180, 8 do
        local xs, ys = {}, {}
        for i = 1, n do xs[i], ys[i] = i, i + shift end
        out[#out + 1] = m.ks_test(xs, ys)
      end
      return out
    end)()"""
    root = math.sqrt(1000)

    for test in values(code):
        at = (root + 0.12 + 0.11 / root) * test["d_stat"]
        series = 2 * math.fsum((-1) ** (k - 1) * math.exp(-2 * (k * at) ** 2) for k in range(1, 200))
        assert test["p_value"] == pytest.approx(series, abs=1e-10)


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────

MISUSED = [
    ("mean({})", "alc.math.mean: data must be a non-empty array of numbers and not table"),
    ("mean({1, 'a'})", "alc.math.mean: data[2] must be a number and not string"),
    ("mean()", "alc.math.mean: data must be a non-empty array of numbers and not nil"),
    ("percentile({1}, 101)", "alc.math.percentile: p must be a number from 0 to 100 and not 101"),
    ("rng_float()", "alc.math.rng_float: rng must be a generator from alc.math.rng_create and not nil"),
    ("rng_float({})", "alc.math.rng_float: rng must be a generator from alc.math.rng_create and not table"),
    ("rng_float(5)", "alc.math.rng_float: rng must be a generator from alc.math.rng_create and not 5"),
    ("rng_float({1.5})", "alc.math.rng_float: rng must be a generator from alc.math.rng_create and not table"),
    ("rng_float('x')", "alc.math.rng_float: rng must be a generator from alc.math.rng_create and not string"),
    ("histogram({0/0}, 3)", "alc.math.histogram: the width of a bin must be a finite number above 0"),
    ("rng_int(alc.math.rng_create(1), 3, 2)", "alc.math.rng_int: max must be at least min and not 2"),
    ("rng_int(alc.math.rng_create(1), 1.5, 2)", "alc.math.rng_int: min must be a whole number and not 1.5"),
    ("rng_create('a')", "alc.math.rng_create: seed must be a number and not string"),
    ("gamma_sample(alc.math.rng_create(1), 0, 1)", "alc.math.gamma_sample: shape must be a finite number above 0"),
    ("beta_ppf(1.5, 1, 1)", "alc.math.beta_ppf: p must be a number from 0 to 1 and not 1.5"),
    ("factorial(171)", "alc.math.factorial: n must be at most 170"),
    ("factorial(-1)", "alc.math.factorial: n must be at least 0 and not -1"),
    ("covariance({1, 2}, {1})", "alc.math.covariance: the second array must be as long as the first, 2, and not 1"),
    ("covariance({1}, {1})", "alc.math.covariance: the length must be at least 2 and not 1"),
    ("chi_squared_test({1}, {0})", "alc.math.chi_squared_test: expected[1] must be a number above 0 and not 0"),
    ("categorical_sample(alc.math.rng_create(1), {0, 0})",
     "alc.math.categorical_sample: the sum of weights must be a finite number above 0 and not 0"),
    ("permutations(11)", "alc.math.permutations: n must be at most 10 and not 11"),
    ("wilson_ci(1, 0)", "alc.math.wilson_ci: total must be a number above 0 and not 0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "problem"), MISUSED)
def test_misuse_is_a_catchable_error_with_its_line(call: str, problem: str) -> None:
    ended = play(f"local ok, why = pcall(function()\n return (alc.math.{call}) end) return why")

    assert ended.result.startswith(f"panel.lua:2: {problem}")


WRONG = """
local wrong = {5, true, "x", {}, {1.5}, {"a"}, {{}}, print, -1, 0 / 0}
local inner = {}
for name, call in pairs(alc.math) do
  for i = 0, #wrong do
    for j = 0, #wrong do
      local ok, why = pcall(call, wrong[i], wrong[j], 3)
      if not ok and why:find("^%[alc") then
        inner[name] = why
      end
    end
  end
end
return inner
"""


def test_no_function_shows_a_position_of_its_own_whatever_it_is_given() -> None:
    assert play(WRONG).result == {}


def test_there_are_the_68_names_of_upstream() -> None:
    assert values("(function() local n = 0 for _ in pairs(m) do n = n + 1 end return n end)()") == 68
