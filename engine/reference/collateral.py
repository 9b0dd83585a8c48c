"""What an asset counts for as collateral: pure numbers, one object an asset."""

from __future__ import annotations

from dataclasses import dataclass

from engine.messages import MONEY_MAX, NONE, RATE_SCALE
from engine.reference.margin import ceil_div, floor_div

#: Most that all collateral of one value asset may be worth together, at full price.
COLLATERAL_MAX = MONEY_MAX // 2
#: Decimals of weights.
RATE_DECIMALS = 8


@dataclass
class Collateral:
    """An asset that counts in the pools of another."""

    value_asset: int
    exponent: int  # a minor unit is worth price / 10^exponent minor units of the value asset
    tiers: tuple[tuple[int, int], ...]  # (amount up to which, weight), ascending
    threshold: int  # debt beyond which it is converted with positions open, NONE: never
    fee: int  # of what a conversion brings
    price: int = NONE  # of one whole unit, in 1e-8 of the value asset

    def weighted(self, amount: int) -> int:
        """An amount at its marginal weights, in 1e-8 minor units."""
        total = low = 0
        for high, weight in self.tiers:
            total += max(0, min(amount, high) - low) * weight
            low = high
        return total

    def worth(self, weighted: int) -> int:
        """What a weighted amount is worth in the value asset, rounded down."""
        power = self.exponent + RATE_DECIMALS
        return floor_div(weighted * self.price * 10 ** max(0, -power), 10 ** max(0, power))

    def value(self, amount: int) -> int:
        """What an amount counts for; nothing before there is a price."""
        return 0 if self.price == NONE else self.worth(self.weighted(amount))

    def gross(self, amount: int) -> int:
        """What an amount is worth at full price."""
        return 0 if self.price == NONE else self.worth(amount * RATE_SCALE)

    def net(self, amount: int) -> int:
        """What converting an amount brings: at full price less the fee."""
        return self.worth(amount * (RATE_SCALE - self.fee))

    def needed(self, debt: int) -> int:
        """The least amount whose conversion brings a debt, rounded up."""
        power = self.exponent + RATE_DECIMALS
        return ceil_div(
            debt * 10 ** max(0, power),
            (RATE_SCALE - self.fee) * self.price * 10 ** max(0, -power))

    def spare(self, amount: int, value: int) -> int:
        """How much of an amount can go without its value falling by more than `value`."""
        least = self.value(amount) - value
        low, high = 0, amount  # the least amount that must stay lies between
        while low < high:
            middle = (low + high) // 2
            if self.value(middle) >= least:
                high = middle
            else:
                low = middle + 1
        return amount - low
