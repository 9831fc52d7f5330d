"""Special functions of alc.math, and the distributions that need them. About 14 digits are right."""

import math
from statistics import NormalDist

from algocline_mcp.worker.engine.python.api.math.checks import added, checked, divided, exp, log, refusal

_EPSILON, _TINY = 1e-16, 1e-300
_STEPS = 100_000  # of a series or fraction; only parameters of many millions need so many
_MAX_SHAPE = 1e10  # of beta_ppf: one step takes 100,000 terms there
_NORMAL = NormalDist()

# ── gamma ─────────────────────────────────────────────────────────────────────────────────────────────────


def ln_gamma(x: float) -> float:
    """ln |gamma(x)|, infinite at the poles."""
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):
        return math.inf


@checked("n")
def lgamma(x: float) -> float:
    """Logarithm of the gamma function."""
    return ln_gamma(x)


@checked("n")
def digamma(x: float) -> float:
    """Derivative of lgamma."""
    if x <= 0 and x == math.floor(x):
        return math.nan
    result = 0.0
    if x < 0:
        result = -math.pi / math.tan(math.pi * x)
        x = 1 - x
    while x < 10:
        result -= 1 / x
        x += 1
    r = 1 / (x * x)  # the asymptotic series, Abramowitz and Stegun 6.3.18
    series = 1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r * (1 / 132 - r * (691 / 32760 - r / 12)))))
    return result + math.log(x) - 0.5 / x - r * series


@checked("u")
def factorial(n: int) -> float:
    """Up to 170."""
    if n > 170:
        raise refusal("factorial", "n", "at most 170 (alc.math.ln_factorial has no limit)", n)
    return float(math.factorial(n))


@checked("u")
def ln_factorial(n: int) -> float:
    return ln_gamma(n + 1.0)


def incomplete_gamma(a: float, x: float) -> tuple[float, float]:
    """P(a, x) and Q(a, x) = 1 - P: a series below a + 1, a continued fraction (Lentz) above."""
    if x <= 0 or x == math.inf:
        return (0.0, 1.0) if x <= 0 else (1.0, 0.0)
    factor = exp(a * log(x) - x - ln_gamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, _STEPS + 1):
            term *= x / (a + n)
            total += term
            if not term >= total * _EPSILON:  # also where they are not numbers
                break
        return total * factor, 1 - total * factor
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    fraction = d
    for i in range(1, _STEPS + 1):
        an = -i * (i - a)
        b += 2
        d = 1 / _not_tiny(an * d + b)
        c = _not_tiny(b + an / c)
        fraction *= d * c
        if not abs(d * c - 1) >= _EPSILON:
            break
    return 1 - fraction * factor, fraction * factor


def _not_tiny(value: float) -> float:
    return _TINY if abs(value) < _TINY else value


@checked("+ n")
def regularized_incomplete_gamma(a: float, x: float) -> float:
    """The share of the gamma integral up to x."""
    return incomplete_gamma(a, x)[0]


@checked("n")
def erf(x: float) -> float:
    """Error function."""
    return math.erf(x)


@checked("n")
def erfc(x: float) -> float:
    """1 - erf(x), exact where that is tiny."""
    return math.erfc(x)


# ── beta ──────────────────────────────────────────────────────────────────────────────────────────────────


def _ln_beta(a: float, b: float) -> float:
    return ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)


@checked("+ +")
def ln_beta(a: float, b: float) -> float:
    """Logarithm of the beta function."""
    return _ln_beta(a, b)


@checked("+ +")
def beta(a: float, b: float) -> float:
    """Beta function."""
    return exp(_ln_beta(a, b))


@checked("+ +")
def beta_mean(alpha: float, beta: float) -> float:
    """Mean of a beta distribution."""
    return alpha / (alpha + beta)


@checked("+ +")
def beta_variance(alpha: float, beta: float) -> float:
    """Variance of a beta distribution."""
    return divided(alpha * beta, (alpha + beta) * (alpha + beta) * (alpha + beta + 1))


def _beta_fraction(x: float, a: float, b: float) -> float:
    """By Lentz."""
    c, d = 1.0, 1 / _not_tiny(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _STEPS + 1):
        terms = (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        )
        step = 1.0
        for term in terms:
            d = 1 / _not_tiny(1 + term * d)
            c = _not_tiny(1 + term / c)
            step = c * d
            fraction *= step
        if not abs(step - 1) >= _EPSILON:
            break
    return fraction


def incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b)"""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    factor = exp(a * log(x) + b * log(1 - x) - _ln_beta(a, b))
    if x < (a + 1) / (a + b + 2):
        return factor * _beta_fraction(x, a, b) / a
    return 1 - factor * _beta_fraction(1 - x, b, a) / b


@checked("n + +")
def regularized_incomplete_beta(x: float, a: float, b: float) -> float:
    """The share of the beta integral up to x."""
    return incomplete_beta(x, a, b)


@checked("n + +")
def beta_cdf(x: float, alpha: float, beta: float) -> float:
    """Beta distribution function."""
    return incomplete_beta(x, alpha, beta)


@checked("p f f")
def beta_ppf(p: float, alpha: float, beta: float) -> float:
    """Inverse of beta_cdf, for alpha and beta up to 1e10.

    By bisection, which always converges: first of the exponent, where 0 stands for what is below the smallest float,
    and then of the number. That are 65 steps at most.
    """
    for what, shape in (("alpha", alpha), ("beta", beta)):
        if shape > _MAX_SHAPE:
            raise refusal("beta_ppf", what, "at most 1e10", shape)
    if p in (0, 1):
        return float(p)
    above, below = 0, 1075  # the result lies between 2^-below and 2^-above
    while below - above > 1:
        exponent = (above + below) // 2
        if incomplete_beta(math.ldexp(1.0, -exponent), alpha, beta) < p:
            below = exponent
        else:
            above = exponent
    low, high = math.ldexp(1.0, -below), math.ldexp(1.0, -above)
    while True:
        middle = low + (high - low) / 2
        if middle <= low or middle >= high:
            return middle
        if incomplete_beta(middle, alpha, beta) < p:
            low = middle
        else:
            high = middle


# ── normal, gamma, Poisson ────────────────────────────────────────────────────────────────────────────────


@checked("n n +")
def normal_cdf(x: float, mu: float, sigma: float) -> float:
    """Normal distribution function."""
    return math.erfc((mu - x) / (sigma * math.sqrt(2))) / 2


def standard_normal_ppf(p: float) -> float:
    if p in (0, 1):
        return math.inf if p else -math.inf
    return _NORMAL.inv_cdf(p)


@checked("p")
def normal_ppf(p: float) -> float:
    """Inverse of normal_cdf for mean 0 and deviation 1."""
    return standard_normal_ppf(p)


@checked("p n +")
def normal_inverse_cdf(p: float, mu: float, sigma: float) -> float:
    """Inverse of normal_cdf."""
    return mu + sigma * standard_normal_ppf(p)


@checked("n + +")
def gamma_cdf(x: float, shape: float, scale: float) -> float:
    """Gamma distribution function."""
    return incomplete_gamma(shape, x / scale)[0]


@checked("n n")
def poisson_cdf(k: float, lambda_: float) -> float:
    """At most k events."""
    if not lambda_ >= 0:
        raise refusal("poisson_cdf", "lambda", "at least 0", lambda_)
    return 0.0 if k < 0 else incomplete_gamma(math.floor(k) + 1.0, lambda_)[1]


# ── logarithms and exponentials ───────────────────────────────────────────────────────────────────────────


def log_sum_exp(values: list[float]) -> float:
    largest = max(values)
    if math.isinf(largest):
        return largest
    return largest + log(added(exp(value - largest) for value in values))


@checked("a")
def logsumexp(values: list[float]) -> float:
    """Logarithm of the sum of exponentials."""
    return log_sum_exp(values)


@checked("p")
def logit(p: float) -> float:
    """ln(p / (1 - p))"""
    return log(divided(p, 1 - p))


@checked("n")
def expit(x: float) -> float:
    """Inverse of logit."""
    if x < 0:
        return exp(x) / (1 + exp(x))
    return 1 / (1 + exp(-x))
