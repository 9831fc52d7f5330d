"""The random numbers and samples of alc.math, against SplitMix64 and against their distributions."""

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.engine.lua.in_process import play
from tests.worker.engine.lua.test_math import values


def split_mix(seed: int, count: int) -> list[float]:
    """SplitMix64 (Steele, Lea, Flood 2014) in Python, with the seed mixed by the finalizer of MurmurHash3."""
    mask = (1 << 64) - 1
    state = seed & mask
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = (state ^ state >> 33) * factor & mask
    state ^= state >> 33
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        numbers.append(((z ^ z >> 31) >> 11) / 2**53)
    return numbers


@pytest.mark.parametrize("seed", [0, 1, 42, -1, 2**63 - 1])
def test_numbers_are_those_of_split_mix(seed: int) -> None:
    code = f"m.rng_create({seed}) local t = {{}} for i = 1, 50 do t[i] = m.rng_float(r) end return t"

    assert play(f"local m = alc.math local r = {code}").result == split_mix(seed, 50)


STREAM = """
local m, out = alc.math, {}
local r = m.rng_create(7)
for _ = 1, 20 do
  out[#out + 1] = m.rng_float(r)
  out[#out + 1] = m.rng_int(r, -5, 5)
  out[#out + 1] = m.rng_int(r, math.mininteger, math.maxinteger)
  for _, draw in ipairs{{m.normal_sample, 0, 1}, {m.beta_sample, 0.5, 2}, {m.gamma_sample, 0.3, 2}, {m.exp_sample, 2},
      {m.uniform_sample, 2, 3}, {m.lognormal_sample, 0, 1}, {m.student_t_sample, 3}, {m.chi_squared_sample, 4},
      {m.poisson_sample, 100}, {m.binomial_sample, 500, 0.4}} do
    out[#out + 1] = draw[1](r, draw[2], draw[3])
  end
  out[#out + 1] = m.categorical_sample(r, {1, 2, 3})
  out[#out + 1] = m.dirichlet_sample(r, {1, 2, 3})[1]
  out[#out + 1] = m.shuffle(r, {1, 2, 3, 4, 5})[1]
  out[#out + 1] = m.sample_with_replacement(r, {'a', 'b'}, 1)[1]
end
out[#out + 1] = m.rng_float(m.rng_create())
return out
"""
PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
from tests.worker.engine.lua.in_process import last_line
print(last_line(sys.stdin.read()).decode())
"""


def test_same_seed_gives_the_same_numbers_in_another_process() -> None:
    root = Path(__file__).parents[4]

    done = subprocess.run([sys.executable, "-c", PROGRAM, str(root)], input=STREAM,
                          capture_output=True, text=True, timeout=240, check=True)  # fmt: skip

    assert json.loads(done.stdout)["result"] == play(STREAM).result


def test_generator_survives_json() -> None:
    code = ("(function() local r = m.rng_create(5) m.rng_float(r) local copy = alc.json_decode(alc.json_encode(r))"
            " return m.rng_float(r) == m.rng_float(copy) end)()")  # fmt: skip

    assert values(code) is True


N = 20000


def sample(name: str, *arguments: object) -> list[float]:
    more = "".join(f", {value}" for value in arguments)
    drawn: list[float] = values(f"(function() local r, t = m.rng_create(11), {{}} for i = 1, {N} do"
                                f" t[i] = m.{name}(r{more}) end return t end)()")  # fmt: skip
    return drawn


MOMENTS = [
    ("rng_float", (), 0.5, 1 / 12),
    ("uniform_sample", (2, 6), 4, 16 / 12),
    ("normal_sample", (3, 2), 3, 4),
    ("exp_sample", (4,), 0.25, 1 / 16),
    ("gamma_sample", (0.5, 3), 1.5, 4.5),
    ("gamma_sample", (9, 0.5), 4.5, 2.25),
    ("beta_sample", (2, 3), 0.4, 0.04),
    ("beta_sample", (0.2, 0.3), 0.4, 0.16),
    ("chi_squared_sample", (6,), 6, 12),
    ("student_t_sample", (12,), 0, 1.2),
    ("lognormal_sample", (0, 0.5), math.exp(0.125), (math.exp(0.25) - 1) * math.exp(0.25)),
    ("poisson_sample", (3.5,), 3.5, 3.5),
    ("poisson_sample", (31,), 31, 31),
    ("poisson_sample", (250,), 250, 250),
    ("binomial_sample", (10, 0.3), 3, 2.1),
    ("binomial_sample", (1000, 0.9), 900, 90),
    ("rng_int", (1, 6), 3.5, 35 / 12),
    ("categorical_sample", ("{1, 0, 3}",), 2.5, 0.75),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "mean", "variance"), MOMENTS)
def test_samples_have_the_mean_and_variance_of_their_distribution(
    name: str, arguments: tuple[object, ...], mean: float, variance: float
) -> None:
    drawn = sample(name, *arguments)

    # The seed is fixed, so this cannot fail by chance. A random error is almost never above 4.5 standard errors.
    assert abs(statistics.fmean(drawn) - mean) < 4.5 * math.sqrt(variance / N)
    assert statistics.pvariance(drawn) == pytest.approx(variance, rel=0.12)


@pytest.mark.slow
def test_samples_follow_their_distribution_function() -> None:
    # Kolmogorov's distance exceeds 1.63 / sqrt(n) with a probability of 1 %.
    for name, arguments, cdf in [
        ("normal_sample", (0, 1), "m.normal_cdf(x, 0, 1)"),
        ("beta_sample", (2, 5), "m.beta_cdf(x, 2, 5)"),
        ("gamma_sample", (0.7, 2), "m.gamma_cdf(x, 0.7, 2)"),
    ]:
        drawn = sorted(sample(name, *arguments))
        shares = values(f"alc.map(alc.json_decode('{json.dumps(drawn)}'), function(x) return {cdf} end)")
        assert max(abs(share - (i + 0.5) / N) for i, share in enumerate(shares)) < 1.63 / math.sqrt(N)


def test_integers_reach_both_ends_and_are_uniform() -> None:
    drawn = sample("rng_int", -2, 2)
    assert {drawn.count(value) // 400 for value in range(-2, 3)} <= {9, 10}
    assert set(drawn) == {-2, -1, 0, 1, 2}
    assert values("m.rng_int(m.rng_create(1), 5, 5)") == 5
    big = values(
        "alc.map({1, 2, 3, 4, 5, 6, 7, 8}, function(s) return m.rng_int(m.rng_create(s), 0, (1 << 40) - 1) end)"
    )
    assert all(0 <= value < 1 << 40 for value in big)
    assert max(big) > 1 << 38


def test_range_that_does_not_divide_the_range_of_the_generator_is_uniform() -> None:
    # 2^32 numbers onto 3 * 2^30: without a second draw, every third number would come twice as often.
    drawn = sample("rng_int", 0, 3 * 2**30 - 1)

    assert all(abs(sum(value % 3 == rest for value in drawn) - N / 3) < 4.5 * math.sqrt(N * 2 / 9) for rest in range(3))


def test_shuffle_is_in_place_and_each_order_is_equally_likely() -> None:
    code = """(function()
      local r, counts = m.rng_create(3), {}
      for _ = 1, 6000 do
        local t = {1, 2, 3}
        assert(m.shuffle(r, t) == t)
        local key = table.concat(t)
        counts[key] = (counts[key] or 0) + 1
      end
      return counts
    end)()"""

    counts = values(code)
    assert len(counts) == 6
    assert all(abs(count - 1000) < 4.5 * math.sqrt(1000) for count in counts.values())


def test_dirichlet_sums_to_one() -> None:
    assert sum(values("m.dirichlet_sample(m.rng_create(1), {0.5, 1, 2})")) == pytest.approx(1)
