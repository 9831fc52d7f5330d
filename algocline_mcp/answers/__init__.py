"""Readers of answers: one implementation for every language, pure, in time proportional to the text.

The rule for doubt: None rather than a wrong value, because only then is the question asked again. `text` removes
thinking and markup, `numbers` reads scores and numbers, `verdicts` (with `mentions` and `phrases`) yes or no and
choices, `json_text` JSON. A change of what they return changes replays: raise `prelude` in
algocline_mcp/languages.py with it.
"""
