"""Rankings of thousands of holders: who is deleveraged, step by step, as a plain sort says."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from support.market import STEEP_TIERS, Desk, audit

from engine import Exchange
from engine.messages import AdlScore
from engine.reference.policy import adl_score

#: More than a ranking puts into its heap at once.
HOLDERS, VICTIMS = 2600, 50
AFTER = 95


@dataclass
class Short:
    """A short by itself in its account; money in cents."""

    account: int
    lots: int
    entry: int  # price
    wallet: int

    def score(self, kind: AdlScore) -> int:
        profit = self.lots * (self.entry - AFTER) * 100
        return adl_score(
            kind, profit, -self.lots * self.entry * 100, self.lots * AFTER * 100,
            self.wallet + profit, self.lots)

    def close(self, lots: int, price: int) -> None:
        self.lots -= lots
        self.wallet += lots * (self.entry - price) * 100


def market(kind: AdlScore, draw: random.Random) -> tuple[Desk, dict[int, Short]]:
    """Longs with nothing left at `AFTER`, against shorts with much; no bids, and no fund."""
    desk = Desk(Exchange())
    desk.symbol(tiers=list(STEEP_TIERS), profile={"adl_score": kind.name.lower()})
    shorts = {}
    for account in range(100, 100 + HOLDERS):
        short = Short(account, draw.randint(1, 9), draw.choice((90, 98, 100, 103)),
                      draw.choice((90_000, 100_000, draw.randint(90_000, 200_000))))
        desk.account(account, deposit=f"{short.wallet // 100}.{short.wallet % 100:02d}")
        desk.must("fill", account=account, symbol="BTC", side="sell",
                  quantity=str(short.lots), price=str(short.entry))
        shorts[account] = short
    for account in range(1, 1 + VICTIMS):
        lots = draw.randint(5, 90)
        desk.account(account, deposit=str(lots * 5 + draw.randint(0, 9)))
        desk.must("fill", account=account, symbol="BTC", side="buy", quantity=str(lots),
                  price="100")
    return desk, shorts


@pytest.mark.parametrize("kind", AdlScore)
def test_each_step_closes_the_first_of_all_who_are_left(kind: AdlScore) -> None:
    desk, shorts = market(kind, random.Random(int(kind)))
    events = desk.mark(AFTER)
    ranking: list[Short] = []
    place = closed = 0
    for event in events:
        if event["event"] == "liquidation_step":
            left = [short for short in shorts.values() if short.lots]
            ranking = sorted(left, key=lambda each: (-each.score(kind), each.account))
            place = 0
        if event["event"] == "adl":
            short = ranking[place]
            assert event["account"] == short.account and event["rank"] == place + 1, event
            assert int(event["quantity"]) <= short.lots
            short.close(int(event["quantity"]), int(event["price"]))
            closed += 1
            place += 1
    assert closed > VICTIMS
    audit(desk.exchange)
