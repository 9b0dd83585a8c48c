"""The own book as pricing sees it: best prices, and the price of a trade of some size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from engine.errors import InputError
from engine.pricing.scale import PriceScale, exact
from engine.units import DecimalLike

#: Price in subticks, quantity in units of the symbol.
Level = tuple[int, Fraction]
LevelText = Sequence[DecimalLike]


def read_side(levels: Iterable[LevelText], scale: PriceScale, *, is_bid: bool) -> list[Level]:
    """Read one side of a book, best level first.

    Parameters
    ----------
    levels : iterable of (price, quantity)
        As a `book` query answers, or numbers of the same meaning.
    scale : PriceScale
    is_bid : bool

    Raises
    ------
    InputError
        A level that is no pair, a price or quantity that is not positive, or levels out of
        order.

    Rounding
        Prices to the nearest subtick; those on the mark tick are exact.
    """
    side: list[Level] = []
    for level in levels:
        if isinstance(level, str) or len(level) != 2:
            raise InputError(f"a level is (price, quantity), not {level!r}")
        price = scale.read(level[0], "price of a level")
        quantity = exact(level[1], "quantity of a level")
        if quantity <= 0:
            raise InputError(f"quantity of a level is not above zero: {level[1]}")
        if side and (price >= side[-1][0] if is_bid else price <= side[-1][0]):
            raise InputError(f"levels are not in order: {level[0]} is not behind the one before")
        side.append((price, quantity))
    return side


def impact_price(side: Sequence[Level], notional: Fraction, contract: Fraction, *,
                 is_inverse: bool = False) -> Fraction | None:
    """Return the average price of trading `notional` against one side of a book.

    Notional ÷ Σ base, where base is what each part of the notional buys at its level's price.

    Parameters
    ----------
    side : sequence of Level
        Best first.
    notional : Fraction, subticks × base
        Positive: an amount of quote ÷ the size of a subtick.
    contract : Fraction
        Base of one unit of quantity (linear), or its quote ÷ the size of a subtick (inverse).
    is_inverse : bool

    Returns
    -------
    Fraction or None, subticks
        Exact; None where the side is too thin.
    """
    left, base = notional, Fraction(0)
    for price, quantity in side:
        value = quantity * contract if is_inverse else quantity * contract * price
        taken = min(left, value)
        base += Fraction(taken, price)
        left -= taken
        if left == 0:
            return Fraction(notional, base)
    return None


@dataclass(frozen=True)
class ImpactTerms:
    """Notional and contract of a symbol in the units of `impact_price`."""

    notional: Fraction
    contract: Fraction
    is_inverse: bool

    @classmethod
    def of(cls, notional: Fraction, contract_size: Fraction, *, is_inverse: bool,
           scale: PriceScale) -> ImpactTerms:
        """Convert from quote (notional) and from the instrument's contract size."""
        contract = Fraction(contract_size, scale.subtick) if is_inverse else contract_size
        return cls(Fraction(notional, scale.subtick), contract, is_inverse)

    def price(self, side: Sequence[Level]) -> Fraction | None:
        """Return the impact price of one side in subticks, None where it is too thin."""
        return impact_price(side, self.notional, self.contract, is_inverse=self.is_inverse)


class BookView(NamedTuple):
    """What is kept of a snapshot of the own book.

    Attributes
    ----------
    ts_ns : int
    best_bid, best_ask : int or None, subticks
        None where the side is empty.
    impact_bid, impact_ask : Fraction or None, subticks
        Exact; None where the side is too thin.
    """

    ts_ns: int
    best_bid: int | None
    best_ask: int | None
    impact_bid: Fraction | None
    impact_ask: Fraction | None

    @classmethod
    def of(cls, ts_ns: int, bids: Sequence[Level], asks: Sequence[Level],
           terms: ImpactTerms) -> BookView:
        """Measure a snapshot. Complexity: O(levels walked)."""
        return cls(
            ts_ns, bids[0][0] if bids else None, asks[0][0] if asks else None,
            terms.price(bids), terms.price(asks))

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid reaches the best ask, as during an auction."""
        return (self.best_bid is not None and self.best_ask is not None
                and self.best_bid >= self.best_ask)

    @property
    def thin_sides(self) -> tuple[str, ...]:
        """Which sides cannot fill the impact notional."""
        sides = (("bid", self.impact_bid), ("ask", self.impact_ask))
        return tuple(name for name, price in sides if price is None)

    def double_mid(self, *, is_impact: bool) -> int | None:
        """Return bid + ask, best or impact prices; None where one is missing or they cross.

        Rounding
            Of impact prices: nearest subtick of the sum, ties to even.
        """
        if self.is_crossed:
            return None
        if is_impact:
            if self.impact_bid is None or self.impact_ask is None:
                return None
            return round(self.impact_bid + self.impact_ask)
        if self.best_bid is None or self.best_ask is None:
            return None
        return self.best_bid + self.best_ask
