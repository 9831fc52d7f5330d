"""Conformance of the functions that ask: prompts and options, batches, refusals, forms of alc.llm."""

from tests.worker.engine.conformance.case import Case, ask

REFUSE = {"refuse": "too personal"}
BOTH = "alc.llm_batch{{prompt = 'a'}, {prompt = 'b'}}"
BOTH_PY = 'alc.llm_batch([{"prompt": "a"}, {"prompt": "b"}])'
NOT_KNOWN = "warn: alc.llm: the option sytem is not known, was system meant?"

CASES = [
    # ── alc.llm ───────────────────────────────────────────────────────────────────────────────────────────
    Case("alc.llm('p')", 'alc.llm("p")', "<p>", messages=[ask("p")]),
    Case("alc.llm(7)", "alc.llm(7)", "<7>", messages=[ask("7")]),
    Case("alc.llm(0.5)", "alc.llm(0.5)", "<0.5>", messages=[ask("0.5")]),
    Case(
        "alc.llm('p', {system = 's', max_tokens = 7, grounded = true, underspecified = true})",
        'alc.llm("p", system="s", max_tokens=7, grounded=True, underspecified=True)',
        "<p>",
        messages=[ask({"prompt": "p", "system": "s", "max_tokens": 7, "grounded": True, "underspecified": True})],
    ),
    Case(
        "alc.llm('p', {grounded = false, underspecified = false})",
        'alc.llm("p", grounded=False, underspecified=False)',
        "<p>",
        messages=[ask("p")],
    ),
    Case(
        "alc.llm('p', {temperature = 0.5, model = 'm', deep = true, n = 3})",
        'alc.llm("p", options={"temperature": 0.5, "model": "m", "deep": True, "n": 3})',
        "<p>",
        messages=[ask({"prompt": "p", "temperature": 0.5, "model": "m", "deep": True, "n": 3})],
    ),
    Case(
        "alc.llm('p', {label = 'the draft'})",
        'alc.llm("p", label="the draft")',
        "<p>",
        messages=[ask({"prompt": "p", "label": "the draft"})],
    ),
    Case(
        "alc.llm('p', {max_tokens = 50.0})",
        'alc.llm("p", max_tokens=50.0)',
        "<p>",
        messages=[ask({"prompt": "p", "max_tokens": 50})],
    ),
    *(
        Case(
            f"alc.llm('p', {{max_tokens = {lua}}})",
            f'alc.llm("p", max_tokens={python})',
            "<p>",
            messages=[ask("p")],
            logged=["warn: alc.llm: max_tokens is not a whole number from 0 to 2^32 - 1: the default 1024 was taken"],
        )
        for lua, python in [
            ("-1", "-1"),
            ("1.5", "1.5"),
            ("'many'", '"many"'),
            ("1 << 32", "1 << 32"),
            ("true", "True"),
        ]
    ),
    Case(
        "alc.llm('p', {system = 5})",
        'alc.llm("p", system=5)',
        "<p>",
        messages=[ask("p")],
        logged=["warn: alc.llm: the option system is a"],
    ),
    Case(
        "alc.llm('p', {tools = {}})",
        'alc.llm("p", options={"tools": {}})',
        "<p>",
        messages=[ask("p")],
        logged=["warn: alc.llm: the option tools is a"],
    ),
    Case(
        "alc.llm('p', {sytem = 's'})",
        'alc.llm("p", options={"sytem": "s"})',
        "<p>",
        messages=[ask({"prompt": "p", "sytem": "s"})],
        logged=[NOT_KNOWN],
    ),
    Case(
        "for _ = 1, 3 do alc.llm('p', {sytem = 's'}) end",
        'for _ in range(3): alc.llm("p", options={"sytem": "s"})',
        logged=[NOT_KNOWN],
    ),
    Case("alc.llm()", "alc.llm(None)", error="alc.llm: the prompt is missing, a string was expected and not {nil}"),
    Case("alc.llm({})", "alc.llm({})", error="alc.llm: the prompt is missing, a string was expected and not {dict}"),
    Case(
        "alc.llm(true)", "alc.llm(True)", error="alc.llm: the prompt is missing, a string was expected and not {bool}"
    ),
    Case("alc.llm('p')", 'alc.llm("p")', error="alc.llm refused: too personal", answers=[REFUSE]),
    Case(
        "local ok = pcall(alc.llm, 'p') return {ok, alc.llm('q')}",
        'try: alc.llm("p")\nexcept alc.Refused as exc: return [exc.reason != "too personal", alc.llm("q")]',
        [False, "<q>"],
        answers=[REFUSE, "<q>"],
    ),
    # ── schema ────────────────────────────────────────────────────────────────────────────────────────────
    Case(
        "alc.llm('p', {schema = {enum = {'PASS', 'FAIL'}}})",
        'alc.llm("p", schema={"enum": ["PASS", "FAIL"]})',
        "x",
        answers=["x"],
        messages=[
            ask({"prompt": 'p\n\nLast line: "Verdict: PASS" or "Verdict: FAIL".', "schema": {"enum": ["PASS", "FAIL"]}})
        ],
    ),
    Case(
        "alc.llm('p', {schema = {type = 'integer', minimum = 1, maximum = 10}})",
        'alc.llm("p", schema={"type": "integer", "minimum": 1, "maximum": 10})',
        "x",
        answers=["x"],
        messages=[
            ask(
                {
                    "prompt": 'p\n\nLast line: "Answer: N", where N is a whole number from 1 to 10.',
                    "schema": {"type": "integer", "minimum": 1, "maximum": 10},
                }
            )
        ],
    ),
    Case(
        "alc.llm('p', {schema = {kind = 'x'}})",
        'alc.llm("p", schema={"kind": "x"})',
        error="alc.llm: schema.kind is not checked by anything: known are type, properties",
        messages=[],
    ),
    Case(
        "alc.llm('p', {schema = {properties = {'x'}}})",
        'alc.llm("p", schema={"properties": ["x"]})',
        error="alc.llm: schema.properties must be {a table} of schemas",
    ),
    Case(
        "alc.llm('p', {schema = {'x'}})",
        'alc.llm("p", schema=["x"])',
        error="alc.llm: schema is not {schema}",
    ),
    # ── alc.llm_batch, alc.refused ────────────────────────────────────────────────────────────────────────
    Case(BOTH, BOTH_PY, ["<a>", "<b>"], messages=[ask("a", "b")]),
    Case(
        "alc.llm_batch{{prompt = 'a', system = 's', max_tokens = 5}, {prompt = 2}}",
        'alc.llm_batch([{"prompt": "a", "system": "s", "max_tokens": 5}, {"prompt": 2}])',
        ["<a>", "<2>"],
        messages=[ask({"prompt": "a", "system": "s", "max_tokens": 5}, "2")],
    ),
    Case("alc.llm_batch({})", "alc.llm_batch([])", error="alc.llm_batch: empty items {array}"),
    Case(
        "alc.llm_batch()", "alc.llm_batch(None)", error="alc.llm_batch: {an array} of items was expected and not {nil}"
    ),
    Case("alc.llm_batch{'a'}", 'alc.llm_batch(["a"])', error="alc.llm_batch: item 1 is a {str} and not {item}"),
    Case(
        "alc.llm_batch{{prompt = 'a'}, {system = 'x'}}",
        'alc.llm_batch([{"prompt": "a"}, {"system": "x"}])',
        error="alc.llm_batch: item 2: the prompt is missing, a string was expected and not {nil}",
        messages=[],
    ),
    Case(
        f"local r = {BOTH} return {{alc.refused(r[1]) == nil, alc.refused(r[2]), r[1]}}",
        f"r = {BOTH_PY}\nreturn [alc.refused(r[0]) is None, alc.refused(r[1]), r[0]]",
        [True, "too personal", "<a>"],
        answers=["<a>", REFUSE],
    ),
    Case(
        f"local r = {BOTH} return r[1]",
        f"r = {BOTH_PY}\nreturn r[0]",
        error="alc.llm_batch refused: item 2: too personal (alc.refused(answer) returns this reason",
        answers=["<a>", REFUSE],
    ),
    *(
        Case(
            f"local r = {BOTH} {lua}",
            f"r = {BOTH_PY}\n{python}\nreturn 1",
            error="alc.llm_batch refused: item 2: too personal",
            answers=["<a>", REFUSE],
        )
        for lua, python in [
            ("return r[2] .. ''", 'return r[1] + ""'),
            ("return 'x' .. r[2]", 'return f"x{r[1]}"'),
            ("return #r[2]", "return len(r[1])"),
            ("return r[2] < r[2]", "return r[1] < r[1]"),
            ("return r[2].text", "return r[1].strip()"),
            ("r[2].text = 1", "r[1].text = 1"),
            ("return tostring(r[2])", "return str(r[1])"),
            ("for k in pairs(r[2]) do end", "for char in r[1]: pass"),
            ("return alc.match_bool(r[2])", "return alc.match_bool(r[1])"),
            ("return alc.match_enum(r[2], {'a'})", 'return alc.match_enum(r[1], ["a"])'),
            ("return alc.parse_score(r[2])", "return alc.parse_score(r[1])"),
            ("return alc.parse_number(r[2])", "return alc.parse_number(r[1])"),
            ("return alc.json_extract(r[2])", "return alc.json_extract(r[1])"),
            ("return alc.vote(r)", "return alc.vote(r)"),
            ("return alc.map(r[2], print)", "return alc.map(r[1], print)"),
            ("return alc.llm(r[2])", "return alc.llm(r[1])"),
            ("return alc.llm('x' .. r[2])", 'return alc.llm("x %s" % r[1])'),
            ("return r[2] == 'yes'", 'return r[1] == "yes"'),
        ]
    ),
    Case(BOTH, BOTH_PY, error="alc.llm_batch refused: item 2: too personal", answers=["<a>", REFUSE]),
    Case(
        f"local r = {BOTH} alc.refused(r[2]) return r",
        f"r = {BOTH_PY}\nalc.refused(r[1])\nreturn r",
        ["<a>", {"refused": "too personal"}],
        answers=["<a>", REFUSE],
    ),
]
