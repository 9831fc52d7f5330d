"""The ctx of each package, as Lua because a few packages take functions: a common part, and extra fields by package."""

COMMON = """
  task = "Should a small team rewrite its billing service in another language this year?",
  text = ("A team owns a billing service. It is old. It works. Nobody likes to change it.\\n"):rep(12),
  question = "Should we rewrite?", idea = "Rewrite billing", code = "def f(x): return x",
  sources = { "A report says rewrites take twice as long.", "A survey says tests help." },
  options = { "yes", "no", "later" },
"""

_CANDIDATES = 'candidates = { "rewrite it", "keep it", "replace it", "split it", "wrap it", "freeze it" },'
_STEPS = 'steps = { "The service is old.", "Old services are costly.", "So it should be replaced." },'
_PHASES = """phases = {
  { name = "plan", prompt = "Plan: {task}", system = "You plan.", gate = "Is the plan complete?" },
  { name = "do", prompt = "Do: {task}", system = "You do.", gate = "Is it done?" } },"""
_PERSONAS = 'personas = { "You are careful.", "You are bold.", "You count costs." },'
_SIMULATION = """params = { rate = 0.5 }, extract = { "hits" }, runs = 20,
  sim_fn = function(params, seed)
    local rng, hits = alc.math.rng_create(seed), 0
    for _ = 1, 100 do hits = hits + (alc.math.rng_float(rng) < params.rate and 1 or 0) end
    return { hits = hits }
  end,"""
_WEIGHTED = """agents = { "You are careful.", "You are bold.", "You count costs." },
  calibration = { q_hat = 0.6, tau = 0.4, alpha = 0.05, n = 100, weights = { 1 / 3, 1 / 3, 1 / 3 } },"""
_BY_LENGTH = "function(text) return #text % 10 / 10 end"

EXTRA = {
    "anti_cascade": _STEPS,
    "boids_abm": "runs = 3, steps = 15, n_boids = 20,",
    "card_analysis": """card = { pkg = { name = "cot" }, scenario = { name = "s" } },
      samples = { { case = "a", passed = false, score = 0, response = "x" }, { case = "b", passed = true, score = 1 } },
    """,
    "conformal_vote": _WEIGHTED + " auto_card = true,",
    "dci": "auto_card = true,",
    "dissent": 'consensus = "Everybody agrees that a rewrite is needed.",',
    "epidemic_abm": "runs = 5,",
    "evogame_abm": "runs = 3,",
    "hybrid_abm": _SIMULATION,
    "isp_aggregate": 'method = "meta_prompt_sp", agents = { "You are careful.", "You are bold." },',
    "lineage": _STEPS,
    "listwise_rank": _CANDIDATES,
    "maieutic": 'proposition = "Rewrites fail more often than they succeed.",',
    "moa": _PERSONAS,
    "optimize": """target = "cot", rounds = 3, auto_card = true, space = { depth = { type = "int", min = 1, max = 3 } },
      scenario = { require("evalframe").bind({ require("evalframe").graders.contains }),
        cases = { { input = "2+2", expected = "4" }, { input = "3+3", expected = "6" } } },""",
    "orch_adaptive": _PHASES,
    "orch_fixpipe": _PHASES,
    "orch_gatephase": _PHASES,
    "orch_nver": _PHASES,
    "pairwise_rank": _CANDIDATES,
    "particle_infer": f"prm_fn = {_BY_LENGTH}, auto_card = true,",
    "pre_mortem": 'proposals = { "Rewrite it in spring.", "Buy a product." },',
    "prompt_breed": 'evaluator = "clarity and truth", generations = 3,',
    "propose_verify": "score_threshold = 0.5,",
    "qdaif": """features = { { name = "style", bins = { "formal", "casual" } }, { name = "length", bins = { "short",
      "long" } } }, iterations = 6,""",
    "recipe_deep_panel": 'task_id = "t-1", p_estimate = 0.7,',
    "recipe_ranking_funnel": _CANDIDATES,
    "recipe_safe_panel": "p_estimate = 0.7,",
    "recipe_swarm_gate": 'task_id = "t-1",',
    "recipe_trace": 'recipe = require("recipe_quick_vote"),',
    "reconcile": _PERSONAS,
    "schelling_abm": "runs = 5,",
    "setwise_rank": _CANDIDATES,
    "smc_sample": f"reward_fn = {_BY_LENGTH}, auto_card = true,",
    "sugarscape_abm": "runs = 3,",
    "think_prm": """problem = "2 + 2 * 3", solution_steps = { "2 * 3 = 6", "2 + 6 = 8" }, chain = "Step 1: correct",
    """,
}

# Packages whose `run` takes other arguments than one ctx.
_PROFILE = '{ samples = { { "a", "a", "b" }, { "b", "b", "b" } }, correct = { "a", "b" } }'
ARGUMENTS = {"slm_mux": f"{{ {_PROFILE}, {_PROFILE}, {_PROFILE} }}, 2"}


def arguments_of(name: str) -> str:
    return ARGUMENTS.get(name) or "{" + COMMON + EXTRA.get(name, "") + "}"
