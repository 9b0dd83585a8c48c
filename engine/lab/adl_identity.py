"""One deleveraging in the engine, read off its events: the identity of Chitra (2025).

A long pool goes bankrupt through a gap. A bidder at its bankruptcy price, far above the mark,
bears a part of what it owes, the deficit D, and the fund is empty. The rest, theta D, is closed
against shorts of one leverage, so that shares of wealth are shares of winnings. For the top
winner, with w1 of all winnings U,

    PTSR(pro rata) - PTSR(queue) = theta (1 - w1 / U)    while theta D <= w1,

PTSR being what he keeps per unit of the deficit: a queue is the worst that can happen to him.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from engine import Exchange
from engine.lab import metrics
from engine.lab.market import Floats

_SYMBOL, _LOSER = "X", 1
_ENTRY, _MARK, _BANKRUPTCY = 100, 90, 94
#: Margin of a short per unit: far from any margin call.
_WINNERS_MARGIN = 50
_QUEUE = {"adl_allocation": "rank", "adl_score": "size"}
_PRO_RATA = {"adl_allocation": "wealth"}


@dataclass(frozen=True)
class Outcome:
    """What a deleveraging did.

    Attributes
    ----------
    deficit : float
        What the bankrupt pool owed at the mark.
    winnings, haircuts : array of float
        Of each winner: profit at the mark, and what closing at the bankruptcy price cost.
    drift : str
    """

    deficit: float
    winnings: Floats
    haircuts: Floats
    drift: str

    @property
    def theta(self) -> float:
        """Share of the deficit that the winners paid."""
        return float(self.haircuts.sum()) / self.deficit

    def top_keeps(self) -> float:
        """Return PTSR of the winner with the largest winnings."""
        top = [int(np.argmax(self.winnings))]
        return metrics.ptsr(self.winnings[top], self.haircuts[top], self.deficit)


def deleverage(
    sizes: Sequence[int], bankrupt: int, bid_share: float, is_queue: bool
) -> Outcome:
    """Let a pool go bankrupt against winners.

    Parameters
    ----------
    sizes : sequence of int
        Quantity that each winner is short.
    bankrupt : int
        Quantity that the bankrupt pool is long.
    bid_share : float
        Of it, what the book takes at the bankruptcy price.
    is_queue : bool
        Winners are closed in turn, the largest first, or by shares of wealth.
    """
    exchange = Exchange()
    profile = {"close_policy": "full", **(_QUEUE if is_queue else _PRO_RATA)}
    tiers = [{"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.01",
              "max_leverage": "50"}]
    commands: list[dict[str, Any]] = [
        {"cmd": "asset", "asset": "USDT", "decimals": 6},
        {"cmd": "instrument", "symbol": _SYMBOL, "kind": "linear", "base": "X", "quote": "USDT",
         "settle": "USDT", "tick_size": "1", "lot_size": "0.001", "tiers": tiers,
         "profile": profile},
        {"cmd": "mark", "symbol": _SYMBOL, "mark_price": str(_ENTRY)},
        *_open(_LOSER, "buy", bankrupt, _ENTRY - _BANKRUPTCY)]
    for at, size in enumerate(sizes):
        commands += _open(_LOSER + 1 + at, "sell", size, _WINNERS_MARGIN)
    commands += _bid(_LOSER + 1 + len(sizes), round(bankrupt * bid_share, 3))
    commands.append({"cmd": "mark", "symbol": _SYMBOL, "mark_price": str(_MARK)})
    events = [event for command in commands for event in exchange.apply(command)]
    haircuts, deficit = np.zeros(len(sizes)), 0.0
    for event in events:
        if event["event"] == "liquidation_started":
            deficit -= float(event["equity"])
        elif event["event"] == "adl":
            cost = (Decimal(event["price"]) - _MARK) * Decimal(event["quantity"])
            haircuts[event["account"] - _LOSER - 1] += float(cost)
    drift = exchange.totals()["assets"]["USDT"]["drift"]
    winnings = np.array(sizes, np.float64) * (_ENTRY - _MARK)
    return Outcome(deficit, winnings, haircuts, drift)


def _open(account: int, side: str, quantity: int, margin: int) -> list[dict[str, Any]]:
    return [
        {"cmd": "account", "account": account},
        {"cmd": "deposit", "account": account, "asset": "USDT", "amount": str(quantity * margin)},
        {"cmd": "fill", "account": account, "symbol": _SYMBOL, "side": side,
         "quantity": str(quantity), "price": str(_ENTRY)}]


def _bid(account: int, quantity: float) -> list[dict[str, Any]]:
    if quantity <= 0:
        return []
    return [
        {"cmd": "account", "account": account},
        {"cmd": "deposit", "account": account, "asset": "USDT", "amount": "1000000"},
        {"cmd": "order", "account": account, "symbol": _SYMBOL, "order_id": 1, "side": "buy",
         "type": "limit", "quantity": f"{quantity:.3f}", "price": str(_BANKRUPTCY)}]


def compare(sizes: Sequence[int], bankrupt: int, bid_share: float) -> tuple[float, float]:
    """Return both sides of the identity: by events, and by the formula.

    Examples
    --------
    >>> by_events, by_formula = compare([60, 30, 10], 40, 0.25)
    >>> round(by_events, 3), round(by_formula, 3)
    (0.3, 0.3)
    """
    queue = deleverage(sizes, bankrupt, bid_share, True)
    spread = deleverage(sizes, bankrupt, bid_share, False)
    share = float(queue.winnings.max() / queue.winnings.sum())
    return spread.top_keeps() - queue.top_keeps(), queue.theta * (1 - share)
