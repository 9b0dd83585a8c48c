"""Margin arithmetic once more, from the rules' text and the exchange's own answers.

It shares no code with either core. Amounts are in minor units, rates in 1e-8; prices are
found by trying every mark, one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from engine import Exchange

#: Marks are tried up to this one.
MARKS_MAX = 1000
SCALE = 10**8


def whole(text: str, unit: Fraction) -> int:
    """Return a decimal as a whole number of units."""
    number = Fraction(text) / unit
    assert number.denominator == 1, f"{text} is not a multiple of {unit}"
    return int(number)


def divide_up(numerator: int, denominator: int) -> int:
    quotient, rest = divmod(numerator, denominator)
    return quotient + (1 if rest else 0)


@dataclass(frozen=True)
class Market:
    """What an instrument's terms and tiers say."""

    minor: Fraction
    unit: Fraction  # minor units that a quantity of 1 is worth at a price of one mark tick
    is_inverse: bool
    mark_tick: Fraction
    is_whole: bool
    tiers: tuple[tuple[int, int | None, int, int], ...]  # low, cap, rate, leverage
    initial_multiplier: Fraction
    closing_fee: int  # rate that every margin reserves for its close

    @classmethod
    def of(cls, exchange: Exchange, symbol: str) -> Market:
        terms = exchange.query({"query": "instrument", "symbol": symbol})
        rows = exchange.query({"query": "tiers", "symbol": symbol})["tiers"]
        minor = Fraction(1, 10 ** exchange.instrument(symbol).settle.decimals)
        mark_tick, rate = Fraction(terms["mark_tick"]), Fraction(1, SCALE)
        is_inverse = terms["kind"] == "inverse"
        scale = 1 / mark_tick if is_inverse else mark_tick
        return cls(
            minor, Fraction(terms["contract_size"]) * scale / minor, is_inverse, mark_tick,
            terms["tier_rule"] == "whole",
            tuple((whole(row["min_notional"], minor),
                   None if row["max_notional"] is None else whole(row["max_notional"], minor),
                   whole(row["maintenance_margin_rate"], rate),
                   whole(row["max_leverage"], rate)) for row in rows),
            Fraction(terms["initial_multiplier"]),
            max(0, whole(terms["taker_fee"], rate)) if terms["profile"]["closing_fee_reserve"]
            else 0)

    def multiplied(self, text: str) -> Market:
        """The same for an account whose requirements are multiplied once more."""
        multiplier, most = Fraction(text), SCALE - self.closing_fee
        tiers = []
        for low, cap, rate, leverage in self.tiers:
            scaled = rate * multiplier
            own = min(most, divide_up(scaled.numerator, scaled.denominator))
            tiers.append((low, cap, own, min(leverage, SCALE**2 // own) if own else leverage))
        initial = self.initial_multiplier * multiplier * SCALE
        return replace(
            self, tiers=tuple(tiers),
            initial_multiplier=Fraction(divide_up(initial.numerator, initial.denominator), SCALE))

    def worth(self, quantity: Fraction, mark: int) -> Fraction:
        """What so much is worth at a mark, not rounded yet."""
        return abs(quantity) * self.unit / mark if self.is_inverse else (
            abs(quantity) * self.unit * mark)

    def notional(self, quantity: Fraction, mark: int) -> int:
        worth = self.worth(quantity, mark)
        return divide_up(worth.numerator, worth.denominator)

    def value(self, quantity: Fraction, mark: int) -> int:
        """Toward zero; an inverse long owes, an inverse short owns."""
        worth = self.worth(quantity, mark)
        assert self.is_inverse or worth.denominator == 1, worth
        size = int(worth)
        return size if (quantity > 0) != self.is_inverse else -size

    def tier(self, notional: int) -> int:
        """Number of the tier, from 1: min < notional <= max, the last one beyond its cap."""
        for number, (_, cap, _, _) in enumerate(self.tiers, start=1):
            if cap is None or notional <= cap:
                return number
        return len(self.tiers)

    def maintenance(self, notional: int, number: int | None = None) -> int:
        """Whole: the tier's rate on everything. Marginal: each slice at its own tier's rate.

        What a close costs comes on top, for all of it.
        """
        number = self.tier(notional) if number is None else number
        if self.is_whole:
            return divide_up(notional * (self.tiers[number - 1][2] + self.closing_fee), SCALE)
        total = notional * self.closing_fee
        for each, (low, cap, rate, _) in enumerate(self.tiers[:number], start=1):
            top = notional if each == number else cap
            assert top is not None
            total += (top - low) * rate
        return divide_up(total, SCALE)

    def initial(self, notional: int, leverage: int) -> int:
        allowed = self.tiers[self.tier(notional) - 1][3]
        scaled = notional * self.initial_multiplier * SCALE
        margin = divide_up(scaled.numerator, scaled.denominator * min(leverage, allowed))
        return min(2**62, margin + divide_up(notional * self.closing_fee, SCALE))


def verify_multipliers(exchange: Exchange) -> None:
    """Assert that every tier in force is its declared one, scaled."""
    for symbol in exchange.symbols:
        reply = exchange.query({"query": "tiers", "symbol": symbol})
        multiplier = Fraction(reply["maintenance_multiplier"])
        for row in reply["tiers"]:
            exact = Fraction(row["base_maintenance_margin_rate"]) * multiplier
            rate, leverage = (
                Fraction(row[name]) for name in ("maintenance_margin_rate", "max_leverage"))
            assert 0 <= rate - exact < Fraction(1, SCALE) and rate <= 1, row
            assert rate * leverage <= 1 <= leverage <= Fraction(row["base_max_leverage"]), row
            if leverage < Fraction(row["base_max_leverage"]):
                assert rate * (leverage + Fraction(1, SCALE)) > 1, row


def verify_auctions(exchange: Exchange) -> None:
    """Assert what every symbol's auction would do now, by trying each price of its book."""
    for symbol in exchange.symbols:
        told = exchange.query({"query": "auction", "symbol": symbol})
        book = exchange.query({"query": "book", "symbol": symbol, "l3": True})
        tick = Fraction(exchange.query({"query": "instrument", "symbol": symbol})["tick_size"])
        bids, asks = ([(whole(price, tick), sum(Fraction(order[3]) for order in orders))
                       for price, orders in book[side]] for side in ("bids", "asks"))
        if not bids or not asks or bids[0][0] < asks[0][0]:
            assert told["indicative_price"] is None, told
            continue
        reference = whole(told["reference_price"], tick)
        found = []
        for price in range(asks[0][0], bids[0][0] + 1):
            bought = sum(lots for limit, lots in bids if limit >= price)
            sold = sum(lots for limit, lots in asks if limit <= price)
            found.append((-min(bought, sold), abs(bought - sold), abs(price - reference), price,
                          bought - sold))
        lots, _, _, price, imbalance = min(found)
        assert [-lots, price, imbalance] == [
            Fraction(told["indicative_quantity"]), whole(told["indicative_price"], tick),
            Fraction(told["imbalance"])], told


def verify(exchange: Exchange, account: int) -> int:
    """Assert an account's figures and prices; return how many positions were looked at."""
    reply = exchange.query({"query": "account", "account": account})
    sums: dict[str, dict[str, Fraction]] = {}
    for position in reply["positions"]:
        settle = exchange.instrument(position["symbol"]).settle.name
        own = verify_position(exchange, position, reply["margin_multiplier"])
        if position["margin_mode"] == "cross":
            pool = sums.setdefault(settle, dict.fromkeys(own, Fraction(0)))
            for name in own:
                pool[name] += Fraction(position[name])
    for asset, figures in reply["assets"].items():
        verify_pool(figures, sums.get(asset, {}))
        counted = collateral_of(exchange, reply["balances"], asset)
        assert Fraction(figures["collateral"]) == counted, (asset, counted, figures)
    for position in reply["positions"]:
        verify_prices(exchange, position, reply, ruling(exchange, reply, position))
    return len(reply["positions"])


def collateral_of(exchange: Exchange, balances: dict[str, str], asset: str) -> Fraction:
    """Return what other wallets count for in a pool: each down to the minor unit."""
    minor = Fraction(1, 10 ** next(
        each.decimals for each in exchange.assets_by_index if each.name == asset))
    total = Fraction(0)
    for name, balance in balances.items():
        terms = exchange.query({"query": "collateral", "asset": name})
        if "reply" not in terms or terms["value_asset"] != asset or terms["price"] is None:
            continue
        low = worth = Fraction(0)
        for tier in terms["tiers"]:
            most = Fraction(balance) if tier["max_amount"] is None else Fraction(tier["max_amount"])
            high = min(Fraction(balance), most)
            worth += max(Fraction(0), high - low) * Fraction(tier["weight"])
            low = most
        total += worth * Fraction(terms["price"]) // minor * minor
    return total


def ruling(
    exchange: Exchange, reply: dict[str, Any], position: dict[str, Any]
) -> dict[str, Any]:
    """Return the profile that rules a position's pool: that of its largest requirement."""
    settle = exchange.instrument(position["symbol"]).settle
    pool = [position] if position["margin_mode"] == "isolated" else [
        other for other in reply["positions"]
        if other["margin_mode"] == "cross"
        and exchange.instrument(other["symbol"]).settle is settle]
    largest = max(pool, key=lambda other: Fraction(other["maintenance_margin"]))
    terms = exchange.query({"query": "instrument", "symbol": largest["symbol"]})
    return dict(terms["profile"])


def verify_pool(figures: dict[str, Any], sums: dict[str, Fraction]) -> None:
    """Assert the figures of a cross pool against the sums over its positions."""
    have = {name: Fraction(value) for name, value in figures.items() if value is not None}
    for name in ("unrealized_pnl", "initial_margin", "maintenance_margin"):
        assert have[name] == sums.get(name, 0), (name, figures)
    assert have["equity"] == (
        have["wallet"] + have["collateral"] + have["unrealized_pnl"]), figures
    free = have["equity"] - have["initial_margin"] - have["order_margin"]
    assert have["available_margin"] == max(0, free), figures
    assert have["order_margin"] >= 0, figures
    assert have["maintenance_margin"] <= have["initial_margin"], figures
    if have["equity"] > 0:
        shown = have["margin_ratio"] * have["equity"] - have["maintenance_margin"]
        assert 0 <= shown < have["equity"] / SCALE, figures
    elif sums:
        assert figures["margin_ratio"] is None, figures


def verify_position(
    exchange: Exchange, position: dict[str, Any], multiplier: str
) -> dict[str, int]:
    """Assert a position's figures; return them."""
    market = Market.of(exchange, position["symbol"]).multiplied(multiplier)
    quantity = Fraction(position["quantity"])
    mark = whole(position["mark_price"], market.mark_tick)
    notional = market.notional(quantity, mark)
    expected = {
        "notional": notional,
        "unrealized_pnl": (
            market.value(quantity, mark) - whole(position["entry_value"], market.minor)),
        "initial_margin": market.initial(
            notional, whole(position["leverage"], Fraction(1, SCALE))),
        "maintenance_margin": market.maintenance(notional),
    }
    for name, wanted in expected.items():
        assert whole(position[name], market.minor) == wanted, (name, wanted, position)
    assert position["tier"] == market.tier(notional), position
    return expected


def verify_prices(
    exchange: Exchange, position: dict[str, Any], account: dict[str, Any],
    profile: dict[str, Any],
) -> None:
    """Assert the liquidation price by trying all marks, and what the bankruptcy price promises.

    A mark moves the other leg of the symbol along, a close at some price does not.
    """
    market = Market.of(exchange, position["symbol"]).multiplied(account["margin_multiplier"])
    mark = whole(position["mark_price"], market.mark_tick)
    quantity = Fraction(position["quantity"])
    is_long = quantity > 0
    equity, others = pool_of(exchange, position, account["assets"], market.minor)
    legs = [quantity]
    for other in account["positions"]:
        if (other["symbol"], other["margin_mode"]) == (position["symbol"], "cross") and (
                other["position_side"] != position["position_side"]):
            legs.append(Fraction(other["quantity"]))
            others -= whole(other["maintenance_margin"], market.minor)

    def equity_at(price: int) -> int:
        return equity + market.value(quantity, price) - market.value(quantity, mark)

    spare = 1 if profile["liquidate_at"] == "equity_below_maintenance" else 0

    def is_due(price: int) -> bool:
        moved = sum(market.value(leg, price) - market.value(leg, mark) for leg in legs)
        needed = sum(market.maintenance(market.notional(leg, price)) for leg in legs)
        return equity + moved + spare <= others + needed

    def may_be_due(price: int) -> bool:
        # Value down and notional up are one apart, but where the division comes out even.
        tier = market.tier(market.notional(quantity, price))
        larger = int(market.worth(quantity, price)) + 1
        return equity_at(price) + spare <= others + market.maintenance(larger, tier)

    is_ragged = market.is_inverse and not is_long and len(legs) == 1
    found = scan(is_due, mark, up=not is_long, may_be_due=may_be_due if is_ragged else is_due)
    reported = position["liquidation_price"]
    at = None if reported is None else whole(reported, market.mark_tick)
    if found is None and at is not None:  # then it lies beyond what was tried
        assert at > MARKS_MAX, position
        assert is_due(at), position
    else:
        assert at == found, (found, position)

    spent, one = position["bankruptcy_price"], 1 if is_long else -1
    if spent is not None:
        price = whole(spent, market.mark_tick)
        assert equity_at(price) >= 0, position
        assert price == one or equity_at(price - one) < 0, position
    elif market.is_inverse and is_long:
        assert equity_at(10**30) < 0, position  # no price is high enough
    elif market.is_inverse:
        assert equity_at(10**30) >= 0 or equity_at(1) < 0, position
    elif is_long:
        assert equity_at(0) >= 0, position  # even at nothing it would not be bankrupt
    else:
        assert equity_at(1) < 0, position  # no price above zero is low enough


def pool_of(
    exchange: Exchange, position: dict[str, Any], assets: dict[str, dict[str, Any]],
    minor: Fraction,
) -> tuple[int, int]:
    """Equity of the position's pool, and maintenance margin of the other positions in it."""
    if position["margin_mode"] == "isolated":
        return (whole(position["isolated_margin"], minor)
                + whole(position["unrealized_pnl"], minor)), 0
    pool = assets[exchange.instrument(position["symbol"]).settle.name]
    return whole(pool["equity"], minor), (
        whole(pool["maintenance_margin"], minor) - whole(position["maintenance_margin"], minor))


def scan(
    is_due: Callable[[int], bool], mark: int, *, up: bool, may_be_due: Callable[[int], bool]
) -> int | None:
    """Try marks one by one: away from safety, or back toward it where the pool is due now.

    Returns the first mark that is due, coming from the safe side.
    """
    if not is_due(mark):
        marks = range(mark, MARKS_MAX + 1) if up else range(mark, 0, -1)
        return next((each for each in marks if is_due(each)), None)
    marks = range(mark, 0, -1) if up else range(mark, 20 * MARKS_MAX)
    safe = next((each for each in marks if not may_be_due(each)), None)
    if safe is None:
        return None
    back = range(safe, mark + 1) if up else range(safe, mark - 1, -1)
    return next(each for each in back if is_due(each))
