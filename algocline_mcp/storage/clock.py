"""Wall clock of everything that is recorded.

The only place that rounds: a simulation replaces the clock here, and with that every time in every record.
"""

import time


def now_s() -> float:
    """Unix seconds, to the millisecond."""
    return round(time.time(), 3)
