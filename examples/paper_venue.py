"""A paper-trading venue: accounts, orders and liquidations as on a real one, in process.

`PaperVenue.call` answers requests as a REST gateway would hand them on: a method, a path and a
body in, a status and an object out. A feed sets the marks, and the house quotes around them.
Traders meet margin, fees, calls and liquidation, and no money is real. Here one buys all he
may at once, another a little at a time. Symbols may be spelled in any common way.

    python examples/paper_venue.py                      a generated crash
    python examples/paper_venue.py BTCUSDT-5m-….zip     recorded marks (docs/formats.md)
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import count
from typing import Any

from engine import EngineError, Exchange, InputError, Rejected
from engine.feeds import open_feed
from engine.listings import Spellings, load_instruments

#: As Binance's exchangeInfo has it; the file itself works as well.
LISTING = {"symbols": [{
    "symbol": "BTCUSDT", "contractType": "PERPETUAL", "status": "TRADING", "baseAsset": "BTC",
    "quoteAsset": "USDT", "marginAsset": "USDT", "liquidationFee": "0.0125", "quotePrecision": 8,
    "requiredMarginPercent": "2.0000", "maintMarginPercent": "1.0000", "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"}]}]}
HOUSE = 1
Answer = tuple[int, dict[str, Any]]


class PaperVenue:
    """Requests in, answers out; what else happens to an account is kept in `notices`."""

    def __init__(self) -> None:
        self.exchange = Exchange(keep_events=False)
        for command in load_instruments(LISTING, terms={"taker_fee": "0.0005"}):
            self.exchange.submit(command)
        self.names = Spellings.of(self.exchange)
        self.notices: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.exchange.subscribe(
            lambda event: self.notices[event["account"]].append(event),
            kinds=["margin_call", "liquidation_started", "liquidation_step",
                   "liquidation_finished", "margin_call_cleared"])
        self._accounts, self._orders = count(HOUSE), count(1)
        self.call("POST", "/accounts", deposit="1000000000")  # the house

    def call(self, method: str, path: str, **body: Any) -> Answer:
        """Answer one request; a refusal has Binance's code."""
        try:
            match [method, *path.strip("/").split("/")]:
                case ["POST", "accounts"]:
                    account = next(self._accounts)
                    self.exchange.open_account(account)
                    self.exchange.deposit(account, "USDT", body["deposit"])
                    return 201, {"account": account}
                case ["GET", "accounts", account]:
                    return 200, dict(self.exchange.account(int(account)))
                case ["POST", "accounts", account, "orders"]:
                    symbol = self.names.find(body.pop("symbol"))
                    ack = self.exchange.submit(int(account), symbol, next(self._orders), **body)
                    return 200, {"order": ack.order_id, "status": ack.state,
                                 "filled": ack.filled_quantity, "price": ack.average_price}
                case ["DELETE", "accounts", account, "orders"]:
                    self.exchange.cancel_all(account=int(account))
                    return 200, {}
                case ["GET", "book", symbol]:
                    return 200, dict(self.exchange.book(self.names.find(symbol), depth=5))
        except Rejected as refused:
            return 422, {"code": refused.code, "error": refused.reason, "detail": refused.detail}
        except (InputError, TypeError, KeyError, ValueError) as error:  # of the wrong shape
            return 400, {"error": str(error)}
        return 404, {"error": f"no {method} {path}"}

    def mark(self, ts: int, price: str) -> None:
        """Take a price: the house quotes around it (from the second on), then it is the mark."""
        instrument = self.exchange.instrument("BTCUSDT")
        mark = instrument.round_mark(price)
        self.call("DELETE", f"/accounts/{HOUSE}/orders")
        for ticks in (20, 50, 100, 200, 500):
            for side, sign in (("buy", -1), ("sell", 1)):
                quote = instrument.tick.text(instrument.tick.units(mark) + sign * ticks)
                self.call("POST", f"/accounts/{HOUSE}/orders", symbol="BTCUSDT", side=side,
                          type="limit", quantity="2", price=quote)
        self.exchange.mark("BTCUSDT", mark, ts=ts)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("feed", nargs="?", default="synthetic:steps=4000")
    venue = PaperVenue()
    bold, careful = (venue.call("POST", "/accounts", deposit="10000")[1]["account"]
                     for _ in range(2))
    buy = {"symbol": "BTC/USDT:USDT", "side": "buy", "type": "market"}
    steps = open_feed(options.parse_args().feed).steps()
    marks = ((ts, price) for ts, rows in steps for symbol, price, _ in rows if symbol == "BTCUSDT")
    for step, (ts, price) in enumerate(marks):
        venue.mark(ts, price)
        if step == 1:
            print(venue.call("POST", f"/accounts/{bold}/orders", quantity="100", **buy))
            print(venue.call("POST", f"/accounts/{bold}/orders", quantity="3", **buy))
        if step % 200 == 1:
            venue.call("POST", f"/accounts/{careful}/orders", quantity="0.01", **buy)
        for event in venue.notices.pop(bold, []):
            print(price, event["event"], event.get("outcome", event.get("filled", "")))
    for name, account in (("bold", bold), ("careful", careful)):
        status, found = venue.call("GET", f"/accounts/{account}")
        print(name, status, found["balances"], "equity", found["equity"],
              [(one["symbol"], one["quantity"]) for one in found["positions"]])
    print("drift", venue.exchange.totals()["assets"]["USDT"]["drift"])


if __name__ == "__main__":
    try:
        main()
    except EngineError as error:
        raise SystemExit(f"error: {error}") from None
