"""Resource limits of this process, and the size of its address space.

Contract: a limit is never set above the hard limit that the process has (`ulimit`): only root may raise that. The hard
limits stay, so that a process which this one forks may choose its own.
"""

import resource


def lower(number: int, limit: int) -> None:
    """Sets the soft limit, for this process and for those that it forks until they set their own."""
    hard = resource.getrlimit(number)[1]
    resource.setrlimit(number, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def lower_for_good(number: int, limit: int) -> None:
    """Sets the soft and the hard limit: the process cannot raise it again."""
    hard = resource.getrlimit(number)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(number, (limit, limit))


def address_space_bytes() -> int:
    """Size of the address space; 0 where the system does not report it. 15 us."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0
