"""One profile for hypothesis: the same examples on each run, no time limit per example, nothing written to disk."""

from hypothesis import settings

settings.register_profile("alc", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("alc")
