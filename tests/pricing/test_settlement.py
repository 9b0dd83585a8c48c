"""Commands of the price engine, applied to an exchange: money moves as they say, none is lost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from support.market import Desk
from support.pricing import HOUR, MIDNIGHT, Feed, config, of

from engine import Exchange
from engine.pricing import FundingRules, MarkRules, PremiumRules
from engine.pricing.scale import HOUR_NS, SECOND_NS


class Venue:
    """An exchange on the reference core, and a price engine that marks and settles it."""

    def __init__(self, **rules: Any) -> None:
        self.desk = Desk(Exchange(core="reference"))
        self.desk.symbol(mark=None, mark_tick="0.01")
        self.desk.account(1, 2, 3, deposit="1000000")
        mark = MarkRules(interval_ns=60 * SECOND_NS, basis_sample_ns=60 * SECOND_NS)
        funding = rules.pop("funding", FundingRules())
        self.feed = Feed(config(
            mark_tick="0.01", mark=mark, premium=PremiumRules(sample_ns=60 * SECOND_NS),
            funding=funding, impact_notional="1000", **rules))
        self.events: list[dict[str, Any]] = []

    def apply(self, commands: list[dict[str, Any]]) -> list[dict[str, Any]]:
        events = []
        for command in commands:
            events += self.desk.exchange.apply(command)
            totals = self.desk.exchange.query({"query": "totals"})
            assert totals["assets"]["USDT"]["drift"] == "0"
            assert not {event["event"] for event in events} & {"rejected"}
        self.events += events
        return events

    def until(self, second: int) -> list[dict[str, Any]]:
        return self.apply(self.feed.until(second))

    def trade(self, buyer: int, seller: int, quantity: int, price: int, number: int) -> None:
        for account, side, at in ((seller, "sell", 2 * number), (buyer, "buy", 2 * number + 1)):
            self.desk.must(
                "order", account=account, symbol="BTC", order_id=at, side=side, type="limit",
                quantity=str(quantity), price=str(price))

    def payments(self) -> dict[int, Decimal]:
        paid: dict[int, Decimal] = {}
        for event in self.events:
            if event["event"] == "funding_payment":
                account = event["account"]
                paid[account] = paid.get(account, Decimal(0)) + Decimal(event["amount"])
        return paid

    def rounding(self) -> Decimal:
        totals = self.desk.exchange.query({"query": "totals"})
        return Decimal(totals["assets"]["USDT"]["rounding"])


def venue_with_book(bid: str, ask: str, **rules: Any) -> Venue:
    """A market at an index of 100, marks running, accounts 1 long and 2 and 3 short."""
    venue = Venue(**rules)
    venue.apply(venue.feed.source(0, "100"))
    venue.until(0)
    venue.trade(1, 2, 70, 100, 1)
    venue.trade(1, 3, 33, 100, 2)
    venue.apply(venue.feed.book(1, [(bid, "1000")], [(ask, "1000")]))
    return venue


def test_a_premium_makes_longs_pay_shorts() -> None:
    venue = venue_with_book("101", "102")
    venue.until(8 * HOUR)
    [settled] = of(venue.feed.commands, "funding")
    assert settled["rate"] == "0.0095"
    # The median of 100 and 101.5. Account 1 owes 103 x 100.75 x 0.95 % = 98.583875, up.
    assert venue.feed.status().mark_price == "100.75"
    assert venue.payments() == {1: Decimal("-98.59"), 2: Decimal("66.99"), 3: Decimal("31.58")}
    assert venue.rounding() == Decimal("0.02")


def test_a_discount_makes_shorts_pay_longs() -> None:
    venue = venue_with_book("98", "99")
    venue.until(8 * HOUR)
    assert of(venue.feed.commands, "funding")[0]["rate"] == "-0.0095"
    paid = venue.payments()
    assert paid[1] > 0 > paid[2]
    assert paid[3] < 0
    assert sum(paid.values()) == -venue.rounding() <= 0


@pytest.mark.parametrize("hours", [1, 4, 8])
def test_a_day_of_settlements_leaves_no_drift(hours: int) -> None:
    venue = venue_with_book("101", "102", funding=FundingRules(interval_ns=hours * HOUR_NS))
    for hour in range(3, 25, 3):
        # Prices wander; each step is applied with its commands.
        venue.apply(venue.feed.source(hour * HOUR - 1, str(100 + hour % 7)))
        bid = 99 + hour % 5
        venue.apply(venue.feed.book(
            hour * HOUR - 1, [(str(bid), "1000")], [(str(bid + 1), "1000")]))
        venue.until(hour * HOUR)
    settled = [event for event in venue.events if event["event"] == "funding_payment"]
    assert len(settled) == 3 * 24 // hours
    assert sum(venue.payments().values()) == -venue.rounding() <= 0
    positions = venue.desk.exchange.query({"query": "totals"})["positions"]["BTC"]
    assert sum(Decimal(part) for part in positions.values()) == 0


def test_time_that_jumps_settles_each_boundary_once() -> None:
    venue = venue_with_book("101", "102")
    venue.apply(venue.feed.source(50 * HOUR, "100"))
    settled = [event for event in venue.events if event["event"] == "funding_payment"]
    assert [event["ts"] for event in settled] == [
        MIDNIGHT + hour * HOUR_NS for hour in (8, 16, 24, 32, 40, 48) for _ in range(3)]


def test_marks_move_what_accounts_are_worth() -> None:
    venue = venue_with_book("100", "101")
    venue.until(60)
    [position] = venue.desk.exchange.query(
        {"query": "position", "account": 1, "symbol": "BTC"})["positions"]
    assert position["mark_price"] == venue.feed.status().mark_price == "100.25"
