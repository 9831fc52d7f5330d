---@meta
-- Types of alc.* for editors (lua-language-server). Written by tests/docs/lua_stub.py from the signatures of the Python
-- package alc: do not edit.

---@class alc
---@field env alc.Env
alc = {}

---The arguments of the session.
---@type table<string, any>
ctx = {}

---@class alc.Env
---@field [string] string?
local env = {}
---@param name string
---@param default? any
---@return any
function env:get(name, default) end
---Several variables at once. The first missing variable is an error.
---@param names string[]
---@return table<string, string>
function env:use(names) end

---Of functions that ask by themselves, which alc.parallel runs side by side.
---@class alc.ChainOptions
---@field chain? true
---@field on_error? "fail"|"abort"|"skip"

---@class alc.Budget
---@field llm_calls? integer
---@field elapsed_ms? integer
---@field tokens? integer

---@class alc.CacheOptions
---@field system? string
---@field max_tokens? integer
---@field grounded? boolean
---@field underspecified? boolean
---@field schema? table<string, any>
---@field label? string
---@field [string] string|number|boolean # an option of the host: temperature, model, …
---@field cache_key? any
---@field cache_skip? boolean

---@class alc.ChiSquaredTest
---@field chi2_stat number
---@field df integer
---@field p_value number

---@class alc.Entry
---@field strategy string
---@field ok boolean
---@field result? any
---@field error? string

---@class alc.Histogram
---@field counts integer[]
---@field edges number[]

---@class alc.Interval
---@field lower number
---@field upper number
---@field center number

---@class alc.KolmogorovSmirnovTest
---@field d_stat number
---@field p_value number

---@class alc.MannWhitneyTest
---@field u_stat number
---@field z_score number
---@field p_value number

---@class alc.Options
---@field system? string
---@field max_tokens? integer
---@field grounded? boolean
---@field underspecified? boolean
---@field schema? table<string, any>
---@field label? string
---@field [string] string|number|boolean # an option of the host: temperature, model, …

---@class alc.ParallelOptions
---@field system? string
---@field max_tokens? integer
---@field grounded? boolean
---@field underspecified? boolean
---@field schema? table<string, any>
---@field label? string
---@field [string] string|number|boolean # an option of the host: temperature, model, …
---@field post_fn? function

---@class alc.Query
---@field system? string
---@field max_tokens? integer
---@field grounded? boolean
---@field underspecified? boolean
---@field schema? table<string, any>
---@field label? string
---@field [string] string|number|boolean # an option of the host: temperature, model, …
---@field prompt string|number

---@class alc.Vote
---@field winner string|nil
---@field count integer
---@field total integer

---@class alc.WelchTest
---@field t_stat number
---@field df number
---@field p_value number

---False when a limit of ctx.budget is used up.
---@return boolean
function alc.budget_check() end

---What ctx.budget still allows, each only where it is limited; nil without a budget.
---@return alc.Budget|nil
function alc.budget_remaining() end

---alc.llm that asks the same query once: prompt and all options are the key, or `cache_key`; `cache_skip` asks in any case. 256 answers, the oldest leaves first.
---@param prompt string|number
---@param options? alc.CacheOptions
---@return string
function alc.cache(prompt, options) end

function alc.cache_clear() end

---`{entries, hits, misses, max_entries}`.
---@return table<string, integer>
function alc.cache_info() end

---The result of one package, of any language, run in an engine of its own. Raises Error where it fails.
---@param name string
---@param ctx? table<string, any>
---@return any
function alc.call(name, ctx) end

---Pieces of `size` lines or characters; each begins with the last `overlap` of the one before.
---@param text string
---@param options? { mode?: "lines"|"chars", size?: integer, overlap?: integer }
---@return string[]
function alc.chunk(text, options) end

---Runs a package on the cases of a scenario: `{cases: [{input, expected}], graders: ["exact_match"]}`, or the name of one. Returns the report. A grader that is a function has to be in a scenario in Lua.
---@param scenario table<string, any>|string
---@param strategy string
---@param options? { strategy_opts?: table<string, any>, auto_card?: boolean, card_pkg?: string }
---@return any
function alc.eval(scenario, strategy, options) end

---The items for which `fn(item, i)` is true.
---@param items any[]
---@param fn function
---@return any[]
function alc.filter(items, fn) end

---8 hexadecimal digits (DJB2) that ignore case and blanks.
---@param text any
---@return string
function alc.fingerprint(text) end

---The template with printf's conversions filled: rounds for %d, writes NaN and Inf, and <nil> for a nil in %s.
---@param template any
---@param ... any
---@return string
function alc.fmt(template, ...) end

---Runs packages by name in parallel, each with a copy of `ctx`; results stand in the order of the names.
---@param strategies string[]
---@param ctx table<string, any>
---@param options? { on_error?: "skip"|"fail"|"abort" }
---@return alc.Entry[]
function alc.fork(strategies, ctx, options) end

---alc.llm with the option `grounded`: the answer shall rest on facts that were looked up.
---@param claim string|number
---@param options? alc.Options
---@return string
function alc.ground(claim, options) end

---JSON read strictly.
---@param text any
---@return any
function alc.json_decode(text) end

---JSON with sorted keys.
---@param value any
---@return string
function alc.json_encode(value) end

---The JSON in an answer: all of it, the last fenced block, or the last object (else array) in the prose.
---@param text any
---@return any
function alc.json_extract(text) end

---Asks the host's model. Raises Refused where the host refuses, BudgetExceeded where ctx.budget is used up.
---@param prompt string|number
---@param options? alc.Options
---@return string
function alc.llm(prompt, options) end

---Asks several at once, in one pause. Answers stand in the order of the items; a refused one raises at any use, except alc.refused.
---@param items alc.Query[]
---@return any[]
function alc.llm_batch(items) end

---The answer read as JSON, or nil; if it cannot be read, or does not fit `schema`, it is asked for once more.
---@param prompt string|number
---@param options? alc.Options
---@return any
---@return string answer
---@return string? mismatch
function alc.llm_json(prompt, options) end

---alc.llm that logs a warning and returns the default instead of raising.
---@param prompt string|number
---@param options? alc.Options
---@param default? any
---@return any
function alc.llm_safe(prompt, options, default) end

---A line in the log; `error`, `warn`, `info` or `debug`.
---@param level string
---@param message any
function alc.log(level, message) end

---alc.log of what alc.fmt writes.
---@param level string
---@param template any
---@param ... any
function alc.log_fmt(level, template, ...) end

---`fn(item, i)` of each item; `i` counts from 1.
---@param items any[]
---@param fn function
---@return any[]
function alc.map(items, fn) end

---The verdict of an answer: yes, approved, ok, pass, … or no, rejected, block, fail, …; nil in doubt.
---@param text string
---@return boolean|nil
function alc.match_bool(text) end

---The candidate that the answer marks, gives in a clause of its own or alone names; nil where several are left.
---@param text string
---@param candidates string[]
---@param options? { threshold?: number }
---@return string|nil
function alc.match_enum(text, candidates, options) end

---One pause for all items: `prompt_fn(item, i)` returns a prompt or an item of llm_batch.
---@param items any[]
---@param prompt_fn function
---@param options? alc.ParallelOptions
---@return any[]
---@overload fun(items: any[], fn: (fun(item: any, i: integer): any), options: alc.ChainOptions): any[]
---@overload fun(functions: (fun(): any)[], options?: alc.ChainOptions): any[]
function alc.parallel(items, prompt_fn, options) end

---The marked number in an answer, else the only one that is no list number, version, year or name.
---@param text any
---@param pattern? string
---@return number|nil
function alc.parse_number(text, pattern) end

---The marked score in an answer, its whole part from 1 to 10; the default where there is none.
---@param text any
---@param default? any
---@return any
function alc.parse_score(text, default) end

---Marks where a part of the run begins, for its transcript, its summary and its page: "draft", "check", ….
---@param name any
function alc.phase(name) end

---Runs packages (by name) or functions in turn on a copy of `ctx`; the last `result` is the `task` of the next.
---@param strategies (string|function)[]
---@param ctx table<string, any>
---@param options? { on_error?: "abort"|"skip"|"continue", on_stage?: function }
---@return table<string, any>
function alc.pipe(strategies, ctx, options) end

---Shows the host how far the strategy is; a `total` of 0 is unknown.
---@param step integer
---@param total integer
---@param message? any
function alc.progress(step, total, message) end

---`fn(so_far, item, i)` over all; without `init` from the first item on.
---@param items any[]
---@param fn function
---@param init? any
---@return any
function alc.reduce(items, fn, init) end

---The reason for which the host refused this item of alc.llm_batch; nil for an answer.
---@param answer any
---@return string|nil
function alc.refused(answer) end

---alc.llm with the option `underspecified`: ask the user if need be.
---@param prompt string|number
---@param options? alc.Options
---@return string
function alc.specify(prompt, options) end

---Unix seconds, with a resolution of 1 ms. Recorded.
---@return number
function alc.time() end

---A copy of `defaults` in which what `ctx` (or `ctx[prefix]`) says of the same keys stands instead.
---@param defaults any
---@param ctx? table<string, any>
---@param options? { prefix?: string }
---@return any
function alc.tuning(defaults, ctx, options) end

---The most frequent answer, as text without surrounding blanks; the first one of equals.
---@param answers any[]
---@return alc.Vote
function alc.vote(answers) end

---@class alc.state
alc.state = {}

---Removes the key. Returns whether there was a value.
---@param key string|number
---@return boolean
function alc.state.delete(key) end

---The stored value, or the default where nothing is stored.
---@param key string|number
---@param default? any
---@return any
function alc.state.get(key, default) end

---@param key string|number
---@return boolean
function alc.state.has(key) end

---Adds `delta` to the stored number, or to `default`. Returns the sum.
---@param key string|number
---@param delta? number
---@param default? number
---@return number
function alc.state.incr(key, delta, default) end

---The keys of the namespace, sorted.
---@return string[]
function alc.state.keys() end

---Stores the value. nil removes the key.
---@param key string|number
---@param value any
function alc.state.set(key, value) end

---Stores the value only where nothing is stored yet. Returns whether it did.
---@param key string|number
---@param value any
---@return boolean
function alc.state.set_nx(key, value) end

---Replaces the value by fn(value). Calls `fn` again where another session has changed the value meanwhile.
---@param key string|number
---@param fn function
---@param default? any
---@return any
function alc.state.update(key, fn, default) end

---@class alc.stats
alc.stats = {}

---What was recorded, or nil.
---@param key string|number
---@return any
function alc.stats.get(key) end

---The number of prompts that the session has asked so far, in all its streams.
---@return integer
function alc.stats.llm_calls() end

---Replaces the value of a key; nil removes the key. What is recorded does not change with the value later.
---@param key string|number
---@param value any
function alc.stats.record(key, value) end

---@class alc.card
alc.card = {}

---@param options? { pkg?: string }
---@return table<string, any>[]
function alc.card.alias_list(options) end

---A name for a card, which can be moved to another.
---@param alias string
---@param card_id string
---@param options? { pkg?: string, note?: string }
---@return table<string, any>
function alc.card.alias_set(alias, card_id, options) end

---Adds keys to a card. A key that is there already is an error.
---@param card_id string
---@param fields table<string, any>
---@return table<string, any>
function alc.card.append(card_id, fields) end

---Keeps a card, `{"pkg": {"name": …}, …}`, and returns its card_id and path.
---@param card table<string, any>
---@return table<string, any>
function alc.card.create(card) end

---The lines of the cards that `where` holds for.
---@param options? { pkg?: string, where?: table<string, any>, order_by?: any, limit?: integer, offset?: integer }
---@return table<string, any>[]
function alc.card.find(options) end

---The whole card, or nil.
---@param card_id string
---@return table<string, any>|nil
function alc.card.get(card_id) end

---The card of a name, or nil.
---@param alias string
---@return table<string, any>|nil
function alc.card.get_by_alias(alias) end

---Where a card came from ("up", the default), what came from it, or both; 10 generations unless `depth` says so.
---@param options { card_id: string, direction?: "up"|"down"|"both", depth?: integer, relation_filter?: any, include_stats?: boolean }
---@return table<string, any>|nil
function alc.card.lineage(options) end

---A line of each card, the newest first.
---@param options? { pkg?: string }
---@return table<string, any>[]
function alc.card.list(options) end

---@param card_id string
---@param options? { where?: table<string, any>, offset?: integer, limit?: integer }
---@return any[]
function alc.card.read_samples(card_id, options) end

---Writes the copies that one of ALC_CARD_SINKS lacks.
---@param options { sink: string, dry_run?: boolean }
---@return table<string, any>
function alc.card.sink_backfill(options) end

---Keeps what belongs to single cases, once per card. Returns path and count.
---@param card_id string
---@param samples any[]
---@return table<string, any>
function alc.card.write_samples(card_id, samples) end

---@class alc.math
alc.math = {}

---With itself, `lag` later.
---@param data number[]
---@param lag integer
---@return number
function alc.math.autocorrelation(data, lag) end

---Beta function.
---@param a number
---@param b number
---@return number
function alc.math.beta(a, b) end

---Beta distribution function.
---@param x number
---@param alpha number
---@param beta number
---@return number
function alc.math.beta_cdf(x, alpha, beta) end

---Mean of a beta distribution.
---@param alpha number
---@param beta number
---@return number
function alc.math.beta_mean(alpha, beta) end

---Inverse of beta_cdf, for alpha and beta up to 1e10.
---@param p number
---@param alpha number
---@param beta number
---@return number
function alc.math.beta_ppf(p, alpha, beta) end

---@param rng integer[]
---@param alpha number
---@param beta number
---@return number
function alc.math.beta_sample(rng, alpha, beta) end

---Variance of a beta distribution.
---@param alpha number
---@param beta number
---@return number
function alc.math.beta_variance(alpha, beta) end

---Successes in n trials.
---@param rng integer[]
---@param n integer
---@param p number
---@return integer
function alc.math.binomial_sample(rng, n, p) end

---The index, from 1, of the weight that was hit.
---@param rng integer[]
---@param weights number[]
---@return integer
function alc.math.categorical_sample(rng, weights) end

---Chi squared with df degrees of freedom.
---@param rng integer[]
---@param df number
---@return number
function alc.math.chi_squared_sample(rng, df) end

---Do counts fit (Pearson 1900).
---@param observed number[]
---@param expected number[]
---@return alc.ChiSquaredTest
function alc.math.chi_squared_test(observed, expected) end

---Pearson's; not a number where one does not vary.
---@param xs number[]
---@param ys number[]
---@return number
function alc.math.correlation(xs, ys) end

---Divided by n - 1.
---@param xs number[]
---@param ys number[]
---@return number
function alc.math.covariance(xs, ys) end

---In nats.
---@param p number[]
---@param q number[]
---@return number
function alc.math.cross_entropy(p, q) end

---Derivative of lgamma.
---@param x number
---@return number
function alc.math.digamma(x) end

---Shares that sum to 1.
---@param rng integer[]
---@param alphas number[]
---@return number[]
function alc.math.dirichlet_sample(rng, alphas) end

---In nats.
---@param probs number[]
---@return number
function alc.math.entropy(probs) end

---Error function.
---@param x number
---@return number
function alc.math.erf(x) end

---1 - erf(x), exact where that is tiny.
---@param x number
---@return number
function alc.math.erfc(x) end

---Exponentially weighted.
---@param data number[]
---@param alpha number
---@return number[]
function alc.math.ewma(data, alpha) end

---An exponential distribution with rate lambda.
---@param rng integer[]
---@param lambda number
---@return number
function alc.math.exp_sample(rng, lambda) end

---Inverse of logit.
---@param x number
---@return number
function alc.math.expit(x) end

---Up to 170.
---@param n integer
---@return number
function alc.math.factorial(n) end

---Gamma distribution function.
---@param x number
---@param shape number
---@param scale number
---@return number
function alc.math.gamma_cdf(x, shape, scale) end

---@param rng integer[]
---@param shape number
---@param scale number
---@return number
function alc.math.gamma_sample(rng, shape, scale) end

---Bins of equal width. Each contains its lower edge, the last bin both edges.
---@param data number[]
---@param bins integer
---@return alc.Histogram
function alc.math.histogram(data, bins) end

---Between the quartiles.
---@param data number[]
---@return number
function alc.math.iqr(data) end

---Of Jensen and Shannon.
---@param p number[]
---@param q number[]
---@return number
function alc.math.js_divergence(p, q) end

---tau-b
---@param xs number[]
---@param ys number[]
---@return number
function alc.math.kendall_tau(xs, ys) end

---Of Kullback and Leibler.
---@param p number[]
---@param q number[]
---@return number
function alc.math.kl_divergence(p, q) end

---Do two distributions differ; p with Stephens' correction (1970) for small samples.
---@param xs number[]
---@param ys number[]
---@return alc.KolmogorovSmirnovTest
function alc.math.ks_test(xs, ys) end

---Logarithm of the gamma function.
---@param x number
---@return number
function alc.math.lgamma(x) end

---Logarithm of the beta function.
---@param a number
---@param b number
---@return number
function alc.math.ln_beta(a, b) end

---@param n integer
---@return number
function alc.math.ln_factorial(n) end

---Logarithms on a scale from 0, the smallest, to 100, the largest; all 0 where they are equal.
---@param data number[]
---@return number[]
function alc.math.log_normalize(data) end

---ln(p / (1 - p))
---@param p number
---@return number
function alc.math.logit(p) end

---e to the power of a normal one.
---@param rng integer[]
---@param mu number
---@param sigma number
---@return number
function alc.math.lognormal_sample(rng, mu, sigma) end

---Logarithm of the sum of exponentials.
---@param values number[]
---@return number
function alc.math.logsumexp(values) end

---Does one sample lie above the other: U of the first, by the normal approximation with ties (1947).
---@param xs number[]
---@param ys number[]
---@param options? { continuity_correction?: boolean }
---@return alc.MannWhitneyTest
function alc.math.mann_whitney_u(xs, ys, options) end

---The arithmetic mean.
---@param data number[]
---@return number
function alc.math.mean(data) end

---The middle.
---@param data number[]
---@return number
function alc.math.median(data) end

---As many fewer as the window is longer than 1.
---@param data number[]
---@param window integer
---@return number[]
function alc.math.moving_average(data, window) end

---Mean of 1/rank; a rank of 0 is "not found".
---@param ranks number[]
---@return number
function alc.math.mrr(ranks) end

---Gain of the first k, discounted by log2(place + 1), over the best order's (Järvelin and Kekäläinen 2002).
---@param relevance number[]
---@param k integer
---@return number
function alc.math.ndcg(relevance, k) end

---Normal distribution function.
---@param x number
---@param mu number
---@param sigma number
---@return number
function alc.math.normal_cdf(x, mu, sigma) end

---Inverse of normal_cdf.
---@param p number
---@param mu number
---@param sigma number
---@return number
function alc.math.normal_inverse_cdf(p, mu, sigma) end

---Inverse of normal_cdf for mean 0 and deviation 1.
---@param p number
---@return number
function alc.math.normal_ppf(p) end

---@param rng integer[]
---@param mean number
---@param stddev number
---@return number
function alc.math.normal_sample(rng, mean, stddev) end

---p from 0 to 100, linear between neighbours.
---@param data number[]
---@param p number
---@return number
function alc.math.percentile(data, p) end

---All orders of 1 to n, for n up to 10.
---@param n integer
---@return integer[][]
function alc.math.permutations(n) end

---At most k events.
---@param k number
---@param lambda number
---@return number
function alc.math.poisson_cdf(k, lambda) end

---A Poisson distribution. Draws the time of the m-th event, then goes on with the rest (Ahrens and Dieter 1974).
---@param rng integer[]
---@param lambda number
---@return integer
function alc.math.poisson_sample(rng, lambda) end

---From 1, ties share their average.
---@param data number[]
---@return number[]
function alc.math.rank(data) end

---The share of the beta integral up to x.
---@param x number
---@param a number
---@param b number
---@return number
function alc.math.regularized_incomplete_beta(x, a, b) end

---The share of the gamma integral up to x.
---@param a number
---@param x number
---@return number
function alc.math.regularized_incomplete_gamma(a, x) end

---A generator. Mixes the seed: generators of neighbouring seeds begin far apart. Without a seed, the session's own numbers give one.
---@param seed? number
---@return integer[]
function alc.math.rng_create(seed) end

---From 0 up to, and without, 1.
---@param rng integer[]
---@return number
function alc.math.rng_float(rng) end

---Both ends included.
---@param rng integer[]
---@param min integer
---@param max integer
---@return integer
function alc.math.rng_int(rng, min, max) end

---n elements, at most 1,000,000.
---@param rng integer[]
---@param tbl any[]
---@param n integer
---@return any[]
function alc.math.sample_with_replacement(rng, tbl, n) end

---In place (Fisher and Yates).
---@param rng integer[]
---@param tbl any
---@return any
function alc.math.shuffle(rng, tbl) end

---Shares that sum to 1.
---@param data number[]
---@return number[]
function alc.math.softmax(data) end

---Correlation of ranks.
---@param xs number[]
---@param ys number[]
---@return number
function alc.math.spearman_correlation(xs, ys) end

---Root of the variance.
---@param data number[]
---@return number
function alc.math.stddev(data) end

---Student's t with df degrees of freedom.
---@param rng integer[]
---@param df number
---@return number
function alc.math.student_t_sample(rng, df) end

---From low up to, and without, high.
---@param rng integer[]
---@param low number
---@param high number
---@return number
function alc.math.uniform_sample(rng, low, high) end

---Divided by n - 1.
---@param data number[]
---@return number
function alc.math.variance(data) end

---Do two means differ (Welch 1947).
---@param xs number[]
---@param ys number[]
---@return alc.WelchTest
function alc.math.welch_t_test(xs, ys) end

---Interval of a share (Wilson 1927); `confidence` is 0.95.
---@param successes number
---@param total number
---@param confidence? number
---@return alc.Interval
function alc.math.wilson_ci(successes, total, confidence) end
