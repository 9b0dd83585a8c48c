"""A scenario's instruments, its index paths, and the streams of chance.

Every stream of chance is a generator of its own, made of the seed and the stream's number,
and draws the same count of numbers whatever the market does. So two runs of one seed meet
the same noise however else they differ: what differs between them has a cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from engine.demo.market import Market, Tier
from engine.lab.scenario import Scenario, Shock

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Mark ticks in a tick; one lot is worth this many minor units per tick, one per mark tick.
MARKS_PER_TICK = 10
#: Minor units in one unit of the settle asset.
MINOR = 10**6
#: Index of the asset that some post as margin; the settle asset is 0.
COLLATERAL = 1
#: Numbers of the streams of chance.
PATH, POPULATION, NOISE, FLOW = range(4)


def stream(scenario: Scenario, number: int) -> np.random.Generator:
    """Return a stream of chance of its own."""
    return np.random.Generator(np.random.Philox(key=[scenario.seed, number]))


@dataclass(frozen=True)
class Markets:
    """The instruments, in the order of the scenario's symbols.

    Attributes
    ----------
    markets : tuple of Market
    first_marks : array of int64, mark ticks
    """

    markets: tuple[Market, ...]
    first_marks: Ints

    @property
    def count(self) -> int:
        return len(self.markets)


def plan(scenario: Scenario) -> Markets:
    """Return the instruments of a scenario: one lot is worth one minor unit per mark tick."""
    markets = []
    for spec in scenario.symbols:
        magnitude = Decimal(spec.first_price).adjusted()
        tiers = tuple(Tier(*tier) for tier in spec.tiers)
        first = Decimal(spec.first_price).quantize(Decimal(1).scaleb(magnitude - 6))
        markets.append(Market(spec.name, first, magnitude - 5, -magnitude, tiers))
    marks = [int(one.first_price.scaleb(1 - one.tick_exponent)) for one in markets]
    return Markets(tuple(markets), np.array(marks, np.int64))


def index_paths(scenario: Scenario, first_marks: Ints) -> Floats:
    """Return the index of each symbol at each step, in mark ticks.

    Returns
    -------
    array of float, shape (steps, symbols)

    Notes
    -----
    Formula: ln index_s(t) = ln first_s + beta_s x (common noise + shocks of all symbols) +
    own noise + shocks of s alone. Noise is Gaussian; a tape replaces the common noise.
    """
    rng = stream(scenario, PATH)
    steps, count = scenario.steps, len(scenario.symbols)
    scale = np.sqrt(scenario.step_s)
    common = np.cumsum(rng.standard_normal(steps)) * scenario.volatility * scale
    own = np.cumsum(rng.standard_normal((steps, count)), axis=0)
    own *= scenario.own_volatility * scale
    seconds = (np.arange(steps) + 1) * scenario.step_s
    if scenario.tape:
        at, prices = np.array(scenario.tape, np.float64).T
        common = np.log(np.interp(seconds, at, prices) / prices[0])
    betas = np.array([symbol.beta for symbol in scenario.symbols])
    for shock in scenario.shocks:
        if shock.kind != "price":
            continue
        move = ramp(shock, seconds)
        if shock.symbol is None:
            common = common + move
        else:
            own[:, symbol_at(scenario, shock.symbol)] += move
    return np.asarray(first_marks * np.exp(common[:, None] * betas + own))


def ramp(shock: Shock, seconds: Ints) -> Floats:
    """Return how far a shock has moved what it moves, at each time."""
    if shock.duration_s <= 0:
        return np.where(seconds >= shock.at_s, shock.size, 0.0)
    ramp: Floats = shock.size * np.clip((seconds - shock.at_s) / shock.duration_s, 0.0, 1.0)
    return ramp


def symbol_at(scenario: Scenario, name: str) -> int:
    """Return the index of a symbol."""
    return [symbol.name for symbol in scenario.symbols].index(name)


def in_force(scenario: Scenario, kind: str) -> Floats:
    """Return for each step and symbol the size of a passing shock of a kind; NaN: none."""
    seconds = (np.arange(scenario.steps) + 1) * scenario.step_s
    out = np.full((scenario.steps, len(scenario.symbols)), np.nan)
    for shock in scenario.shocks:
        if shock.kind == kind:
            during = (seconds >= shock.at_s) & (seconds < shock.at_s + shock.duration_s)
            columns = (slice(None) if shock.symbol is None
                       else symbol_at(scenario, shock.symbol))
            out[during, columns] = shock.size
    return out
