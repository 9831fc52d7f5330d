-- alc.math, part 5: tests of hypotheses (two-sided), and permutations.

local shared = ...
local define, refuse = shared.define, shared.refuse_number
local abs, exp, sqrt = math.abs, math.exp, math.sqrt
local create, move, type = table.create, table.move, type
local erfc = shared.alc.math.erfc

define("welch_t_test", "xs:a ys:a", function(xs, ys) -- Welch 1947
  if #xs < 2 or #ys < 2 then
    refuse("welch_t_test", "the length of each sample", "at least 2", #xs < #ys and #xs or #ys)
  end
  local a, b = shared.variance(xs) / #xs, shared.variance(ys) / #ys
  local t = (shared.mean(xs) - shared.mean(ys)) / sqrt(a + b)
  local df = (a + b) ^ 2 / (a * a / (#xs - 1) + b * b / (#ys - 1))
  if a + b == 0 then -- no variance: equal, or different for certain
    local is_equal = t ~= t
    return { t_stat = is_equal and 0.0 or t, df = #xs + #ys - 2.0, p_value = is_equal and 1.0 or 0.0 }
  end
  return { t_stat = t, df = df, p_value = shared.incomplete_beta(df / (df + t * t), df / 2, 0.5) }
end)

-- U of the first sample, by the normal approximation with ties (Mann and Whitney 1947).
define("mann_whitney_u", "xs:a ys:a options:any", function(xs, ys, options)
  local n, m = #xs, #ys
  local both = move(ys, 1, m, n + 1, move(xs, 1, n, 1, create(n + m)))
  local ranks, ties = shared.rank(both)
  local u = -n * (n + 1) / 2
  for i = 1, n do
    u = u + ranks[i]
  end
  local total = n + m
  local spread = sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
  local distance = u - n * m / 2
  local is_corrected = not (type(options) == "table" and options.continuity_correction == false)
  if is_corrected and distance ~= 0 then
    distance = distance - (distance > 0 and 0.5 or -0.5)
  end
  local z = spread > 0 and distance / spread or 0.0
  return { u_stat = u, z_score = z, p_value = erfc(abs(z) / sqrt(2)) }
end)

define("chi_squared_test", "observed:a expected:a", function(observed, expected) -- Pearson 1900, goodness of fit
  if #observed ~= #expected then
    refuse("chi_squared_test", "the second array", "as long as the first, " .. #observed .. ",", #expected)
  end
  local sum = 0.0
  for i = 1, #observed do
    if not (expected[i] > 0) then
      refuse("chi_squared_test", "expected[" .. i .. "]", "a number above 0", expected[i])
    end
    sum = sum + (observed[i] - expected[i]) ^ 2 / expected[i]
  end
  local df, p = #observed - 1, 1.0
  if df > 0 then
    local _
    _, p = shared.incomplete_gamma(df / 2, sum / 2)
  end
  return { chi2_stat = sum, df = df, p_value = p }
end)

-- Kolmogorov's distribution: the first form converges for large lambda, the second form for small lambda.
local function kolmogorov(lambda)
  local sum = 0.0
  if lambda < 1.18 then
    local y = exp(-math.pi ^ 2 / (8 * lambda * lambda))
    return 1 - sqrt(2 * math.pi) / lambda * (y + y ^ 9 + y ^ 25 + y ^ 49)
  end
  for k = 1, 20 do
    sum = sum + (k % 2 == 1 and 2 or -2) * exp(-2 * k * k * lambda * lambda)
  end
  return sum
end

local function has_nan(data)
  for i = 1, #data do
    if data[i] ~= data[i] then
      return true
    end
  end
  return false
end

-- Two samples; p by Kolmogorov's distribution with Stephens' correction (1970) for small samples.
define("ks_test", "xs:a ys:a", function(xs, ys)
  if has_nan(xs) or has_nan(ys) then -- it has no place in an order
    return { d_stat = 0 / 0, p_value = 0 / 0 }
  end
  local a, b, i, j, most = shared.sorted(xs), shared.sorted(ys), 1, 1, 0.0
  while i <= #a and j <= #b do
    local x, y = a[i], b[j]
    while i <= #a and x <= y and a[i] == x do
      i = i + 1
    end
    while j <= #b and y <= x and b[j] == y do
      j = j + 1
    end
    local distance = abs((i - 1) / #a - (j - 1) / #b)
    most = distance > most and distance or most
  end
  local root = sqrt(#a * #b / (#a + #b))
  local p = most > 0 and kolmogorov((root + 0.12 + 0.11 / root) * most) or 1.0
  return { d_stat = most, p_value = p < 0 and 0.0 or p > 1 and 1.0 or p }
end)

local MAX_PERMUTED <const> = 10 -- 3.6 million arrays, as many as fit into memory

-- All orders of 1 to n, in lexicographic order.
define("permutations", "n:u", function(n)
  if n > MAX_PERMUTED then
    refuse("permutations", "n", "at most " .. MAX_PERMUTED, n)
  end
  local current, result = {}, {}
  for i = 1, n do
    current[i] = i
  end
  while true do
    result[#result + 1] = move(current, 1, n, 1, create(n))
    local pivot = n - 1
    while pivot > 0 and current[pivot] > current[pivot + 1] do
      pivot = pivot - 1
    end
    if pivot < 1 then
      return result
    end
    local next_larger = n
    while current[next_larger] < current[pivot] do
      next_larger = next_larger - 1
    end
    current[pivot], current[next_larger] = current[next_larger], current[pivot]
    local low, high = pivot + 1, n
    while low < high do
      current[low], current[high] = current[high], current[low]
      low, high = low + 1, high - 1
    end
  end
end)
