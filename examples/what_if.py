"""A what-if server: what would happen if the mark fell by 10 %, without anything happening.

One exchange holds the accounts. Each question is put to a fork of it, a copy that goes its own
way: marks move there, liquidations run through the copy's books, its fund and
auto-deleveraging, and the answer says what came of it. The original's state hash stays.

    python examples/what_if.py                 asks a few questions, and ends
    python examples/what_if.py --port 8000     serves until it is interrupted
    $ curl '127.0.0.1:8000/what-if?BTCUSDT=-0.10&ETHUSDT=-0.15'
"""

from __future__ import annotations

import argparse
import json
import threading
from collections import Counter
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

from engine import Exchange, Mark
from engine.demo.market import declare_markets, plan_markets
from engine.populations import Plan, draw_population, load_population
from engine.units import is_decimal

PRICES = {"BTCUSDT": "60000", "ETHUSDT": "3000"}
MAKER = 1_000_000


def open_market(accounts: int) -> Exchange:
    """Return an exchange with a book on both symbols and many leveraged accounts."""
    exchange = Exchange()
    for command in declare_markets(plan_markets(PRICES, [])):
        exchange.submit(command)
    exchange.marks(Mark(symbol, price) for symbol, price in PRICES.items())
    load_population(exchange, draw_population(exchange, Plan.of(
        {"accounts": accounts, "leverage": "lognormal:12,0.6,2,100", "long_share": 0.6})))
    exchange.fund_insurance("USDT", 50 * accounts)
    exchange.open_account(MAKER)
    exchange.deposit(MAKER, "USDT", 10**12)
    number = count(1)
    for symbol, price in PRICES.items():
        exchange.set_leverage(MAKER, symbol, 1)
        for percent in (*range(60, 100), *range(101, 141)):  # of the mark: bids below, asks above
            exchange.submit(MAKER, symbol, next(number), "buy" if percent < 100 else "sell",
                            "limit", max(1, 100 * accounts // int(price)),
                            int(price) * percent // 100)
    exchange.discard_events()
    return exchange


def what_if(exchange: Exchange, moves: dict[str, str]) -> dict[str, Any]:
    """Return what moves of the marks (`{"BTCUSDT": "-0.10"}`) would lead to."""
    twin = exchange.fork()
    marks = {
        symbol: twin.instrument(symbol).round_mark(Decimal(PRICES[symbol]) * (1 + Decimal(move)))
        for symbol, move in moves.items()}
    events = twin.marks(Mark(*mark) for mark in marks.items()).events
    kinds = Counter(event["event"] for event in events)
    before, after = (each.insurance()["assets"]["USDT"]["balance"] for each in (exchange, twin))
    return {
        "marks": marks,
        "margin_calls": kinds["margin_call"], "liquidated": kinds["liquidation_started"],
        "closed_on_the_book": str(sum(Decimal(event["filled_value"]) for event in events
                                      if event["event"] == "liquidation_step")),
        "taken_over_by_the_fund": kinds["liquidation_takeover"], "deleveraged": kinds["adl"],
        "fund": {"before": before, "after": after},
        "drift": twin.totals()["assets"]["USDT"]["drift"],
    }


def make_server(exchange: Exchange, port: int) -> HTTPServer:
    """Return a server of questions; one at a time, so that the exchange has one thread."""
    class Questions(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            moves = dict(parse_qsl(url.query))
            if url.path != "/what-if" or not moves or not moves.keys() <= PRICES.keys():
                self.reply(404, {"error": f"ask /what-if?SYMBOL=MOVE, of {', '.join(PRICES)}"})
            elif not all(is_decimal(move) and -1 < Decimal(move) <= 1 for move in moves.values()):
                self.reply(400, {"error": "a move is above -1 and at most 1, as -0.10"})
            else:
                self.reply(200, what_if(exchange, moves))

        def reply(self, code: int, answer: dict[str, Any]) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer, indent=2).encode() + b"\n")

        def log_message(self, *_: object) -> None:
            pass

    return HTTPServer(("127.0.0.1", port), Questions)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--accounts", type=int, default=20_000)
    options.add_argument("--port", type=int, default=0)
    chosen = options.parse_args()
    if not 0 <= chosen.port < 2**16:
        options.error("--port: from 0 to 65535")
    exchange = open_market(chosen.accounts)
    before = exchange.state_hash()
    with make_server(exchange, chosen.port) as server:
        if chosen.port:
            server.serve_forever()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for query in ("BTCUSDT=-0.02", "BTCUSDT=-0.10", "BTCUSDT=-0.10&ETHUSDT=-0.15"):
            with urlopen(f"http://127.0.0.1:{server.server_port}/what-if?{query}") as answer:
                print(query, answer.read().decode())
        server.shutdown()
    print("the original has not changed:", exchange.state_hash() == before)


if __name__ == "__main__":
    main()
