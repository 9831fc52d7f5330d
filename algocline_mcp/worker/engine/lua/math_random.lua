-- alc.math, part 2: random numbers, and samples of distributions.
--
-- A generator is SplitMix64 (Steele, Lea, Flood 2014): its state is one integer, a number takes 30 ns, and it passes
-- BigCrush. The same seed gives the same numbers in every process. It is an array of one element, so JSON and alc.state
-- can store it.

local shared = ...
local define, refuse, KINDS, functions = shared.define, shared.refuse_number, shared.kinds, shared.alc.math
local cos, exp, floor, log, pi, sqrt = math.cos, math.exp, math.floor, math.log, math.pi, math.sqrt
local create, random, setmetatable, ult = table.create, math.random, setmetatable, math.ult

-- Generators ---------------------------------------------------------------------------------------------------

local GAMMA <const> = 0x9E3779B97F4A7C15 -- 2^64 divided by the golden ratio, odd
local M1 <const>, M2 <const> = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB

local GENERATOR = { __name = "rng", __metatable = "rng" }

-- Mixes the seed: generators of neighbouring seeds begin far apart. Without a seed, the session's own numbers give one.
function functions.rng_create(seed)
  if seed == nil then
    seed = random(0)
  end
  local state = KINDS.i(floor(KINDS.n(seed, "rng_create", "seed")), "rng_create", "seed")
  state = (state ~ state >> 33) * 0xFF51AFD7ED558CCD
  state = (state ~ state >> 33) * 0xC4CEB9FE1A85EC53
  return setmetatable({ state ~ state >> 33 }, GENERATOR)
end

-- rng_float is called millions of times: it checks its generator where that is another one than in the last call, and
-- without `define`. To check it each time would take half as long again.
local checked = {}

local function float(rng)
  if rng ~= checked then
    checked = KINDS.r(rng, "rng_float", "rng")
  end
  local state = rng[1] + GAMMA
  rng[1] = state
  state = (state ~ state >> 30) * M1
  state = (state ~ state >> 27) * M2
  return ((state ~ state >> 31) >> 11) * 0x1p-53
end
functions.rng_float = float

local function bits(rng)
  local state = rng[1] + GAMMA
  rng[1] = state
  state = (state ~ state >> 30) * M1
  state = (state ~ state >> 27) * M2
  return state ~ state >> 31
end

-- Uniform: Lemire 2019 up to 32 bits; above that, numbers beyond the range are drawn again.
local function below(rng, range)
  if range > 0 and range <= 0xFFFFFFFF then
    local product = (bits(rng) >> 32) * range
    if product & 0xFFFFFFFF < range then
      local least = (0x100000000 - range) % range
      while product & 0xFFFFFFFF < least do
        product = (bits(rng) >> 32) * range
      end
    end
    return product >> 32
  elseif range == 0 then -- 2^64
    return bits(rng)
  end
  local mask = range - 1
  for shift = 0, 5 do
    mask = mask | mask >> (1 << shift)
  end
  local drawn
  repeat
    drawn = bits(rng) & mask
  until ult(drawn, range)
  return drawn
end

local function int(rng, low, high)
  if low > high then
    refuse("rng_int", "max", "at least min", high)
  end
  return low + below(rng, high - low + 1)
end
define("rng_int", "rng:r min:i max:i", int)

-- Continuous distributions -------------------------------------------------------------------------------------

local function positive(rng) -- in (0, 1]
  return 1 - float(rng)
end

local function normal(rng) -- Box and Muller 1958
  return sqrt(-2 * log(positive(rng))) * cos(2 * pi * float(rng))
end

local function gamma(rng, shape) -- Marsaglia and Tsang 2000
  if shape < 1 then
    return gamma(rng, shape + 1) * positive(rng) ^ (1 / shape)
  end
  local d = shape - 1 / 3
  local c = 1 / sqrt(9 * d)
  while true do
    local x = normal(rng)
    local v = 1 + c * x
    if v > 0 then
      v = v * v * v
      if log(positive(rng)) < 0.5 * x * x + d - d * v + d * log(v) then
        return d * v
      end
    end
  end
end

local function beta(rng, a, b)
  local x, y = gamma(rng, a), gamma(rng, b)
  if x + y == 0 then -- both are too small for a float: all weight is at the ends
    return float(rng) < a / (a + b) and 1.0 or 0.0
  end
  return x / (x + y)
end

define("normal_sample", "rng:r mean:n stddev:n", function(rng, mean, stddev)
  return mean + stddev * normal(rng)
end)
define("lognormal_sample", "rng:r mu:n sigma:n", function(rng, mu, sigma)
  return exp(mu + sigma * normal(rng))
end)
define("uniform_sample", "rng:r low:n high:n", function(rng, low, high)
  return low + (high - low) * float(rng)
end)
define("exp_sample", "rng:r lambda:+", function(rng, lambda)
  return -log(positive(rng)) / lambda
end)
define("gamma_sample", "rng:r shape:f scale:+", function(rng, shape, scale)
  return gamma(rng, shape) * scale
end)
define("beta_sample", "rng:r alpha:f beta:f", beta)
define("chi_squared_sample", "rng:r df:f", function(rng, df)
  return 2 * gamma(rng, df / 2)
end)
define("student_t_sample", "rng:r df:f", function(rng, df)
  return normal(rng) / sqrt(2 * gamma(rng, df / 2) / df)
end)

-- Discrete and multivariate distributions ----------------------------------------------------------------------

-- Halves large numbers of trials at a quantile that is drawn from a beta distribution (Devroye 1986, X.4.4): exact, in
-- time logarithmic in n.
local function binomial(rng, n, p)
  local count = 0
  while n > 32 do
    local left = 1 + n // 2
    local quantile = beta(rng, left, n + 1 - left)
    if quantile >= p then
      n, p = left - 1, p / quantile
    else
      n, p, count = n - left, (p - quantile) / (1 - quantile), count + left
    end
  end
  for _ = 1, n do
    if float(rng) < p then
      count = count + 1
    end
  end
  return count
end
define("binomial_sample", "rng:r n:u p:p", binomial)

-- Likewise: draws the time of the m-th event, then goes on with the rest of lambda (Ahrens and Dieter 1974).
local function poisson(rng, lambda)
  local count = 0
  while lambda > 30 do
    local m = lambda * 7 // 8 | 0
    local time = gamma(rng, m)
    if time > lambda then
      return count + binomial(rng, m - 1, lambda / time)
    end
    count, lambda = count + m, lambda - time
  end
  local limit, product = exp(-lambda), float(rng)
  while product > limit do
    count, product = count + 1, product * float(rng)
  end
  return count
end
define("poisson_sample", "rng:r lambda:n", function(rng, lambda)
  if not (lambda >= 0 and lambda < 0x1p53) then
    refuse("poisson_sample", "lambda", "at least 0", lambda)
  end
  return poisson(rng, lambda)
end)

define("dirichlet_sample", "rng:r alphas:a", function(rng, alphas)
  local values, sum = create(#alphas), 0
  for i = 1, #alphas do
    values[i] = gamma(rng, KINDS.f(alphas[i], "dirichlet_sample", "alphas[" .. i .. "]"))
    sum = sum + values[i]
  end
  for i = 1, #values do
    values[i] = sum > 0 and values[i] / sum or 1 / #values
  end
  return values
end)

-- The index, from 1, of the weight that was drawn.
define("categorical_sample", "rng:r weights:a", function(rng, weights)
  local sum, last = 0, nil
  for i = 1, #weights do
    if weights[i] < 0 then
      refuse("categorical_sample", "weights[" .. i .. "]", "at least 0", weights[i])
    end
    sum = sum + weights[i]
    last = weights[i] > 0 and i or last
  end
  if not last or sum ~= sum or sum == 1 / 0 then
    refuse("categorical_sample", "the sum of weights", "a finite number above 0", sum)
  end
  local left = float(rng) * sum
  for i = 1, last - 1 do
    left = left - weights[i]
    if left < 0 then
      return i
    end
  end
  return last
end)

-- Tables -------------------------------------------------------------------------------------------------------

define("shuffle", "rng:r tbl:t", function(rng, list) -- Fisher and Yates
  for i = #list, 2, -1 do
    local j = 1 + below(rng, i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end)

local MOST_DRAWN <const> = 1000000

define("sample_with_replacement", "rng:r tbl:t n:u", function(rng, list, n)
  local size = #list
  if n > MOST_DRAWN then
    refuse("sample_with_replacement", "n", "at most " .. MOST_DRAWN, n)
  end
  if size == 0 and n > 0 then
    refuse("sample_with_replacement", "tbl", "a non-empty array", list)
  end
  local drawn = create(n)
  for i = 1, n do
    drawn[i] = list[1 + below(rng, size)]
  end
  return drawn
end)
