"""What a running strategy gets in place of the machine: a clock, a stream of bytes, and serial numbers."""

from collections.abc import Callable
from hashlib import blake2b

_BLOCK_BYTES = 64


class ByteStream:
    """Endless bytes that follow from the seed alone: BLAKE2b in counter mode."""

    def __init__(self, seed: int) -> None:
        self._key = (seed & (1 << 64) - 1).to_bytes(8, "big")
        self._count = 0
        self._rest = b""

    def read(self, size: int) -> bytes:
        missing = max(0, size - len(self._rest) + _BLOCK_BYTES - 1) // _BLOCK_BYTES
        numbers = range(self._count, self._count + missing)
        self._count += missing
        blocks = [blake2b(number.to_bytes(8, "big"), key=self._key).digest() for number in numbers]
        data = b"".join([self._rest, *blocks])
        self._rest = data[size:]
        return data[:size]


class World:
    """Of one strategy."""

    def __init__(self, seed: int, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.bytes = ByteStream(seed)
        self.now = clock
        self.sleep = sleep
        self.node = int.from_bytes(self.bytes.read(6), "big") | 1 << 40  # the multicast bit: of no network card
        self._latest_s = 0.0

    def monotonic(self) -> float:
        """Seconds that never go back, as the recorded clock may."""
        self._latest_s = max(self._latest_s, self.now())
        return self._latest_s


current: World | None = None  # None: every patched function calls the original
