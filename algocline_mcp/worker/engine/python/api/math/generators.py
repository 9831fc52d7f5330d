"""Random numbers of alc.math, and samples of distributions. The same seed gives the same numbers in every language.

A generator is SplitMix64 (Steele, Lea, Flood 2014). Its state is one whole number, and it is a list of that number, so
JSON and alc.state can store it, and another language can go on with it.
"""

import math
import random
from collections.abc import MutableSequence, Sequence
from typing import TypeVar

from algocline_mcp.worker.engine.python.api import numbers
from algocline_mcp.worker.engine.python.api.math.checks import (
    added,
    checked,
    exp,
    finite,
    generator,
    log,
    number,
    refusal,
)

Rng = list[int]
T = TypeVar("T")
_MASK = (1 << 64) - 1
_MAX_DRAWN = 1_000_000
_GAMMA = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, odd


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


def rng_create(seed: float | None = None) -> Rng:
    """A generator. Mixes the seed: generators of neighbouring seeds begin far apart. Without a seed, the session's own
    numbers give one."""
    if seed is None:
        seed = _signed(random.getrandbits(64))
    checked_seed = number(seed, "rng_create", "seed")
    floor = numbers.whole(math.floor(checked_seed)) if math.isfinite(checked_seed) else None
    if floor is None:
        raise refusal("rng_create", "seed", "a whole number", seed)
    state = floor & _MASK
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = (state ^ state >> 33) * factor & _MASK
    return [_signed(state ^ state >> 33)]


def _bits(rng: Rng) -> int:
    state = (rng[0] + _GAMMA) & _MASK
    rng[0] = _signed(state)
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
    return state ^ state >> 31


def _float(rng: Rng) -> float:
    return (_bits(rng) >> 11) * 2.0**-53


def _below(rng: Rng, size: int) -> int:
    """Uniform: Lemire 2019 up to 32 bits; above that, numbers beyond the range are drawn again."""
    if size <= 0xFFFFFFFF:
        product = (_bits(rng) >> 32) * size
        if product & 0xFFFFFFFF < size:
            least = (0x100000000 - size) % size
            while product & 0xFFFFFFFF < least:
                product = (_bits(rng) >> 32) * size
        return product >> 32
    mask = (1 << (size - 1).bit_length()) - 1
    drawn = _bits(rng) & mask
    while drawn >= size:
        drawn = _bits(rng) & mask
    return drawn


def rng_float(rng: Rng) -> float:
    """From 0 up to, and without, 1."""
    if type(rng) is not list:  # called millions of times, so without `checked`
        generator(rng, "rng_float", "rng")
    return _float(rng)


@checked("r i i")
def rng_int(rng: Rng, min: int, max: int) -> int:
    """Both ends included."""
    if min > max:
        raise refusal("rng_int", "max", "at least min", max)
    return min + _below(rng, max - min + 1)


# ── continuous distributions ──────────────────────────────────────────────────────────────────────────────


def _positive(rng: Rng) -> float:
    """In (0, 1]."""
    return 1 - _float(rng)


def _normal(rng: Rng) -> float:
    """By Box and Muller 1958."""
    return math.sqrt(-2 * log(_positive(rng))) * math.cos(2 * math.pi * _float(rng))


def _gamma(rng: Rng, shape: float) -> float:
    """By Marsaglia and Tsang 2000."""
    if shape < 1:
        larger = _gamma(rng, shape + 1)
        return float(larger * _positive(rng) ** (1 / shape))
    d = shape - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = _normal(rng)
        v = (1 + c * x) ** 3 if 1 + c * x > 0 else 0.0
        if v > 0 and log(_positive(rng)) < 0.5 * x * x + d - d * v + d * log(v):
            return d * v


def _beta(rng: Rng, a: float, b: float) -> float:
    x, y = _gamma(rng, a), _gamma(rng, b)
    if x + y == 0:  # both are too small for a float: all weight is at the ends
        return 1.0 if _float(rng) < a / (a + b) else 0.0
    return x / (x + y)


@checked("r n n")
def normal_sample(rng: Rng, mean: float, stddev: float) -> float:
    return mean + stddev * _normal(rng)


@checked("r n n")
def lognormal_sample(rng: Rng, mu: float, sigma: float) -> float:
    """e to the power of a normal one."""
    return exp(mu + sigma * _normal(rng))


@checked("r n n")
def uniform_sample(rng: Rng, low: float, high: float) -> float:
    """From low up to, and without, high."""
    return low + (high - low) * _float(rng)


@checked("r +")
def exp_sample(rng: Rng, lambda_: float) -> float:
    """An exponential distribution with rate lambda."""
    return -log(_positive(rng)) / lambda_


@checked("r f +")
def gamma_sample(rng: Rng, shape: float, scale: float) -> float:
    return _gamma(rng, shape) * scale


@checked("r f f")
def beta_sample(rng: Rng, alpha: float, beta: float) -> float:
    return _beta(rng, alpha, beta)


@checked("r f")
def chi_squared_sample(rng: Rng, df: float) -> float:
    """Chi squared with df degrees of freedom."""
    return 2 * _gamma(rng, df / 2)


@checked("r f")
def student_t_sample(rng: Rng, df: float) -> float:
    """Student's t with df degrees of freedom."""
    normal = _normal(rng)
    return normal / math.sqrt(2 * _gamma(rng, df / 2) / df)


# ── discrete and multivariate distributions ───────────────────────────────────────────────────────────────


def _binomial(rng: Rng, n: int, p: float) -> int:
    """Halves large numbers of trials at a quantile that is drawn from a beta distribution (Devroye 1986, X.4.4): exact,
    in time logarithmic in n."""
    count = 0
    while n > 32:
        left = 1 + n // 2
        quantile = _beta(rng, left, n + 1 - left)
        if quantile >= p:
            n, p = left - 1, p / quantile
        else:
            n, p, count = n - left, (p - quantile) / (1 - quantile), count + left
    return count + sum(_float(rng) < p for _ in range(n))


@checked("r u p")
def binomial_sample(rng: Rng, n: int, p: float) -> int:
    """Successes in n trials."""
    return _binomial(rng, n, p)


@checked("r n")
def poisson_sample(rng: Rng, lambda_: float) -> int:
    """A Poisson distribution. Draws the time of the m-th event, then goes on with the rest (Ahrens and Dieter 1974)."""
    if not 0 <= lambda_ < 2.0**53:
        raise refusal("poisson_sample", "lambda", "at least 0", lambda_)
    count = 0
    while lambda_ > 30:
        m = int(lambda_ * 7 // 8)
        time = _gamma(rng, m)
        if time > lambda_:
            return count + _binomial(rng, m - 1, lambda_ / time)
        count, lambda_ = count + m, lambda_ - time
    limit, product = math.exp(-lambda_), _float(rng)
    while product > limit:
        count, product = count + 1, product * _float(rng)
    return count


@checked("r a")
def dirichlet_sample(rng: Rng, alphas: list[float]) -> list[float]:
    """Shares that sum to 1."""
    drawn = [_gamma(rng, finite(alpha, "dirichlet_sample", f"alphas[{n}]")) for n, alpha in enumerate(alphas, 1)]
    total = added(drawn)
    return [value / total if total > 0 else 1 / len(drawn) for value in drawn]


@checked("r a")
def categorical_sample(rng: Rng, weights: list[float]) -> int:
    """The index, from 0, of the weight that was hit."""
    for n, weight in enumerate(weights, 1):
        if weight < 0:
            raise refusal("categorical_sample", f"weights[{n}]", "at least 0", weight)
    total = added(weights)
    last = max((i for i, weight in enumerate(weights) if weight > 0), default=None)
    if last is None or not math.isfinite(total):
        raise refusal("categorical_sample", "the sum of weights", "a finite number above 0", total)
    left = _float(rng) * total
    for i in range(last):
        left -= weights[i]
        if left < 0:
            return i
    return last


@checked("r t")
def shuffle(rng: Rng, tbl: MutableSequence[T]) -> MutableSequence[T]:
    """In place (Fisher and Yates)."""
    for i in range(len(tbl) - 1, 0, -1):
        j = _below(rng, i + 1)
        tbl[i], tbl[j] = tbl[j], tbl[i]
    return tbl


@checked("r t u")
def sample_with_replacement(rng: Rng, tbl: Sequence[T], n: int) -> list[T]:
    """n elements, at most 1,000,000."""
    if n > _MAX_DRAWN:
        raise refusal("sample_with_replacement", "n", f"at most {_MAX_DRAWN}", n)
    if not tbl and n:
        raise refusal("sample_with_replacement", "tbl", "a non-empty list", tbl)
    return [tbl[_below(rng, len(tbl))] for _ in range(n)]
