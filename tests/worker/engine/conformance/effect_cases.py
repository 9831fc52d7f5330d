"""Conformance of what reads or changes the world: state, stats, cards, variables, clock, log, budget."""

# ruff: noqa: E501  one row, one line

from tests.worker.engine.conformance.case import Case, call

LONG = ("('x'):rep(1025)", "'x' * 1025")
KEY = "a key of 1025 bytes as JSON, at most 1024: use a shorter one"
ARGUMENT = "an argument of 1025 bytes, at most 1024: use a shorter one"
OK = [{"result": {"card_id": "c"}}]
CHANGED = {"state.swap": [{"result": False}] * 100}
BUDGET = {"budget": [{"result": {"llm_calls": 3, "elapsed_ms": None, "tokens": 0}}] * 2}

CASES = [
    # ── state ─────────────────────────────────────────────────────────────────────────────────────────────
    Case("alc.state.get('k')", "alc.state.get('k')", None, messages=[call("state.get", "k")]),
    Case("alc.state.get('k', 7)", "alc.state.get('k', 7)", 7),
    Case("alc.state.set('k', {a = {1}}) return alc.state.get('k')", "alc.state.set('k', {'a': [1]})\nreturn alc.state.get('k')", {"a": [1]}, messages=[call("state.set", "k", {"a": [1]}), call("state.get", "k")]),
    Case("alc.state.set('k', nil) return 1", "alc.state.set('k', None)\nreturn 1", 1, messages=[call("state.delete", "k")]),
    Case("alc.state.set(1, 2) return alc.state.keys()", "alc.state.set(1, 2)\nreturn alc.state.keys()", ["1"]),
    Case("alc.state.has('k')", "alc.state.has('k')", False, messages=[call("state.has", "k")]),
    Case("alc.state.delete('k')", "alc.state.delete('k')", False, messages=[call("state.delete", "k")]),
    Case("return {alc.state.set_nx('k', 1), alc.state.set_nx('k', 2)}", "return [alc.state.set_nx('k', 1), alc.state.set_nx('k', 2)]", [True, False]),
    Case("alc.state.set_nx('k')", "alc.state.set_nx('k', None)", error="alc.state.set_nx: the value is missing"),
    Case("alc.state.incr('k')", "alc.state.incr('k')", 1.0, messages=[call("state.incr", "k", 1, 0)]),
    Case("alc.state.incr('k', 2.5, 10)", "alc.state.incr('k', 2.5, 10)", 12.5, messages=[call("state.incr", "k", 2.5, 10)]),
    Case("alc.state.incr('k', 'x')", "alc.state.incr('k', 'x')", error="alc.state.incr: delta must be a number and not x"),
    Case("alc.state.incr('k', 1, true)", "alc.state.incr('k', 1, True)", error="alc.state.incr: default must be a number and not "),
    Case("alc.state.incr('k')", "alc.state.incr('k')", error="incr: value at 'k' is not a number", replies={"state.incr": [{"error": "incr: value at 'k' is not a number"}]}),
    Case(
        "alc.state.update('k', function(v) return v + 1 end, 4)",
        "alc.state.update('k', lambda v: v + 1, 4)",
        5,
        messages=[call("state.get", "k"), call("state.swap", "k", [], [5])],
    ),
    Case(
        "alc.state.set('k', {1}) return alc.state.update('k', function(v) v[2] = 2 return v end)",
        "alc.state.set('k', [1])\nreturn alc.state.update('k', lambda v: v.append(2) or v)",
        [1, 2],
        messages=[call("state.set", "k", [1]), call("state.get", "k"), call("state.swap", "k", [[1]], [[1, 2]])],
    ),
    Case("alc.state.update('k', function() end)", "alc.state.update('k', lambda v: None)", None, messages=[call("state.get", "k"), call("state.swap", "k", [], [])]),
    Case("alc.state.update('k', 5)", "alc.state.update('k', 5)", error="alc.state.update: a function was expected and not a {int}"),
    Case("alc.state.update('k', tostring, 1)", "alc.state.update('k', str, 1)", error='alc.state.update: others changed "k" 100 times meanwhile: try again', replies=CHANGED),
    Case("alc.state.get({})", "alc.state.get({})", error="alc.state.get: a key is a string and not a {dict}"),
    Case("alc.state.get()", "alc.state.get(None)", error="alc.state.get: a key is a string and not a {nil}"),
    Case(f"alc.state.get({LONG[0]})", f"alc.state.get({LONG[1]})", error=f"alc.state.get: {KEY}", messages=[]),
    Case(f"alc.state.set({LONG[0]}, 1)", f"alc.state.set({LONG[1]}, 1)", error=f"alc.state.set: {KEY}", messages=[]),
    Case("alc.state.set('k', print)", "alc.state.set('k', print)", error="alc.state.set: the value", messages=[]),
    # ── stats ─────────────────────────────────────────────────────────────────────────────────────────────
    Case("alc.stats.record('k', {1}) return alc.stats.get('k')", "alc.stats.record('k', [1])\nreturn alc.stats.get('k')", [1], messages=[]),
    Case("local t = {1} alc.stats.record('k', t) t[1] = 2 return alc.stats.get('k')", "t = [1]\nalc.stats.record('k', t)\nt[0] = 2\nreturn alc.stats.get('k')", [1]),
    Case("alc.stats.record(1, 5) alc.stats.record(1, nil) return alc.stats.get(1)", "alc.stats.record(1, 5)\nalc.stats.record(1, None)\nreturn alc.stats.get(1)", None),
    Case("alc.stats.record({}, 1)", "alc.stats.record({}, 1)", error="alc.stats.record: a key is a string and not a {dict}"),
    Case("alc.stats.get()", "alc.stats.get(None)", error="alc.stats.get: a key is a string and not a {nil}"),
    Case("alc.stats.record('k', ('x'):rep(70000))", "alc.stats.record('k', 'x' * 70000)", error="alc.stats.record: 70003 bytes in all: at most 65536, record less"),
    Case("alc.llm('p') return alc.stats.llm_calls()", "alc.llm('p')\nreturn alc.stats.llm_calls()", 1),
    # ── cards ─────────────────────────────────────────────────────────────────────────────────────────────
    Case("alc.card.create{pkg = {name = 'p'}, n = 1}", "alc.card.create({'pkg': {'name': 'p'}, 'n': 1})", {"card_id": "c"}, replies={"card.create": OK}, messages=[call("card.create", {"pkg": {"name": "p"}, "n": 1})]),
    Case("alc.card.create('x')", "alc.card.create('x')", error="alc.card.create: the card must be {a table} and not {str}", messages=[]),
    Case("alc.card.get('c')", "alc.card.get('c')", None, replies={"card.get": [{"result": None}]}, messages=[call("card.get", "c")]),
    Case("alc.card.get(5)", "alc.card.get(5)", error="alc.card.get: the card_id must be a string and not {int}", messages=[]),
    Case(f"alc.card.get({LONG[0]})", f"alc.card.get({LONG[1]})", error=f"alc.card.get: {ARGUMENT}", messages=[]),
    Case("alc.card.list()", "alc.card.list()", [], replies={"card.list": [{"result": []}]}, messages=[call("card.list", None)]),
    Case("alc.card.list{pkg = 'p'}", "alc.card.list(pkg='p')", [], replies={"card.list": [{"result": []}]}, messages=[call("card.list", {"pkg": "p"})]),
    Case(
        "alc.card.find{pkg = 'p', where = {n = 1}, order_by = 'n', limit = 2, offset = 1}",
        "alc.card.find(pkg='p', where={'n': 1}, order_by='n', limit=2, offset=1)",
        [],
        replies={"card.find": [{"result": []}]},
        messages=[call("card.find", {"pkg": "p", "where": {"n": 1}, "order_by": "n", "limit": 2, "offset": 1})],
    ),
    Case("alc.card.append('c', {n = 2})", "alc.card.append('c', {'n': 2})", {"card_id": "c"}, replies={"card.append": OK}, messages=[call("card.append", "c", {"n": 2})]),
    Case("alc.card.append('c')", "alc.card.append('c', None)", error="alc.card.append: the fields must be {a table} and not {nil}"),
    Case("alc.card.write_samples('c', {{x = 1}})", "alc.card.write_samples('c', [{'x': 1}])", {"count": 1}, replies={"card.write_samples": [{"result": {"count": 1}}]}, messages=[call("card.write_samples", "c", [{"x": 1}])]),
    Case("alc.card.read_samples('c', {limit = 1})", "alc.card.read_samples('c', limit=1)", [], replies={"card.read_samples": [{"result": []}]}, messages=[call("card.read_samples", "c", {"limit": 1})]),
    Case("alc.card.read_samples('c')", "alc.card.read_samples('c')", [], replies={"card.read_samples": [{"result": []}]}, messages=[call("card.read_samples", "c", None)]),
    Case("alc.card.alias_set('best', 'c', {note = 'n'})", "alc.card.alias_set('best', 'c', note='n')", {"card_id": "c"}, replies={"card.alias_set": OK}, messages=[call("card.alias_set", "best", "c", {"note": "n"})]),
    Case("alc.card.alias_list()", "alc.card.alias_list()", [], replies={"card.alias_list": [{"result": []}]}, messages=[call("card.alias_list", None)]),
    Case("alc.card.get_by_alias('best')", "alc.card.get_by_alias('best')", None, replies={"card.get_by_alias": [{"result": None}]}, messages=[call("card.get_by_alias", "best")]),
    Case("alc.card.lineage{card_id = 'c', direction = 'both', depth = 2}", "alc.card.lineage('c', direction='both', depth=2)", None, replies={"card.lineage": [{"result": None}]}, messages=[call("card.lineage", {"card_id": "c", "direction": "both", "depth": 2})]),
    Case("alc.card.sink_backfill{sink = '/s', dry_run = true}", "alc.card.sink_backfill('/s', dry_run=True)", {"card_id": "c"}, replies={"card.sink_backfill": OK}, messages=[call("card.sink_backfill", {"sink": "/s", "dry_run": True})]),
    # ── env ───────────────────────────────────────────────────────────────────────────────────────────────
    Case("return {alc.env.CITY, alc.env.ABSENT == nil}", "return [alc.env.CITY, alc.env.ABSENT is None]", ["Kyoto", True], messages=[call("env", "CITY"), call("env", "ABSENT")]),
    Case("alc.env['CITY']", "alc.env['CITY']", "Kyoto", messages=[call("env", "CITY")]),
    Case("alc.env:get('ABSENT', 'x')", "alc.env.get('ABSENT', 'x')", "x"),
    Case("alc.env:use{'CITY'}", "alc.env.use(['CITY'])", {"CITY": "Kyoto"}),
    Case("alc.env:use{'CITY', 'ABSENT'}", "alc.env.use(['CITY', 'ABSENT'])", error="alc.env: ABSENT is not set, or its name is not in ALC_ENV_ALLOW"),
    Case("alc.env:use('CITY')", "alc.env.use('CITY')", error="alc.env:use: the names must be {an array} of strings and not {str}"),
    Case("alc.env:get(5)", "alc.env.get(5)", error="alc.env: a name must be a string and not {int}"),
    Case("local env = alc.env env.CITY = 'x' return 1", "alc.env.CITY = 'x'\nreturn 1", error="alc.env is readonly"),
    Case(f"alc.env[{LONG[0]}]", f"alc.env[{LONG[1]}]", error=f"alc.env: {ARGUMENT}", messages=[]),
    # ── clock, log, progress, budget ──────────────────────────────────────────────────────────────────────
    Case("alc.time()", "alc.time()", 1790000100.125, messages=[call("time")]),
    Case("alc.log('warn', 'w') return 1", "alc.log('warn', 'w')\nreturn 1", 1, logged=["warn: w"]),
    Case("alc.log('loud', 5) return 1", "alc.log('loud', 5)\nreturn 1", 1, logged=["info: 5"]),
    Case("alc.log_fmt('debug', '%d of %s', 1.0, 'x') return 1", "alc.log_fmt('debug', '%d of %s', 1.0, 'x')\nreturn 1", 1, logged=["debug: 1 of x"]),
    Case("alc.phase('two  words\\n') return 1", "alc.phase('two  words\\n')\nreturn 1", 1, logged=["info: phase: two words"]),
    Case("alc.phase(3) return 1", "alc.phase(3)\nreturn 1", 1, logged=["info: phase: 3"]),
    Case("alc.phase(('ü'):rep(90)) return 1", "alc.phase('ü' * 90)\nreturn 1", 1, logged=["info: phase: " + "ü" * 80]),
    Case("alc.phase(('x'):rep(80)) return 1", "alc.phase('x' * 80)\nreturn 1", 1, logged=["info: phase: " + "x" * 80]),
    Case("alc.phase(' ')", "alc.phase(' ')", error="alc.phase: the name of the phase is missing: give a short text"),
    Case("alc.phase()", "alc.phase(None)", error="alc.phase: the name of the phase is missing: give a short text"),
    Case("alc.progress(1, 3, 'now') return 1", "alc.progress(1, 3, 'now')\nreturn 1", 1, messages=[{"op": "progress", "step": 1, "total": 3, "message": "now"}]),
    Case("alc.progress(2.0, 0) return 1", "alc.progress(2.0, 0)\nreturn 1", 1, messages=[{"op": "progress", "step": 2, "total": 0, "message": None}]),
    Case("alc.progress(-1, 2)", "alc.progress(-1, 2)", error="alc.progress: step must be a whole number of at least 0 and not -1"),
    Case("alc.progress(1, 2.5)", "alc.progress(1, 2.5)", error="alc.progress: total must be a whole number of at least 0 and not 2.5"),
    Case("alc.progress('1', 2)", "alc.progress('1', 2)", error="alc.progress: step must be a whole number of at least 0 and not 1"),
    Case("alc.budget_remaining()", "alc.budget_remaining()", None, messages=[call("budget")]),
    Case("alc.budget_remaining()", "alc.budget_remaining()", {"llm_calls": 3, "tokens": 0}, replies=BUDGET),
    Case("alc.budget_check()", "alc.budget_check()", True),
    Case("alc.budget_check()", "alc.budget_check()", False, replies=BUDGET),
]  # fmt: skip
