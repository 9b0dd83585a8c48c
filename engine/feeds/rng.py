"""SplitMix64: a small seeded generator whose numbers never change.

Library generators may alter how they turn bits into numbers between versions;
a demo whose state hash is quoted somewhere cannot live with that. Everything
here is integer arithmetic, so a seed means the same run on every machine.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_LOW16 = 0xFFFF
#: Sum of twelve uniform 16-bit numbers: mean and scale of a near-normal variable.
_SUM_MEAN = 12 * _LOW16 // 2
#: Standard deviation of that sum (12 × variance 1/12 = 1, in units of 2**16).
NORMAL_ONE = 1 << 16


class SplitMix64:
    """Seeded stream of 64-bit integers (Steele, Lea, Flood 2014).

    Parameters
    ----------
    seed : int
        Any integer; taken modulo 2**64.

    Examples
    --------
    >>> hex(SplitMix64(0).next_u64())
    '0xe220a8397b1dcdaf'
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next_u64(self) -> int:
        """Return the next 64 bits."""
        self._state = state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        return state ^ (state >> 31)

    def below(self, bound: int) -> int:
        """Return an integer in [0, bound), `bound` up to 2**32 (bias below 2**-32)."""
        return (self.next_u64() >> 32) * bound >> 32

    def normal(self) -> int:
        """Return a near-normal integer, mean 0, standard deviation `NORMAL_ONE`, |x| ≤ 6."""
        total = -_SUM_MEAN
        for _ in range(3):
            bits = self.next_u64()
            total += (
                (bits & _LOW16) + (bits >> 16 & _LOW16) + (bits >> 32 & _LOW16) + (bits >> 48)
            )
        return total
