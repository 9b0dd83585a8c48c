"""A follower that only hears events: what it knows must be what the exchange answers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from engine import Exchange

Event = dict[str, Any]


class Mirror:
    """Wallets, positions, orders, books, marks and fund, rebuilt from the event stream alone."""

    def __init__(self) -> None:
        self.wallets: dict[tuple[int, str], str] = {}
        self.positions: dict[tuple[int, str], tuple[str, str, str]] = {}
        self.orders: dict[tuple[int, str, int], Event] = {}
        self.marks: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self.halts: dict[str, str | None] = {}
        self.funds: dict[str, str] = {}
        self.updated: set[tuple[int, str, int]] = set()

    def observe(self, events: list[Event]) -> None:
        """Follow the events of one command."""
        touched: set[tuple[int, str, int]] = set()
        self.updated.clear()
        for event in events:
            kind = event["event"]
            handler = getattr(self, f"on_{kind}", None)
            if handler is not None:
                handler(event)
            if kind in ("order_accepted", "order_amended"):
                touched.add(_key(event))
            elif kind == "trade":
                touched |= {(event[f"{role}_account"], event["symbol"], event[f"{role}_order_id"])
                            for role in ("maker", "taker") if event[f"{role}_order_id"]}
        missing = touched - self.updated
        assert not missing, f"orders changed without a last word on their state: {missing}"

    def on_order_accepted(self, event: Event) -> None:
        assert _key(event) not in self.orders, event
        self.orders[_key(event)] = {
            "side": event["side"], "price": event["price"], "leaves": event["quantity"],
            "filled": "0"}

    def on_order_amended(self, event: Event) -> None:
        self.orders[_key(event)] |= {"price": event["price"], "leaves": event["leaves"]}

    def on_order_update(self, event: Event) -> None:
        self.updated.add(_key(event))
        if event["status"] == "filled":
            assert event["leaves"] == "0", event
            del self.orders[_key(event)]
        else:
            self.orders[_key(event)] |= {"leaves": event["leaves"], "filled": event["filled"]}

    def on_order_canceled(self, event: Event) -> None:
        self.updated.add(_key(event))
        del self.orders[_key(event)]

    def on_trade(self, event: Event) -> None:
        self.last[event["symbol"]] = event["price"]

    def on_balance(self, event: Event) -> None:
        self.wallets[event["account"], event["asset"]] = event["wallet"]

    def on_position(self, event: Event) -> None:
        self.positions[event["account"], event["symbol"]] = (
            event["quantity"], event["entry_value"], event["isolated_margin"])

    def on_mark(self, event: Event) -> None:
        self.marks[event["symbol"]] = event["mark_price"]

    def on_insurance(self, event: Event) -> None:
        before = Fraction(self.funds.get(event["asset"], "0"))
        assert before + Fraction(event["delta"]) == Fraction(event["balance"]), event
        self.funds[event["asset"]] = event["balance"]

    def on_halted(self, event: Event) -> None:
        self.halts[event["symbol"]] = event["mode"]

    def on_resumed(self, event: Event) -> None:
        self.halts[event["symbol"]] = None

    def compare(self, exchange: Exchange) -> None:
        """Assert that the exchange answers what the events said."""
        for account in exchange.core.account_ids():
            self._compare_account(exchange, account)
        for symbol in exchange.symbols:
            terms = exchange.query({"query": "instrument", "symbol": symbol})
            assert terms["mark_price"] == self.marks.get(symbol)
            assert terms["last_price"] == self.last.get(symbol)
            assert terms["halt"] == self.halts.get(symbol)
            book = exchange.query({"query": "book", "symbol": symbol})
            assert (book["bids"], book["asks"]) == (
                self.side(symbol, "buy"), self.side(symbol, "sell"))
        for asset, figures in exchange.query({"query": "insurance"})["assets"].items():
            assert figures["balance"] == self.funds.get(asset, "0")

    def _compare_account(self, exchange: Exchange, account: int) -> None:
        reply = exchange.query({"query": "account", "account": account})
        for asset in exchange.assets:
            known = self.wallets.get((account, asset), "0")
            assert reply["balances"].get(asset, "0") == known, (account, asset)
        said = {
            symbol: state for (owner, symbol), state in self.positions.items()
            if owner == account and state[0] != "0"}
        assert said == {
            position["symbol"]: (position["quantity"], position["entry_value"],
                                 position["isolated_margin"] or "0")
            for position in reply["positions"]}, account
        orders = exchange.query({"query": "orders", "account": account})["orders"]
        assert {(account, order["symbol"], order["order_id"]):
                {name: order[name] for name in ("side", "price", "leaves", "filled")}
                for order in orders} == {
            key: order for key, order in self.orders.items() if key[0] == account}

    def side(self, symbol: str, side: str) -> list[list[str]]:
        """Price levels of a book side, best first, from the live orders."""
        levels: dict[Fraction, Fraction] = {}
        for (_, where, _), order in self.orders.items():
            if where == symbol and order["side"] == side:
                price = Fraction(order["price"])
                levels[price] = levels.get(price, Fraction(0)) + Fraction(order["leaves"])
        return [[_text(price), _text(levels[price])]
                for price in sorted(levels, reverse=side == "buy")]


def _key(event: Event) -> tuple[int, str, int]:
    return event["account"], event["symbol"], event["order_id"]


def _text(value: Fraction) -> str:
    """Decimal text of a fraction that is a whole number of millionths."""
    digits = f"{int(value * 10**6):07d}"
    return f"{digits[:-6]}.{digits[-6:]}".rstrip("0").rstrip(".")
