"""A Landlock ruleset without a rule: no path, no port, no abstract socket and no signal leaves the process. Pure.

Rights by the ABI that brought them: linux/landlock.h. A kernel of a newer ABI knows these rights too.
"""

import struct

_FILES = {1: 13, 2: 14, 3: 15, 5: 16, 9: 17}  # ABI -> number of rights of files, the lowest bits
_PORTS = {4: 2, 10: 4}  # TCP: bind, connect; UDP: bind, connect and send
_SCOPES = {6: 2}  # abstract sockets, signals
# ABI -> fields of struct landlock_ruleset_attr
_FIELDS = {1: 1, 4: 2, 6: 3}


def ruleset(abi: int) -> bytes:
    """struct landlock_ruleset_attr: all rights that the ABI knows, so that a domain without rules has none of them."""
    masks = [(1 << _newest(table, abi)) - 1 for table in (_FILES, _PORTS, _SCOPES)]
    fields = masks[: _newest(_FIELDS, abi)]
    return struct.pack(f"={len(fields)}Q", *fields)


def _newest(table: dict[int, int], abi: int) -> int:
    return max((count for since, count in table.items() if since <= abi), default=0)
