"""What the venue and its collateral do besides marks: halts, schedules, multipliers, a price.

They come before the marks of a step, each as a command of its own, so pools that one of them
makes due are liquidated by it, at the marks of the step before.
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
        self._multiplier = np.ones(markets.count)
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
        return np.asarray(self._lowest * self._multiplier)

    def step(self, step: int, ts_ns: int) -> None:
        """Apply what happens at a step."""
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
                    self._lowest[symbol] = float(shock.tiers[0][1])
        price = round(round(float(self.collateral_path[step]), _PRICE_DECIMALS) * RATE_SCALE)
        if self._has_collateral and price != self._price:
            self._core.set_asset_price(COLLATERAL, price, ts_ns)
            self._price = price

    def _symbols(self, shock: Shock) -> list[int]:
        return [at for at, spec in enumerate(self._scenario.symbols)
                if shock.symbol in (None, spec.name)]

    def _multiply(self, symbol: int, multiplier: float, ts_ns: int) -> None:
        rate = round(multiplier * RATE_SCALE)
        self._core.set_margin_multiplier(symbol, rate, rate, NONE, ts_ns)
        self._multiplier[symbol] = multiplier

    def _outages(self, step: int, ts_ns: int) -> None:
        for symbol in range(len(self._multiplier)):
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
