"""A risk monitor: accounts held elsewhere, watched against marks that come from outside.

The positions are executions of other venues (`fill`); nothing is traded here and nobody is
liquidated (`halt` with `no_liquidation`): the engine is the judge alone. Marks arrive over
ZeroMQ from whoever publishes them. Each account is called at three levels of its margin
ratio, with what is missing at that moment, and the call is taken back when it has recovered.

    python examples/risk_monitor.py                       publishes a generated crash to itself
    engine replay BTCUSDT-5m-….zip --bind tcp://127.0.0.1:5555 &
    python examples/risk_monitor.py tcp://127.0.0.1:5555  follows a feed that is there
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from decimal import Decimal
from typing import Any

from engine import Exchange
from engine.driver import MarkDriver
from engine.subscriber import MarkSubscriber

LEVELS = ["0.5", "0.8", "0.95"]
TIERS = [{"min_notional": "0", "max_notional": "1000000", "maintenance_margin_rate": "0.005",
          "max_leverage": "100"},
         {"min_notional": "1000000", "max_notional": None, "maintenance_margin_rate": "0.02",
          "max_leverage": "25"}]
#: Account, its deposit, and what it bought (or sold, below zero) where and at which price.
DESKS = [
    (11, "20000", [("BTCUSDT", "5", "60100"), ("ETHUSDT", "-80", "3010")]),  # hedged
    (12, "30000", [("BTCUSDT", "4", "59900")]),  # long with leverage
    (13, "9000", [("ETHUSDT", "-60", "2990"), ("SOLUSDT", "-200", "150.5")]),  # short
    (14, "90000", [("BTCUSDT", "2", "60000"), ("SOLUSDT", "1000", "149")]),  # long with care
]


class Monitor:
    """Takes steps of marks; says who has to act, and how much it takes."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.do("asset", asset="USDT", decimals=6)
        for symbol, tick in (("BTCUSDT", "0.1"), ("ETHUSDT", "0.01"), ("SOLUSDT", "0.001")):
            self.do("instrument", symbol=symbol, kind="linear", base=symbol[:3], quote="USDT",
                    settle="USDT", tick_size=tick, lot_size="0.001", tiers=TIERS)
            self.do("halt", symbol=symbol, mode="no_liquidation")
        self._driver = MarkDriver(self.exchange)

    def open_positions(self) -> None:
        """Report what was executed elsewhere; that takes a mark of each symbol."""
        for account, deposit, fills in DESKS:
            self.do("account", account=account, margin_call_levels=LEVELS)
            self.do("deposit", account=account, asset="USDT", amount=deposit)
            for symbol, quantity, price in fills:
                self.do("fill", account=account, symbol=symbol, price=price,
                        side="sell" if quantity.startswith("-") else "buy",
                        quantity=quantity.removeprefix("-"))

    def do(self, command: str, **fields: Any) -> None:
        for event in self.exchange.apply({"cmd": command, **fields}):
            assert event["event"] != "rejected", event

    def take(self, number: int, step: tuple[int, list[Any]]) -> None:
        """Apply the marks of one step, and print the calls that come of it."""
        self._driver.apply(number, step)
        if number == 1:
            self.open_positions()
        for event in self.exchange.drain():
            if event["event"] == "margin_call":
                print(f"step {number}: account {event['account']} reached {event['level']}: "
                      f"{self.what_it_takes(event['account'])}")
            elif event["event"] == "margin_call_cleared":
                print(f"step {number}: account {event['account']} is back under {event['level']}")

    def what_it_takes(self, account: int) -> str:
        """Say what would bring an account back to half of its maintenance margin."""
        found = self.exchange.query({"query": "account", "account": account})
        wanted = 2 * Decimal(found["maintenance_margin"]) - Decimal(found["equity"])
        largest = max(found["positions"], key=lambda one: Decimal(one["notional"]))
        return (f"equity {found['equity']}, margin ratio {found['margin_ratio'] or 'beyond 1'}; "
                f"deposit {wanted} USDT, or reduce {largest['symbol']} {largest['quantity']} "
                f"(mark {largest['mark_price']}, liquidation {largest['liquidation_price']})")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("endpoint", nargs="?", help="of a running `engine replay`")
    options.add_argument("--steps", type=int, default=4_000, help="of the crash published here")
    chosen = options.parse_args()
    monitor, publisher = Monitor(), None
    with tempfile.TemporaryDirectory() as folder:
        endpoint = chosen.endpoint or f"ipc://{folder}/marks"
        with MarkSubscriber(endpoint, report=print) as feed:
            if chosen.endpoint is None:
                publisher = subprocess.Popen(
                    [sys.executable, "-m", "engine", "replay", f"synthetic:steps={chosen.steps}",
                     "--bind", endpoint, "--speed", "max"], stdout=subprocess.DEVNULL)
            for number, step in feed.steps():
                monitor.take(number, step)
        if publisher is not None:
            publisher.wait()
    print("the feed arrived whole:", feed.health.is_complete)
    print("drift", monitor.exchange.totals()["assets"]["USDT"]["drift"])


if __name__ == "__main__":
    main()
