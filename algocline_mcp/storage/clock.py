"""The wall clock of records."""

import time


def now_s() -> float:
    """Unix seconds with the resolution of a journal."""
    return round(time.time(), 3)
