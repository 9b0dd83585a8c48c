"""Margin arithmetic of one position or one schedule: pure functions over ints.

Formulas are those of section 5 of the rules (`docs/rules.md`). Every division
says which way it rounds: requirements up, credits down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from engine.messages import MONEY_MAX, NONE, RATE_SCALE, Side, TierRule

Urgency = tuple[int, Fraction, int, int, int, int]


def floor_div(numerator: int, denominator: int) -> int:
    """Quotient rounded toward minus infinity."""
    return numerator // denominator


def ceil_div(numerator: int, denominator: int) -> int:
    """Quotient rounded toward plus infinity."""
    return -((-numerator) // denominator)


def as_amount(total: int) -> int:
    """What may be given away of a sum that may be below zero, and beyond the money range."""
    return max(0, min(MONEY_MAX, total))


@dataclass(frozen=True)
class Tier:
    """One band of notional with its margin rates."""

    min_notional: int  # minor units, exclusive lower bound
    max_notional: int  # minor units, inclusive upper bound; MONEY_MAX: no cap
    maintenance_rate: int  # 1e-8 units, with the closing fee where that is reserved
    max_leverage: int  # 1e-8 units
    deduction: int  # minor units x 1e-8 units, exact


@dataclass(frozen=True)
class Multipliers:
    """What an instrument's requirements are scaled by, in 1e-8 units."""

    maintenance: int = RATE_SCALE  # of the tiers' rates
    initial: int = RATE_SCALE  # of initial margin, and of nothing else

    def rate(self, base: int) -> int:
        """Maintenance rate in force, rounded up."""
        return ceil_div(base * self.maintenance, RATE_SCALE)

    def fit(self, rows: Sequence[tuple[int, int, int, int]], closing_fee: int) -> bool:
        """Whether no rate would exceed 1, what a close costs included."""
        return all(self.rate(rate) + closing_fee <= RATE_SCALE for _, _, rate, _ in rows)


#: Where nobody has set any.
UNSCALED = Multipliers()


@dataclass(frozen=True)
class Schedule:
    """Maintenance tiers of an instrument, ascending and gapless."""

    rule: TierRule
    tiers: tuple[Tier, ...]  # as they are in force
    base: tuple[tuple[int, int, int, int], ...]  # (min, max, rate, leverage) as declared
    multipliers: Multipliers
    closing_fee: int  # 1e-8 units, of notional, on top of every margin; 0: not reserved
    initial_multiplier: int  # 1e-8 units, in force

    @classmethod
    def build(
        cls, rule: TierRule, rows: Sequence[tuple[int, int, int, int]],
        multipliers: Multipliers = UNSCALED, closing_fee: int = 0,
    ) -> Schedule:
        """Scale the rates, and derive the deductions A_k that make the marginal rule continuous.

        No tier allows more leverage than its rate does, 1 / rate rounded down. The closing fee
        comes on top: it changes neither leverages nor deductions.
        """
        rates = [multipliers.rate(rate) for _, _, rate, _ in rows]
        tiers = make_tiers(rule, rows, rates, closing_fee)
        return cls(rule, tiers, tuple(rows), multipliers, closing_fee, multipliers.initial)

    def for_account(self, multiplier: int) -> Schedule:
        """The schedule of an account whose requirements are multiplied once more.

        Rounded up; no rate exceeds 1 with the closing fee.
        """
        if multiplier == RATE_SCALE:
            return self
        most = RATE_SCALE - self.closing_fee
        rates = [
            min(most, ceil_div(
                (tier.maintenance_rate - self.closing_fee) * multiplier, RATE_SCALE))
            for tier in self.tiers]
        return replace(
            self, tiers=make_tiers(self.rule, self.base, rates, self.closing_fee),
            initial_multiplier=ceil_div(self.multipliers.initial * multiplier, RATE_SCALE))

    def rebuild(
        self, *, rows: Sequence[tuple[int, int, int, int]] | None = None,
        multipliers: Multipliers | None = None, closing_fee: int | None = None,
    ) -> Schedule:
        """The same schedule with some of what it is made of replaced."""
        return Schedule.build(
            self.rule, self.base if rows is None else rows,
            self.multipliers if multipliers is None else multipliers,
            self.closing_fee if closing_fee is None else closing_fee)

    def tier_index(self, notional: int) -> int:
        """Index of the tier with min < notional <= max; the last one beyond its cap."""
        for index, tier in enumerate(self.tiers):
            if notional <= tier.max_notional:
                return index
        return len(self.tiers) - 1

    def maintenance_margin(self, notional: int) -> int:
        """Maintenance margin, rounded up."""
        tier = self.tiers[self.tier_index(notional)]
        return ceil_div(notional * tier.maintenance_rate - tier.deduction, RATE_SCALE)

    def allowed_leverage(self, notional: int, leverage: int) -> int:
        """A leverage, or what the notional's tier allows if that is less."""
        return min(leverage, self.tiers[self.tier_index(notional)].max_leverage)

    def initial_margin(self, notional: int, leverage: int) -> int:
        """Notional / leverage x multiplier, plus the closing fee; its tier caps the leverage."""
        return self.scaled_margin(notional, self.allowed_leverage(notional, leverage))

    def scaled_margin(self, value: int, leverage: int) -> int:
        """Value / leverage x initial multiplier, plus its closing fee; each up, in range."""
        margin = ceil_div(value * self.initial_multiplier, leverage)
        return min(MONEY_MAX, margin + ceil_div(value * self.closing_fee, RATE_SCALE))

    @property
    def is_capped(self) -> bool:
        return self.tiers[-1].max_notional < MONEY_MAX


def make_tiers(
    rule: TierRule, rows: Sequence[tuple[int, int, int, int]], rates: Sequence[int],
    closing_fee: int,
) -> tuple[Tier, ...]:
    """Tiers with these rates: what leverage they allow, and what is deducted."""
    tiers: list[Tier] = []
    for (low, high, _, leverage), rate in zip(rows, rates, strict=True):
        allowed = min(leverage, floor_div(RATE_SCALE**2, rate)) if rate else leverage
        deduction = 0
        if tiers and rule is TierRule.MARGINAL:
            previous = tiers[-1]
            step = rate + closing_fee - previous.maintenance_rate
            deduction = previous.deduction + low * step
        tiers.append(Tier(low, high, rate + closing_fee, allowed, deduction))
    return tuple(tiers)


def trade_fee(value: int, rate: int) -> int:
    """Fee of a trade; up for a fee, so a rebate (negative) is rounded down in size."""
    return ceil_div(value * rate, RATE_SCALE)


def split_value(value: int, part: int, lots: int) -> int:
    """Value of a part of a fill of so many lots, toward zero; the rest has what is left."""
    size = floor_div(abs(value) * part, lots)
    return size if value > 0 else -size


def split_entry_value(entry_value: int, closed: int, quantity: int) -> int:
    """Entry value released by closing `closed` of `quantity` lots, against the account (up)."""
    return ceil_div(entry_value * closed, quantity)


@dataclass
class IsolatedAccount:
    """An isolated position, to try fills on: what the ledger would make of them.

    What its wallet holds comes in and goes out; two legs may share it.
    """

    quantity: int
    entry_value: int
    margin: int

    def fill(
        self, quantity: int, value: int, wallet: int, share: Callable[[int, int], int]
    ) -> int:
        """Close what a signed fill closes, open the rest; `share` of value and lots then held."""
        if self.quantity * quantity < 0:
            closing = min(abs(self.quantity), abs(quantity))
            sign = 1 if quantity > 0 else -1
            closing_value = split_value(value, closing, abs(quantity))
            released = split_entry_value(self.entry_value, closing, abs(self.quantity))
            profit = -closing_value - released
            freed = floor_div(self.margin * closing, abs(self.quantity)) + profit
            self.margin += profit - max(0, freed)
            wallet += max(0, freed)
            self.quantity += sign * closing
            self.entry_value -= released
            quantity, value = quantity - sign * closing, value - closing_value
        if quantity:
            self.quantity += quantity
            self.entry_value += value
            needed = min(share(abs(value), abs(self.quantity)), max(0, wallet))
            self.margin += needed
            wallet -= needed
        return wallet

    def pay(self, fee: int, wallet: int) -> int:
        """From the wallet while it has money, the rest from the margin; a rebate to the wallet."""
        from_wallet = min(fee, max(0, wallet)) if fee > 0 else fee
        self.margin -= fee - from_wallet
        return wallet - from_wallet


def bound_price(
    side: Side, quantity: int, mark: int, equity_share: int, unit_value: int, marks_per_tick: int
) -> int:
    """Worst price, in ticks, at which closing `quantity` costs at most `equity_share` against mark.

    Rounding: a sell up to the tick, a buy down, never below one tick.
    """
    at_mark = quantity * mark * unit_value
    per_tick = quantity * unit_value * marks_per_tick
    if side is Side.SELL:
        return max(1, ceil_div(at_mark - equity_share, per_tick))
    return max(1, floor_div(at_mark + equity_share, per_tick))


def inverse_limit(side: Side, total: int, worth: int, per: int) -> int:
    """Worst price at which closing an inverse position costs (a sell) or brings (a buy) `worth`.

    `total` is the position's worth times the mark, prices are in units of `per` mark ticks.
    A trade is worth `total` over its price, toward zero: so a sell at or above, a buy at or
    below what is returned leaves nothing short. NONE where no price is high enough for a
    sale, or any will do for a purchase; 0 where none is low enough for it.
    """
    if side is Side.SELL:
        return NONE if worth < 0 else floor_div(total, (worth + 1) * per) + 1
    return NONE if worth <= 0 else floor_div(total, worth * per)


def inverse_bound_price(
    side: Side, quantity: int, mark: int, equity_share: int, unit_value: int, marks_per_tick: int
) -> int:
    """The bound of an inverse position: as `bound_price`, at least one tick, at most 2^62 marks."""
    total = quantity * unit_value
    at_mark = floor_div(total, mark)
    worth = at_mark + equity_share if side is Side.SELL else at_mark - equity_share
    price = inverse_limit(side, total, worth, marks_per_tick)
    highest = floor_div(MONEY_MAX, marks_per_tick)
    return highest if price == NONE else max(1, min(highest, price))


def urgency(
    equity: int, maintenance: int, account: int, asset: int, symbol: int, leg: int
) -> Urgency:
    """Sort key of the liquidation queue: worst first.

    Equity at or below zero comes before all else, by equity / maintenance margin
    ascending; above it the same quotient ascending is margin_ratio descending, so
    one exact fraction orders both. Ties go by account id, asset, symbol, leg.
    """
    if equity <= 0 and maintenance == 0:
        return (0, Fraction(0), account, asset, symbol, leg)
    if maintenance == 0:
        return (2, Fraction(0), account, asset, symbol, leg)
    return (1, Fraction(equity, maintenance), account, asset, symbol, leg)
