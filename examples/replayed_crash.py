"""A crash, replayed: who was liquidated when, who took it over, and is it the same twice?

Marks of recorded files (or a generated crash) are played into an exchange that holds a drawn
population of leveraged accounts. Nobody else bids here, so the insurance fund takes over what
is liquidated while it can carry it; after that whoever was right pays, by auto-deleveraging.
Played again, a replay comes to the same state to the bit.

    python examples/replayed_crash.py
    python examples/replayed_crash.py binance-delivery_trades_2025-10-10_*USD_PERP.csv.gz \\
        --inverse --plan examples/crash_day.json

`engine replay --in-process` does the same in one line, faster and with a page.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from engine import EngineError, Exchange
from engine.coin_markets import coin_commands
from engine.demo.market import declare_markets, plan_markets
from engine.driver import MarkDriver
from engine.feeds import Feed, FeedSummary, open_feed, open_feeds, summarize
from engine.populations import Plan, draw_population, load_population, read_plan

SHOWN = {"margin_call": "called", "liquidation_started": "liquidated",
         "liquidation_takeover": "to fund", "adl": "deleveraged"}


def open_exchange(feed: FeedSummary, plan: Plan, fund: int, is_inverse: bool) -> Exchange:
    """Return an exchange with instruments that fit a feed, accounts, and an insurance fund."""
    exchange = Exchange()
    prices = feed.first_prices
    markets = coin_commands(prices) if is_inverse else declare_markets(plan_markets(prices, []))
    for command in markets:
        exchange.submit(command)
    exchange.apply_marks(
        [(symbol, exchange.instrument(symbol).round_mark(price), None, None)
         for symbol, price in prices.items()], ts=feed.first_ns)
    load_population(exchange, draw_population(exchange, plan))
    for asset in exchange.assets:
        exchange.fund_insurance(asset, fund)
    exchange.discard_events()
    return exchange


def play(exchange: Exchange, feeds: Sequence[Feed]) -> Iterator[tuple[int, Counter[str]]]:
    """Play feeds; yield each minute (ns) in which something happened, and how often what did."""
    driver = MarkDriver(exchange)
    minute, happened = 0, Counter[str]()
    for number, step in enumerate(open_feeds(feeds), start=1):
        if step[0] - step[0] % (60 * 10**9) != minute:
            if happened:
                yield minute, happened
            minute, happened = step[0] - step[0] % (60 * 10**9), Counter()
        driver.apply(number, step)
        happened.update(
            SHOWN[event["event"]] for event in exchange.drain() if event["event"] in SHOWN)
    if happened:
        yield minute, happened


def fund_worth(exchange: Exchange) -> str:
    """Return what the fund of each asset is worth: its balance, and its positions at the mark."""
    found = exchange.insurance()
    worth = {name: Decimal(one["balance"]) for name, one in found["assets"].items()}
    for one in found["positions"]:
        worth[exchange.instrument(one["symbol"]).settle.name] += Decimal(one["unrealized_pnl"])
    return ", ".join(f"{amount:,f} {name}" for name, amount in worth.items())


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("files", nargs="*", default=["synthetic:steps=4000"])
    options.add_argument("--accounts", type=int, default=5_000)
    options.add_argument("--plan", help="population, as docs/populations.md has it")
    options.add_argument("--fund", type=int, help="units of each settle asset")
    options.add_argument("--inverse", action="store_true", help="contracts that settle in coin")
    chosen = options.parse_args()
    feeds = [open_feed(file) for file in chosen.files]
    feed = summarize(open_feeds(feeds))
    plan = read_plan(chosen.plan) if chosen.plan else Plan.of(
        {"accounts": chosen.accounts, "leverage": "lognormal:10,0.6,2,50"})
    fund = 40 * plan.account_count if chosen.fund is None else chosen.fund

    hashes = []
    for attempt in (1, 2):
        exchange = open_exchange(feed, plan, fund, chosen.inverse)
        if attempt == 1:
            print(f"{'minute':<18}" + "".join(f"{name:>12}" for name in SHOWN.values()),
                  " the fund is worth")
        for minute, happened in play(exchange, feeds):
            if attempt == 1:
                at = datetime.fromtimestamp(minute // 10**9, UTC)
                print(f"{at:%Y-%m-%d %H:%M}  " + "".join(
                    f"{happened[name]:>12,}" for name in SHOWN.values()), "", fund_worth(exchange))
        hashes.append(exchange.state_hash())
    drifts = {asset["drift"] for asset in exchange.totals()["assets"].values()}
    print("drift", *drifts)
    print("the same state a second time:", hashes[0] == hashes[1])


if __name__ == "__main__":
    try:
        main()
    except EngineError as error:
        raise SystemExit(f"error: {error}") from None
