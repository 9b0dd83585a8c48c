"""What the venue and its collateral do besides marks: halts, schedules, multipliers, a price.

They come before the marks of a step, each as a command of its own, so pools that one of them
makes due are liquidated by it, at the marks of the step before.

Margins that follow volatility are multiplied by
clip(v / (calm beta), 1, largest), in twentieths, where v^2 <- k v^2 + (1 - k) (move^2 / interval),
k = 2^(-interval / half-life), and move is that of the log of index or mark over the interval.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from engine import Exchange
from engine.demo.market import SETTLE, Tier
from engine.errors import InputError
from engine.instruments import TermsError, parse_tiers
from engine.lab.market import COLLATERAL, Floats, Markets, in_force, ramp
from engine.lab.scenario import Scenario, Shock
from engine.messages import NONE, RATE_SCALE, HaltMode

#: A price of zero is refused.
_PRICE_MIN = 1e-4
_PRICE_DECIMALS = 6
#: Multipliers are set in parts of so much.
_STEPS_OF_MULTIPLIER = 20


class Venue:
    """Applies the shocks of a scenario that are commands.

    Parameters
    ----------
    scenario : Scenario
    markets : Markets
    exchange : Exchange
        With instruments and assets declared.
    counterfactual : bool
        Liquidation stays switched off.

    Attributes
    ----------
    multiplier : array of float
        Of the margins of each symbol, as in force.
    rates : array of float
        Maintenance rate of each symbol's lowest tier, as in force.
    collateral_path : array of float, shape (steps,)
        Price of the collateral at each step.
    """

    def __init__(
        self, scenario: Scenario, markets: Markets, exchange: Exchange, counterfactual: bool
    ) -> None:
        self._scenario, self._core = scenario, exchange.core
        self._outage = ~np.isnan(in_force(scenario, "outage"))
        self._halted = HaltMode.NO_LIQUIDATION if counterfactual else HaltMode.NONE
        self.multiplier = np.ones(markets.count)
        self._variance = np.zeros(markets.count)
        self._followed: Floats | None = None
        self._lowest = np.array([float(spec.tiers[0][1]) for spec in scenario.symbols])
        self._price = RATE_SCALE
        self.collateral_path = collateral_path(scenario)
        self._has_collateral = scenario.collateral.share > 0
        settle = exchange.instrument(markets.markets[0].symbol).settle
        self._tiers = {}
        for at, shock in enumerate(scenario.shocks):
            if shock.kind == "tiers":
                tiers = tuple(Tier(*tier) for tier in shock.tiers)
                rows = replace(markets.markets[0], tiers=tiers).command()["tiers"]
                try:
                    self._tiers[at] = parse_tiers(rows, settle)
                except TermsError as error:
                    raise InputError(f"shocks.{at}: {error.detail}") from None

    @property
    def rates(self) -> Floats:
        return np.asarray(self._lowest * self.multiplier)

    def step(self, step: int, ts_ns: int, index: Floats, marks: Floats) -> None:
        """Apply what happens at a step.

        Parameters
        ----------
        step, ts_ns : int
        index, marks : array of float
            As they were last seen: the marks of the step before.
        """
        self._outages(step, ts_ns)
        now_s, length = (step + 1) * self._scenario.step_s, self._scenario.step_s
        for at, shock in enumerate(self._scenario.shocks):
            if not now_s - length < shock.at_s <= now_s:
                continue
            if shock.kind == "margin_multiplier":
                for symbol in self._symbols(shock):
                    self._multiply(symbol, shock.size, ts_ns)
            elif shock.kind == "tiers":
                for symbol in self._symbols(shock):
                    self._core.set_tiers(symbol, self._tiers[at], ts_ns)
                    self._check(f"a new schedule of {self._scenario.symbols[symbol].name}")
                    self._lowest[symbol] = float(shock.tiers[0][1])
        spec = self._scenario.margins
        if spec.source != "fixed" and now_s % spec.interval_s < length:
            self._follow(np.log(index if spec.source == "index" else marks), ts_ns)
        price = round(round(float(self.collateral_path[step]), _PRICE_DECIMALS) * RATE_SCALE)
        if self._has_collateral and price != self._price:
            self._core.set_asset_price(COLLATERAL, price, ts_ns)
            self._price = price

    def _follow(self, level: Floats, ts_ns: int) -> None:
        spec = self._scenario.margins
        interval_s = max(spec.interval_s, self._scenario.step_s)
        keep = 0.5 ** (interval_s / spec.half_life_s)
        if self._followed is not None:
            square = (level - self._followed) ** 2 / interval_s
            self._variance = keep * self._variance + (1 - keep) * square
        self._followed = level
        betas = np.array([symbol.beta for symbol in self._scenario.symbols])
        wanted = np.clip(np.sqrt(self._variance) / (spec.calm * betas), 1, spec.largest)
        wanted = np.rint(wanted * _STEPS_OF_MULTIPLIER) / _STEPS_OF_MULTIPLIER
        for symbol in np.flatnonzero(wanted != self.multiplier).tolist():
            self._multiply(symbol, float(wanted[symbol]), ts_ns)

    def _symbols(self, shock: Shock) -> list[int]:
        return [at for at, spec in enumerate(self._scenario.symbols)
                if shock.symbol in (None, spec.name)]

    def _multiply(self, symbol: int, multiplier: float, ts_ns: int) -> None:
        rate = round(multiplier * RATE_SCALE)
        self._core.set_margin_multiplier(symbol, rate, rate, NONE, ts_ns)
        self._check(f"{multiplier:g} times the margins of {self._scenario.symbols[symbol].name}")
        self.multiplier[symbol] = multiplier

    def _check(self, what: str) -> None:
        if self._core.rejected_seq == self._core.seq:
            raise InputError(f"{what}: the exchange refuses it; is a maintenance rate above 1?")

    def _outages(self, step: int, ts_ns: int) -> None:
        for symbol in range(len(self.multiplier)):
            is_out = self._outage[step, symbol]
            was_out = step > 0 and self._outage[step - 1, symbol]
            if is_out and not was_out:
                self._core.halt(symbol, int(HaltMode.ALL), ts_ns)
            elif was_out and not is_out:
                if self._halted is HaltMode.NONE:
                    self._core.resume(symbol, ts_ns)
                else:
                    self._core.halt(symbol, int(self._halted), ts_ns)


def collateral_path(scenario: Scenario) -> Floats:
    """Return the price of the collateral at each step, in the settle asset.

    Notes
    -----
    Formula: 1 + sum of the depegs so far, not below 0.0001.
    """
    seconds = (np.arange(scenario.steps) + 1) * scenario.step_s
    path = np.ones(scenario.steps)
    for shock in scenario.shocks:
        if shock.kind == "collateral_depeg":
            path = path + ramp(shock, seconds)
    return np.maximum(path, _PRICE_MIN)


def collateral_commands(scenario: Scenario, ts_ns: int) -> list[dict[str, Any]]:
    """Return the commands that declare the collateral; none where nobody has it."""
    spec = scenario.collateral
    if spec.share <= 0:
        return []
    tiers = [{"max_amount": None, "weight": spec.weight}]
    return [
        {"cmd": "asset", "asset": "COLLATERAL", "decimals": 6, "ts": ts_ns},
        {"cmd": "collateral", "asset": "COLLATERAL", "value_asset": SETTLE, "tiers": tiers,
         "conversion_fee": spec.conversion_fee},
        {"cmd": "asset_price", "asset": "COLLATERAL", "price": "1"},
    ]
