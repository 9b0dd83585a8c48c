"""The funding rate, its bounds, and the clock of settlements."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from engine.errors import InputError
from engine.messages import RATE_SCALE
from engine.pricing.premium import PREMIUMS_PER_RATE
from engine.pricing.rules import FundingRules, SymbolConfig
from engine.pricing.scale import clamp, exact, floor_fraction, rate_units


def next_multiple(after_ns: int, step_ns: int) -> int:
    """Return the first multiple of `step_ns` after a time.

    The epoch began at 00:00 UTC and days have no leap seconds in it, so multiples of 8 h, 4 h
    and 1 h are the hours of the UTC clock.

    Examples
    --------
    >>> next_multiple(8, 4), next_multiple(9, 4)
    (12, 12)
    """
    return (after_ns // step_ns + 1) * step_ns


def impact_notional(config: SymbolConfig) -> Fraction:
    """Return the impact notional of a symbol in quote: as given, or margin ÷ initial rate.

    Notes
    -----
    Binance: 200 USDT ÷ the initial rate at maximum leverage; dYdX: 500 USDC ÷ the initial
    margin fraction.
    """
    if config.impact_notional is not None:
        return exact(config.impact_notional, "impact_notional")
    margin, rate = config.premium.impact_margin, config.initial_rate
    if margin is None or rate is None:
        raise InputError(f"{config.symbol}: no impact notional")
    return Fraction(exact(margin, "impact_margin"), exact(rate, "initial_rate"))


@dataclass(frozen=True)
class FundingTerms:
    """Rules of funding in numbers of one symbol.

    Attributes
    ----------
    rules : FundingRules
    interest, damper : int, 1e-8
        For the formula's period.
    floor, cap : int, 1e-8
        Bounds of the rate of an interval; ±1 at most, which is the engine's own limit.
    change : int or None, 1e-8
        Greatest move from one rate to the next.
    """

    rules: FundingRules
    interest: int
    damper: int
    floor: int
    cap: int
    change: int | None

    @classmethod
    def of(cls, config: SymbolConfig) -> FundingTerms:
        """Work out the bounds of a symbol.

        Rounding
            Bounds towards zero, so that no rate exceeds what they were made from.
        """
        rules = config.funding
        floor, cap = -RATE_SCALE, RATE_SCALE
        if rules.cap_factor is not None:
            base = exact(config.maintenance_rate or "0", "maintenance_rate")
            if rules.cap_base == "initial_less_maintenance":
                base = exact(config.initial_rate or "0", "initial_rate") - base
            bound = floor_fraction(base * exact(rules.cap_factor, "cap_factor") * RATE_SCALE)
            if bound < 0:
                raise InputError(f"{config.symbol}: initial_rate is below maintenance_rate")
            cap = min(cap, bound)
            floor = -cap
        if rules.cap is not None:
            cap = rate_units(rules.cap, "cap")
        if rules.floor is not None:
            floor = rate_units(rules.floor, "floor")
        change = None
        if rules.change_factor is not None:
            base = exact(config.maintenance_rate or "0", "maintenance_rate")
            change = floor_fraction(
                base * exact(rules.change_factor, "change_factor") * RATE_SCALE)
        return cls(
            rules, rate_units(rules.interest_rate, "interest_rate"),
            rate_units(rules.damper, "damper"), floor, cap, change)

    def rate(self, premium: Fraction | None, before: int | None) -> int:
        """Return the rate of an interval.

        Parameters
        ----------
        premium : Fraction or None, 1e-12
            Average of the interval; None, no sample at all, counts as zero.
        before : int or None, 1e-8
            The rate settled last, for the bound of the change; None: there was none.

        Returns
        -------
        int, 1e-8
            Positive: longs pay shorts.

        Rounding
            Nearest 1e-8, ties to even; then into the bounds.

        Notes
        -----
        Formula: F = P + clamp(I − P, ±damper), of Binance, Bybit, BitMEX and Hyperliquid; or
        P + I, of dYdX. It holds for `period_ns`; of that the interval's part is paid.
        """
        average = Fraction(premium or 0) * Fraction(1, PREMIUMS_PER_RATE)
        pull = Fraction(self.interest)
        if self.rules.formula == "damped":
            pull = clamp(pull - average, Fraction(-self.damper), Fraction(self.damper))
        part = Fraction(self.rules.interval_ns, self.rules.period_ns)
        rate = round((average + pull) * part)
        if self.change is not None and before is not None:
            rate = min(max(rate, before - self.change), before + self.change)
        return min(max(rate, self.floor), self.cap)

    def settled(self, rate: int, index: int | None, mark: int | None) -> int:
        """Return the rate to command, so that the engine's payment at the mark is as meant.

        Parameters
        ----------
        rate : int, 1e-8
        index, mark : int or None, subticks

        Returns
        -------
        int, 1e-8
            `rate`, or with `settle_on` "index" rate × index ÷ mark.

        Rounding
            Nearest, ties to even; within the engine's ±1.
        """
        if self.rules.settle_on == "mark" or index is None or mark is None:
            return rate
        limit = Fraction(RATE_SCALE)
        return round(clamp(Fraction(rate * index, mark), -limit, limit))
