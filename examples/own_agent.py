"""An agent of one's own: does a buyer of last resort stop a cascade?

The buyer bids for a share of the calm depth a little below the index whenever the mark is
further below it than that. With paired seeds, the difference between runs with and without
it is its effect.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from engine import EngineError
from engine.batches import Packed, empty_commands
from engine.lab import Scenario, metrics
from engine.lab.agents import View, open_deep_pockets
from engine.lab.market import MARKS_PER_TICK
from engine.lab.summary import summarize
from engine.messages import Command, OrderType, Side, TimeInForce


class Backstop:
    """Bids in every symbol when the mark is `discount` below the index.

    Parameters
    ----------
    lots : array of float
        Lots of each order, by symbol.
    discount : float
    """

    latency_ns = 500_000_000

    def __init__(self, lots: np.ndarray, discount: float = 0.01) -> None:
        self._lots, self._discount = lots.astype(np.int64), discount
        self._accounts = 700_000_001 + np.arange(len(lots))
        self._next_id = 1

    def opening_commands(self) -> Iterator[Packed]:
        return open_deep_pockets(self._accounts, np.arange(len(self._lots)))

    def act(self, view: View) -> Packed | None:
        cheap = np.flatnonzero(
            (view.marks < view.index * (1 - self._discount)) & (self._lots > 0))
        if not len(cheap):
            return None
        orders = empty_commands(len(cheap))
        orders["cmd"], orders["account"], orders["symbol"] = (
            Command.ORDER, self._accounts[cheap], cheap)
        orders["order_id"], orders["side"] = self._next_id + np.arange(len(cheap)), Side.BUY
        orders["type"], orders["time_in_force"] = OrderType.LIMIT, TimeInForce.IOC
        orders["quantity"] = self._lots[cheap]
        limit = view.index[cheap] * (1 - self._discount / 2) / MARKS_PER_TICK
        orders["price"] = limit.astype(np.int64)
        self._next_id += len(cheap)
        return orders


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=8_000)
    options.add_argument("--seconds", type=int, default=900)
    options.add_argument("--seeds", type=int, default=6)
    chosen = options.parse_args()
    base = Scenario().replaced("population.accounts", chosen.accounts)
    base = base.replaced("duration_s", chosen.seconds)
    changes = []
    for seed in range(1, chosen.seeds + 1):
        scenario = base.replaced("seed", seed)
        plain = scenario.run(maps=False)
        helped = scenario.run(agents=[Backstop(plain.depth_lots * 0.1)], maps=False)
        one, two = summarize(plain), summarize(helped)
        changes.append([two[name] - one[name] for name in ("liquidated", "low", "by_adl")])
    for name, change in zip(("liquidated", "low", "by_adl"), np.array(changes).T, strict=True):
        mean, low, high = metrics.interval(change)
        print(f"{name:<12}{mean:>16,.4f}   95 %: {low:,.4f} to {high:,.4f}")


if __name__ == "__main__":
    try:
        main()
    except EngineError as error:
        raise SystemExit(f"error: {error}") from None
