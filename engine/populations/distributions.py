"""Distributions in a few words: `lognormal:10,0.75,1,100`.

| text | is |
|---|---|
| `5` | always 5 |
| `uniform:LOW,HIGH` | evenly between |
| `normal:MEAN,SIGMA` | the normal distribution |
| `lognormal:MEDIAN,SIGMA` | its logarithm is normal |
| `pareto:LEAST,ALPHA` | heavy tail from LEAST on |
| `choice:5=3,10=2,20=1` | these values with these weights |

The first five may end in `,MIN,MAX`, between which values are cut.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engine.errors import InputError

Floats = npt.NDArray[np.float64]

_PARAMETERS = {"fixed": 1, "uniform": 2, "normal": 2, "lognormal": 2, "pareto": 2}


class Distribution:
    """A distribution read from a text.

    Parameters
    ----------
    text : str, int or float
    where : str
        What it is for, for the message.

    Raises
    ------
    InputError

    Examples
    --------
    >>> Distribution("choice:5=1", "leverage").draw(2, np.random.default_rng(1)).tolist()
    [5.0, 5.0]
    """

    def __init__(self, text: str | float, where: str) -> None:
        self.text = str(text)
        self._where = where
        name, _, rest = self.text.partition(":")
        if not rest:
            name, rest = "fixed", name
        try:
            if name == "choice":
                pairs = [part.split("=") for part in rest.split(",")]
                self._values = np.array([_number(value) for value, _ in pairs])
                weights = np.array([_number(weight) for _, weight in pairs])
                if (weights < 0).any() or weights.sum() <= 0:
                    raise ValueError
                self._weights = weights / weights.sum()
            else:
                numbers = [_number(part) for part in rest.split(",")]
                count = _PARAMETERS[name]
                if len(numbers) not in (count, count + 2):
                    raise ValueError
                self._numbers, self._bounds = numbers[:count], numbers[count:]
                if name in ("lognormal", "pareto") and min(self._numbers) <= 0:
                    raise ValueError
        except (KeyError, ValueError):
            raise InputError(
                f"{where}: not a distribution: {self.text!r:.60} (a number, uniform:, normal:, "
                "lognormal:, pareto: or choice:)"
            ) from None
        self._name = name

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw so many values."""
        if self._name == "choice":
            return rng.choice(self._values, count, p=self._weights)
        values = self._draw(count, rng, *self._numbers)
        return np.clip(values, self._bounds[0], self._bounds[1]) if self._bounds else values

    def _draw(
        self, count: int, rng: np.random.Generator, first: float, second: float = 0.0
    ) -> Floats:
        if self._name == "uniform":
            return rng.uniform(first, second, count)
        if self._name == "normal":
            return first + second * rng.standard_normal(count)
        if self._name == "lognormal":
            return first * np.exp(second * rng.standard_normal(count))
        if self._name == "pareto":
            return first * (1.0 + rng.pareto(second, count))
        return np.full(count, first)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value
