-- alc.math, part 4: descriptive statistics, ranking, information, series. Variances are of samples (divided by n - 1).

local shared = ...
local define, refuse, type = shared.define, shared.refuse_number, type
local abs, exp, floor, log, sqrt = math.abs, math.exp, math.floor, math.log, math.sqrt
local create, move, sort = table.create, table.move, table.sort

-- Descriptive --------------------------------------------------------------------------------------------------

local function mean(data)
  local sum, lost = 0.0, 0.0 -- Neumaier 1974: the rounding error of each addition is added at the end
  for i = 1, #data do
    local value = data[i]
    local total = sum + value
    lost = lost + (abs(sum) >= abs(value) and sum - total + value or value - total + sum)
    sum = total
  end
  return (lost == lost and sum + lost or sum) / #data
end
shared.mean = mean
define("mean", "data:a", mean)

local function assert_paired(name, xs, ys, least)
  if #xs ~= #ys then
    refuse(name, "the second array", "as long as the first, " .. #xs .. ",", #ys)
  elseif #xs < least then
    refuse(name, "the length", "at least " .. least, #xs)
  end
end

local function covariance(xs, ys)
  local mean_x, mean_y, sum = mean(xs), mean(ys), 0.0
  for i = 1, #xs do
    sum = sum + (xs[i] - mean_x) * (ys[i] - mean_y)
  end
  return sum / (#xs - 1)
end

local function variance(data)
  return #data > 1 and covariance(data, data) or 0.0
end
shared.variance = variance
define("variance", "data:a", variance)
define("stddev", "data:a", function(data)
  return sqrt(variance(data))
end)
define("covariance", "xs:a ys:a", function(xs, ys)
  assert_paired("covariance", xs, ys, 2)
  return covariance(xs, ys)
end)

-- NaN where one of the two does not vary.
local function correlation(xs, ys)
  local r = covariance(xs, ys) / sqrt(variance(xs) * variance(ys))
  return r > 1 and 1.0 or r < -1 and -1.0 or r
end
define("correlation", "xs:a ys:a", function(xs, ys)
  assert_paired("correlation", xs, ys, 2)
  return correlation(xs, ys)
end)

local function sorted(data)
  local copy = move(data, 1, #data, 1, create(#data))
  sort(copy)
  return copy
end
shared.sorted = sorted

local function at(ordered, share) -- linear interpolation between neighbours
  local place = 1 + share * (#ordered - 1)
  local low = floor(place)
  local value = ordered[low]
  return place > low and value + (place - low) * (ordered[low + 1] - value) or value
end

define("median", "data:a", function(data)
  return at(sorted(data), 0.5)
end)
define("percentile", "data:a p:n", function(data, p)
  if not (p >= 0 and p <= 100) then
    refuse("percentile", "p", "a number from 0 to 100", p)
  end
  return at(sorted(data), p / 100)
end)
define("iqr", "data:a", function(data)
  local ordered = sorted(data)
  return at(ordered, 0.75) - at(ordered, 0.25)
end)

define("softmax", "data:a", function(data)
  local total, result = shared.logsumexp(data), create(#data)
  for i = 1, #data do
    result[i] = exp(data[i] - total)
  end
  return result
end)

-- Logarithms on a scale from 0, the smallest, to 100, the largest; all 0 where they are equal.
define("log_normalize", "data:a", function(data)
  local low, high = math.huge, 0
  for i = 1, #data do
    if not (data[i] > 0) then
      refuse("log_normalize", "data[" .. i .. "]", "a number above 0", data[i])
    end
    low, high = data[i] < low and data[i] or low, data[i] > high and data[i] or high
  end
  local width, result = log(high) - log(low), create(#data)
  for i = 1, #data do
    result[i] = width > 0 and 100 * (log(data[i]) - log(low)) / width or 0.0
  end
  return result
end)

-- Bins of equal width from the smallest to the largest number. Each contains its lower edge, the last bin both edges.
define("histogram", "data:a bins:u", function(data, bins)
  if bins < 1 then
    refuse("histogram", "bins", "at least 1", bins)
  end
  local low, high = data[1], data[1]
  for i = 2, #data do
    low, high = data[i] < low and data[i] or low, data[i] > high and data[i] or high
  end
  if low == high then
    low, high = low - 0.5, high + 0.5
  end
  local width = (high - low) / bins
  if not (width > 0 and width < math.huge) then -- of data with NaN or an infinity, or too large or too close for floats
    refuse("histogram", "the width of a bin", "a finite number above 0", width)
  end
  local counts, edges = create(bins), create(bins + 1)
  for i = 1, bins do
    counts[i], edges[i] = 0, low + (i - 1) * width
  end
  edges[bins + 1] = high + 0.0
  for i = 1, #data do
    local bin = 1 + floor((data[i] - low) / width)
    bin = bin > bins and bins or bin
    counts[bin] = counts[bin] + 1
  end
  return { counts = counts, edges = edges }
end)

-- Wilson 1927
define("wilson_ci", "successes:n total:+ confidence:any", function(successes, total, confidence)
  if confidence == nil then
    confidence = 0.95
  elseif type(confidence) ~= "number" or not (confidence >= 0 and confidence <= 1) then
    refuse("wilson_ci", "confidence", "a number from 0 to 1", confidence)
  end
  local z, p = shared.normal_ppf(0.5 + confidence / 2), successes / total
  if z == math.huge then
    return { lower = 0.0, upper = 1.0, center = 0.5 }
  end
  local scale = 1 + z * z / total
  local center = (p + z * z / (2 * total)) / scale
  local half = z * sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / scale
  return { lower = center - half, upper = center + half, center = center }
end)

-- Ranking ------------------------------------------------------------------------------------------------------

-- Ranks from 1; ties get their average rank. Also returns the correction for ties that the tests need: the sum of t^3
-- - t.
local function rank(data)
  local order, n = create(#data), #data
  for i = 1, n do
    order[i] = i
  end
  shared.stable_sort(order, function(a, b) return data[a] < data[b] end)
  local ranks, ties, i = create(n), 0, 1
  while i <= n do
    local j = i
    while j < n and data[order[j + 1]] == data[order[i]] do
      j = j + 1
    end
    for k = i, j do
      ranks[order[k]] = (i + j) / 2
    end
    local t = j - i + 1
    ties, i = ties + (t * t * t - t), j + 1
  end
  return ranks, ties
end
shared.rank = rank
define("rank", "data:a", function(data)
  return (rank(data))
end)

define("spearman_correlation", "xs:a ys:a", function(xs, ys)
  assert_paired("spearman_correlation", xs, ys, 2)
  return correlation((rank(xs)), (rank(ys)))
end)

define("kendall_tau", "xs:a ys:a", function(xs, ys) -- tau-b
  assert_paired("kendall_tau", xs, ys, 2)
  local score, pairs_x, pairs_y = 0, 0, 0 -- pairs that are not tied
  for i = 2, #xs do
    for j = 1, i - 1 do
      local x, y = xs[i] - xs[j], ys[i] - ys[j]
      pairs_x, pairs_y = pairs_x + (x ~= 0 and 1 or 0), pairs_y + (y ~= 0 and 1 or 0)
      local product = (x > 0 and 1 or x < 0 and -1 or 0) * (y > 0 and 1 or y < 0 and -1 or 0)
      score = score + product
    end
  end
  return score / sqrt(pairs_x * pairs_y)
end)

local function dcg(relevance, k)
  local sum = 0.0
  for i = 1, k < #relevance and k or #relevance do
    sum = sum + relevance[i] / log(i + 1, 2)
  end
  return sum
end

define("ndcg", "relevance:a k:u", function(relevance, k) -- Järvelin and Kekäläinen 2002
  local ideal = sorted(relevance)
  for i = 1, #ideal // 2 do
    local j = #ideal + 1 - i
    ideal[i], ideal[j] = ideal[j], ideal[i]
  end
  local best = dcg(ideal, k)
  return best > 0 and dcg(relevance, k) / best or 0.0
end)

-- Ranks of the first right item, from 1; 0 where no item was right.
define("mrr", "ranks:a", function(ranks)
  local sum = 0.0
  for i = 1, #ranks do
    sum = sum + (ranks[i] > 0 and 1 / ranks[i] or 0)
  end
  return sum / #ranks
end)

-- Information, in nats -----------------------------------------------------------------------------------------

-- Sum of p * term, where a p of 0 adds 0 even if its term is infinite.
local function expected(p, term)
  local sum = 0.0
  for i = 1, #p do
    if p[i] ~= 0 then
      sum = sum + p[i] * term(i)
    end
  end
  return sum
end

define("entropy", "probs:a", function(probs)
  return expected(probs, function(i) return -log(probs[i]) end)
end)

local function divergence(p, q)
  return expected(p, function(i) return log(p[i] / q[i]) end)
end
define("kl_divergence", "p:a q:a", function(p, q)
  assert_paired("kl_divergence", p, q, 1)
  return divergence(p, q)
end)
define("js_divergence", "p:a q:a", function(p, q)
  assert_paired("js_divergence", p, q, 1)
  local middle = create(#p)
  for i = 1, #p do
    middle[i] = (p[i] + q[i]) / 2
  end
  return (divergence(p, middle) + divergence(q, middle)) / 2
end)
define("cross_entropy", "p:a q:a", function(p, q)
  assert_paired("cross_entropy", p, q, 1)
  return expected(p, function(i) return -log(q[i]) end)
end)

-- Series -------------------------------------------------------------------------------------------------------

define("moving_average", "data:a window:u", function(data, window)
  if window < 1 then
    refuse("moving_average", "window", "at least 1", window)
  end
  local result, sum = {}, 0.0
  for i = 1, #data do
    sum = sum + data[i] - (i > window and data[i - window] or 0)
    if i >= window then
      result[i - window + 1] = sum / window
    end
  end
  return shared.as_array(result)
end)

define("ewma", "data:a alpha:p", function(data, alpha)
  local result = create(#data)
  result[1] = data[1] + 0.0
  for i = 2, #data do
    result[i] = alpha * data[i] + (1 - alpha) * result[i - 1]
  end
  return result
end)

define("autocorrelation", "data:a lag:u", function(data, lag)
  local center, above, below = mean(data), 0.0, 0.0
  for i = 1, #data do
    below = below + (data[i] - center) ^ 2
    if i > lag then
      above = above + (data[i] - center) * (data[i - lag] - center)
    end
  end
  return above / below
end)
