-- alc.math, part 3: special functions, and the distributions that need them. About 14 digits are right.

local shared = ...
local define = shared.define
local abs, exp, floor, log, pi, sin, sqrt, tan =
  math.abs, math.exp, math.floor, math.log, math.pi, math.sin, math.sqrt, math.tan
local INFINITY <const> = math.huge
local EPSILON <const>, TINY <const> = 1e-16, 1e-300
local STEPS <const> = 100000 -- of a series or fraction; only parameters of many millions need so many

-- Gamma --------------------------------------------------------------------------------------------------------

-- Lanczos 1964, with Godfrey's coefficients for g = 607/128.
local LANCZOS = {
  57.156235665862923517, -59.597960355475491248, 14.136097974741747174, -0.49191381609762019978,
  .33994649984811888699e-4, .46523628927048575665e-4, -.98374475304879564677e-4, .15808870322491248884e-3,
  -.21026444172410488319e-3, .21743961811521264320e-3, -.16431810653676389022e-3, .84418223983852743293e-4,
  -.26190838401581408670e-4, .36899182659531622704e-5,
}

-- ln |gamma(x)|
local function lgamma(x)
  if x ~= x then
    return x
  elseif x == INFINITY or x == -INFINITY or x <= 0 and x == floor(x) then
    return INFINITY
  elseif x < 0.5 then -- reflection
    return log(pi / abs(sin(pi * (x - floor(x))))) - lgamma(1 - x)
  elseif x == 1 or x == 2 then
    return 0.0
  end
  x = x - 1
  local sum = 0.99999999999999709182
  for i = 1, #LANCZOS do
    sum = sum + LANCZOS[i] / (x + i)
  end
  local base = x + 5.2421875
  return 0.91893853320467274178 + log(sum) + (x + 0.5) * log(base) - base
end
define("lgamma", "x:n", lgamma)

define("digamma", "x:n", function(x)
  if x <= 0 and x == floor(x) then
    return 0 / 0
  end
  local result = 0.0
  if x < 0 then
    result = -pi / tan(pi * x)
    x = 1 - x
  end
  while x < 10 do
    result = result - 1 / x
    x = x + 1
  end
  local r = 1 / (x * x) -- the asymptotic series, Abramowitz and Stegun 6.3.18
  return result + log(x) - 0.5 / x
    - r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r * (1 / 132 - r * (691 / 32760 - r / 12))))))
end)

define("factorial", "n:u", function(n)
  if n > 170 then
    shared.refuse_number("factorial", "n", "at most 170 (alc.math.ln_factorial has no limit)", n)
  end
  local product = 1.0
  for i = 2, n do
    product = product * i
  end
  return product
end)
define("ln_factorial", "n:u", function(n)
  return lgamma(n + 1.0)
end)

-- P(a, x) and Q(a, x) = 1 - P: a series below a + 1, a continued fraction (Lentz) above.
local function incomplete_gamma(a, x)
  if x <= 0 then
    return 0.0, 1.0
  elseif x == INFINITY then
    return 1.0, 0.0
  end
  local factor = exp(a * log(x) - x - lgamma(a))
  if x < a + 1 then
    local term = 1 / a
    local sum = term
    for n = 1, STEPS do
      term = term * x / (a + n)
      sum = sum + term
      if not (term >= sum * EPSILON) then -- also where they are not numbers
        break
      end
    end
    return sum * factor, 1 - sum * factor
  end
  local b = x + 1 - a
  local c, d = 1 / TINY, 1 / b
  local fraction = d
  for i = 1, STEPS do
    local an = -i * (i - a)
    b = b + 2
    d = an * d + b
    d = 1 / (abs(d) < TINY and TINY or d)
    c = b + an / c
    c = abs(c) < TINY and TINY or c
    fraction = fraction * d * c
    if not (abs(d * c - 1) >= EPSILON) then
      break
    end
  end
  return 1 - fraction * factor, fraction * factor
end
shared.incomplete_gamma = incomplete_gamma
define("regularized_incomplete_gamma", "a:+ x:n", function(a, x)
  return (incomplete_gamma(a, x))
end)

local function erfc(x)
  local p, q = incomplete_gamma(0.5, x * x)
  if x < 0 then
    return 1 + p
  end
  return q
end
define("erfc", "x:n", erfc)
define("erf", "x:n", function(x)
  local p = incomplete_gamma(0.5, x * x)
  return x < 0 and -p or p
end)

-- Beta ---------------------------------------------------------------------------------------------------------

local function ln_beta(a, b)
  return lgamma(a) + lgamma(b) - lgamma(a + b)
end
define("ln_beta", "a:+ b:+", ln_beta)
define("beta", "a:+ b:+", function(a, b)
  return exp(ln_beta(a, b))
end)
define("beta_mean", "alpha:+ beta:+", function(a, b)
  return a / (a + b)
end)
define("beta_variance", "alpha:+ beta:+", function(a, b)
  return a * b / ((a + b) * (a + b) * (a + b + 1))
end)

local function beta_fraction(x, a, b) -- Lentz
  local c, d = 1.0, 1 - (a + b) * x / (a + 1)
  d = 1 / (abs(d) < TINY and TINY or d)
  local fraction = d
  for m = 1, STEPS do
    local step
    for half = 0, 1 do
      local term = half == 0 and m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        or -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
      d = 1 + term * d
      d = 1 / (abs(d) < TINY and TINY or d)
      c = 1 + term / c
      c = abs(c) < TINY and TINY or c
      step = c * d
      fraction = fraction * step
    end
    if not (abs(step - 1) >= EPSILON) then
      break
    end
  end
  return fraction
end

-- I_x(a, b)
local function incomplete_beta(x, a, b)
  if x <= 0 or x >= 1 then
    return x <= 0 and 0.0 or 1.0
  end
  local factor = exp(a * log(x) + b * log(1 - x) - ln_beta(a, b))
  if x < (a + 1) / (a + b + 2) then
    return factor * beta_fraction(x, a, b) / a
  end
  return 1 - factor * beta_fraction(1 - x, b, a) / b
end
shared.incomplete_beta = incomplete_beta
define("regularized_incomplete_beta", "x:n a:+ b:+", incomplete_beta)
define("beta_cdf", "x:n alpha:+ beta:+", incomplete_beta)

local MOST_SHAPE <const> = 1e10 -- of beta_ppf: one step takes 100,000 terms there

-- By bisection, which always converges: first of the exponent, where 0 stands for what is below the smallest float, and
-- then of the number. That are 65 steps at most.
define("beta_ppf", "p:p alpha:f beta:f", function(p, a, b)
  if a > MOST_SHAPE or b > MOST_SHAPE then
    shared.refuse_number("beta_ppf", a > MOST_SHAPE and "alpha" or "beta", "at most 1e10", a > MOST_SHAPE and a or b)
  elseif p == 0 or p == 1 then
    return p + 0.0
  end
  local above, below = 0, 1075 -- the result lies between 2^-below and 2^-above
  while below - above > 1 do
    local middle = (above + below) // 2
    if incomplete_beta(2.0 ^ -middle, a, b) < p then
      below = middle
    else
      above = middle
    end
  end
  local low, high = 2.0 ^ -below, 2.0 ^ -above
  while true do
    local middle = low + (high - low) / 2
    if middle <= low or middle >= high then
      return middle
    elseif incomplete_beta(middle, a, b) < p then
      low = middle
    else
      high = middle
    end
  end
end)

-- Normal, gamma, Poisson ---------------------------------------------------------------------------------------

define("normal_cdf", "x:n mu:n sigma:+", function(x, mu, sigma)
  return erfc((mu - x) / (sigma * sqrt(2))) / 2
end)

-- Wichura 1988, AS 241, to 16 digits: quotients of polynomials in r, from the highest power down.
local MIDDLE = {
  { 2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
    13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608 },
  { 5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
    5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0 },
}
local NEAR = {
  { 7.7454501427834140764e-4, .0227238449892691845833, .24178072517745061177, 1.27045825245236838258,
    3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734 },
  { 1.05075007164441684324e-9, 5.475938084995344946e-4, .0151986665636164571966, .14810397642748007459,
    .68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0 },
}
local FAR = {
  { 2.01033439929228813265e-7, 2.71155556874348757815e-5, .0012426609473880784386, .026532189526576123093,
    .29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772 },
  { 2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
    .0148753612908506148525, .13692988092273580531, .59983220655588793769, 1.0 },
}

local function quotient(polynomials, r)
  local above, below = 0.0, 0.0
  for i = 1, 8 do
    above = above * r + polynomials[1][i]
    below = below * r + polynomials[2][i]
  end
  return above / below
end

local function normal_ppf(p)
  if p == 0 or p == 1 then
    return p == 0 and -INFINITY or INFINITY
  end
  local q = p - 0.5
  if abs(q) <= 0.425 then
    return q * quotient(MIDDLE, 0.180625 - q * q)
  end
  local r = sqrt(-log(q < 0 and p or 1 - p))
  local x = r <= 5 and quotient(NEAR, r - 1.6) or quotient(FAR, r - 5)
  return q < 0 and -x or x
end
shared.normal_ppf = normal_ppf
define("normal_ppf", "p:p", normal_ppf)
define("normal_inverse_cdf", "p:p mu:n sigma:+", function(p, mu, sigma)
  return mu + sigma * normal_ppf(p)
end)

define("gamma_cdf", "x:n shape:+ scale:+", function(x, shape, scale)
  return (incomplete_gamma(shape, x / scale))
end)
define("poisson_cdf", "k:n lambda:n", function(k, lambda)
  if not (lambda >= 0) then
    shared.refuse_number("poisson_cdf", "lambda", "at least 0", lambda)
  elseif k < 0 then
    return 0.0
  end
  local _, q = incomplete_gamma(floor(k) + 1.0, lambda)
  return q
end)

-- Logarithms and exponentials ----------------------------------------------------------------------------------

local function logsumexp(values)
  local most = -INFINITY
  for i = 1, #values do
    most = values[i] > most and values[i] or most
  end
  if most == -INFINITY or most == INFINITY then
    return most
  end
  local sum = 0
  for i = 1, #values do
    sum = sum + exp(values[i] - most)
  end
  return most + log(sum)
end
shared.logsumexp = logsumexp
define("logsumexp", "values:a", logsumexp)

define("logit", "p:p", function(p)
  return log(p / (1 - p))
end)
define("expit", "x:n", function(x)
  if x < 0 then
    local e = exp(x)
    return e / (1 + e)
  end
  return 1 / (1 + exp(-x))
end)
