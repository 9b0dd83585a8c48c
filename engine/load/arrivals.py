"""When commands arrive: constant gaps, Poisson, Hawkes, or the times of a recorded tape.

Times are ns from the start of a run and depend on nothing but their parameters and the seed,
so that the same run can be had again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.errors import InputError

Ints = npt.NDArray[np.int64]

SHAPES = ("constant", "poisson", "hawkes", "tape")
#: Times drawn at once.
BLOCK = 1024
_NS = 1_000_000_000
#: Of a Hawkes process: arrivals that each arrival sets off, and how fast that fades, per second.
_BRANCHING, _DECAY = 0.6, 50.0


@dataclass(frozen=True)
class Arrivals:
    """A kind of arrivals.

    Attributes
    ----------
    shape : str
        One of `SHAPES`.
    branching, decay : float
        Of Hawkes: how many further arrivals each sets off in the mean, and the rate per second
        at which it stops doing so.
    tape : array of int64, ns, or None
        Times of a tape, from zero; it is compressed or stretched to the rate, and repeated.
    """

    shape: str = "poisson"
    branching: float = _BRANCHING
    decay: float = _DECAY
    tape: Ints | None = None

    @classmethod
    def parse(cls, text: str) -> Arrivals:
        """Read `constant`, `poisson`, `hawkes`, `hawkes:BRANCHING,DECAY` or `tape`.

        Raises
        ------
        InputError

        Examples
        --------
        >>> Arrivals.parse("hawkes:0.8,20").branching
        0.8
        """
        shape, _, rest = text.partition(":")
        if shape not in SHAPES or (rest and shape != "hawkes"):
            raise InputError(
                f"--arrivals {text}: expected constant, poisson, hawkes[:BRANCHING,DECAY] or tape")
        if not rest:
            return cls(shape)
        try:
            branching, decay = (float(part) for part in rest.split(","))
        except ValueError:
            branching = decay = -1.0
        if not (0 <= branching < 1 and 0 < decay < 1e9):
            raise InputError(
                f"--arrivals {text}: expected a branching from 0 to below 1 and a decay above 0")
        return cls(shape, branching, decay)

    def blocks(
        self, rate: float, rng: np.random.Generator, part: tuple[int, int] = (0, 1)
    ) -> Iterator[Ints]:
        """Yield the times of one client, ascending, without end.

        Parameters
        ----------
        rate : float, per second
            Of all clients together, in the mean.
        rng : numpy.random.Generator
            This client's.
        part : (int, int)
            Number of this client from 0, and how many there are. Constant arrivals are spread
            evenly over all, a tape is dealt to them in turn; of the others the sum over clients
            is of the same kind.
        """
        number, count = part
        if self.shape == "constant":
            return _constant(rate, number, count)
        if self.shape == "tape":
            return _tape(self._tape(), rate, number, count)
        if self.shape == "hawkes":
            return _hawkes(rate / count, self.branching, self.decay, rng)
        return _poisson(rate / count, rng)

    def _tape(self) -> Ints:
        if self.tape is None or len(self.tape) < 2 or self.tape[-1] <= 0:
            raise InputError("--arrivals tape: --tape names no file with two times in it")
        return self.tape

    def __str__(self) -> str:
        if self.shape == "hawkes":
            return f"hawkes, branching {self.branching:g}, decay {self.decay:g} / s"
        return self.shape


def _constant(rate: float, number: int, count: int) -> Iterator[Ints]:
    at = number
    while True:
        places = at + count * np.arange(BLOCK)
        yield np.asarray(places * (_NS / rate), np.int64)
        at += count * BLOCK


def _poisson(rate: float, rng: np.random.Generator) -> Iterator[Ints]:
    now = 0.0
    while True:
        times = now + np.cumsum(rng.exponential(_NS / rate, BLOCK))
        now = float(times[-1])
        yield times.astype(np.int64)


def _hawkes(
    rate: float, branching: float, decay: float, rng: np.random.Generator
) -> Iterator[Ints]:
    """Exact simulation of an exponential kernel, arrival by arrival (Dassios and Zhao)."""
    base = rate * (1 - branching)
    excess, now = rate * branching, 0.0  # above the base, and begun where it lies in the mean
    while True:
        times = []
        uniforms = rng.random((BLOCK, 2)).tolist()
        for first, second in uniforms:
            gap = -math.log(1.0 - first) / base
            if excess > 0:
                left = 1.0 + decay * math.log(1.0 - second) / excess
                if left > 0:
                    gap = min(gap, -math.log(left) / decay)
            now += gap
            excess = excess * math.exp(-decay * gap) + branching * decay
            times.append(now)
        yield (np.array(times) * _NS).astype(np.int64)


def _tape(tape: Ints, rate: float, number: int, count: int) -> Iterator[Ints]:
    # The gap behind the last time is the mean one, so that a repeated tape keeps its rate.
    span = float(tape[-1]) * len(tape) / (len(tape) - 1)
    factor = len(tape) / rate * _NS / span
    at = number
    while True:
        places = at + count * np.arange(BLOCK)
        turns, within = np.divmod(places, len(tape))
        yield ((turns * span + tape[within]) * factor).astype(np.int64)
        at += count * BLOCK
