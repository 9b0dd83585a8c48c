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
from typing import Any

from engine import EngineError, Exchange, Tier
from engine.driver import MarkDriver
from engine.subscriber import MarkSubscriber

LEVELS = ["0.5", "0.8", "0.95"]
TIERS = [Tier(0, 1_000_000, "0.005", 100), Tier(1_000_000, None, "0.02", 25)]
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
        self.exchange = exchange = Exchange(keep_events=False)  # heard as they come, not kept
        exchange.add_asset("USDT", decimals=6)
        for symbol, tick in (("BTCUSDT", "0.1"), ("ETHUSDT", "0.01"), ("SOLUSDT", "0.001")):
            exchange.add_instrument(
                symbol, settle="USDT", tick_size=tick, lot_size="0.001", tiers=TIERS)
            exchange.halt(symbol, "no_liquidation")
        self._driver = MarkDriver(exchange)
        self._step = 0
        exchange.subscribe(self.tell, kinds=["margin_call", "margin_call_cleared"])

    def open_positions(self) -> None:
        """Report what was executed elsewhere; that takes a mark of each symbol."""
        for account, deposit, fills in DESKS:
            self.exchange.open_account(account, margin_call_levels=LEVELS)
            self.exchange.deposit(account, "USDT", deposit)
            for symbol, quantity, price in fills:
                self.exchange.fill(account, symbol, "sell" if quantity[0] == "-" else "buy",
                                   quantity.removeprefix("-"), price)

    def take(self, number: int, step: tuple[int, list[Any]]) -> None:
        """Apply the marks of one step, whole; calls that come of it are told at once."""
        self._step = number
        self._driver.apply(number, step)
        if number == 1:
            self.open_positions()

    def tell(self, event: dict[str, Any]) -> None:
        """Say whom an event is about, where he stands, and what would end the call."""
        text = f"step {self._step}: account {event['account']} "
        if event["event"] == "margin_call_cleared":
            print(text + f"is back under {event['level']}")
            return
        symbol = event["symbol_to_close"]
        [position] = self.exchange.position(event["account"], symbol)["positions"]
        print(text + f"reached {event['level']}: equity {event['equity']}, maintenance margin "
              f"{event['maintenance_margin']}; needs {event['collateral_needed']} USDT more, or "
              f"{event['quantity_to_close']} {symbol} closed, at {position['mark_price']} "
              f"(liquidation price {position['liquidation_price']})")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    try:
        main()
    except EngineError as error:
        raise SystemExit(f"error: {error}") from None
