"""A follower that only hears events: what it knows must be what the exchange answers."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from engine import Exchange
from engine.messages import NONE

Event = dict[str, Any]


#: What an order is shown with in `orders` (beyond these only if it has it) and in `order_terms`.
PLAIN = ("side", "type", "price", "leaves", "filled", "reduce_only", "position_side")
TERMS = ("trigger_price", "trigger_by", "callback_rate", "display_quantity", "expire_ts",
         "close_position", "oco", "parent_order_id")


class Mirror:
    """Wallets, positions, orders, books, marks and fund, rebuilt from the event stream alone.

    Of an iceberg the events tell all but the part on show, which follows from the rules: a
    maker's trades use it up and the next one is as large as can be; whatever else takes lots
    off takes hidden ones first; an uncrossing shows all that can be shown.
    """

    def __init__(self) -> None:
        self.wallets: dict[tuple[int, str], str] = {}
        #: By account, symbol and position side.
        self.positions: dict[tuple[int, str, str], tuple[str, str, str]] = {}
        self.orders: dict[tuple[int, str, int], Event] = {}
        self.marks: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self.last_seq: dict[str, int] = {}
        self.halts: dict[str, str | None] = {}
        #: By asset and name of the fund, None: the pooled one.
        self.funds: dict[tuple[str, str | None], str] = {}
        self.updated: set[tuple[int, str, int]] = set()
        self.pending: set[tuple[int, str, int]] = set()
        #: Lots on show, of icebergs.
        self.shown: dict[tuple[int, str, int], Fraction] = {}
        self.is_uncrossing = False
        #: Accounts whose symbols have two legs.
        self.hedging: set[int] = set()

    def observe(self, events: list[Event]) -> None:
        """Follow the events of one command."""
        touched: set[tuple[int, str, int]] = set()
        self.updated.clear()
        uncrossings = [at for at, event in enumerate(events)
                       if event["event"] == "auction_uncrossed"]
        for at, event in enumerate(events):
            kind = event["event"]
            if kind in ("halted", "resumed"):
                self.is_uncrossing = True
            self.is_uncrossing &= bool(uncrossings) and at < uncrossings[-1]
            handler = getattr(self, f"on_{kind}", None)
            if handler is not None:
                handler(event)
            if kind in ("order_accepted", "order_amended", "order_triggered"):
                touched.add(_key(event))
            elif kind == "trade":
                touched |= {(event[f"{role}_account"], event["symbol"], event[f"{role}_order_id"])
                            for role in ("maker", "taker") if event[f"{role}_order_id"]}
        missing = touched - self.updated
        assert not missing, f"orders changed without a last word on their state: {missing}"

    def on_order_accepted(self, event: Event) -> None:
        key = _key(event)
        assert key not in self.orders, event
        self.orders[key] = {
            "side": event["side"], "type": event["type"], "price": event["price"],
            "leaves": event["quantity"], "filled": "0", "reduce_only": event["reduce_only"],
            "position_side": event["position_side"]}
        if event["type"] not in ("limit", "market"):
            self.pending.add(key)

    def on_order_terms(self, event: Event) -> None:
        order = self.orders[_key(event)]
        assert order.keys() == set(PLAIN), event
        terms = {name: event[name] for name in TERMS if event[name] not in (None, False)}
        assert terms, event
        order |= terms
        self.show_all(_key(event))

    def on_order_triggered(self, event: Event) -> None:
        assert self.orders[_key(event)]["trigger_by"] == event["trigger_by"], event
        self.pending.remove(_key(event))
        self.show_all(_key(event))

    def on_order_amended(self, event: Event) -> None:
        order = self.orders[_key(event)]
        keeps_place = (event["price"] == order["price"]
                       and Fraction(event["leaves"]) <= Fraction(order["leaves"]))
        order |= {"price": event["price"], "leaves": event["leaves"]}
        if event["trigger_price"] is not None:
            order["trigger_price"] = event["trigger_price"]
        if not keeps_place:
            self.show_all(_key(event))

    def on_order_update(self, event: Event) -> None:
        key = _key(event)
        self.updated.add(key)
        if event["status"] == "filled":
            assert event["leaves"] == "0", event
            self.forget(key)
            return
        self.orders[key] |= {"leaves": event["leaves"], "filled": event["filled"]}
        assert (event["status"] == "pending") == (key in self.pending), event

    def on_order_canceled(self, event: Event) -> None:
        self.updated.add(_key(event))
        self.forget(_key(event))

    def on_order_expired(self, event: Event) -> None:
        assert self.orders[_key(event)]["expire_ts"] == event["ts"], event
        self.on_order_canceled(event)

    def on_trade(self, event: Event) -> None:
        self.last[event["symbol"]] = event["price"]
        self.last_seq[event["symbol"]] = event["seq"]
        for role in ("maker", "taker"):
            key = (event[f"{role}_account"], event["symbol"], event[f"{role}_order_id"])
            if key not in self.orders:
                continue  # the fund, a liquidation
            order = self.orders[key]
            order["leaves"] = _text(Fraction(order["leaves"]) - Fraction(event["quantity"]))
            if key in self.shown and role == "maker" and not self.is_uncrossing:
                self.shown[key] -= Fraction(event["quantity"])
                assert self.shown[key] >= 0, event
                if self.shown[key] > 0:
                    continue
            self.show_all(key)

    def show_all(self, key: tuple[int, str, int]) -> None:
        """Let an iceberg show as much as it may."""
        order = self.orders[key]
        if "display_quantity" in order:
            self.shown[key] = min(
                Fraction(order["display_quantity"]), Fraction(order["leaves"]))

    def forget(self, key: tuple[int, str, int]) -> None:
        del self.orders[key]
        self.shown.pop(key, None)
        self.pending.discard(key)

    def on_account_opened(self, event: Event) -> None:
        if event["position_mode"] == "hedge":
            self.hedging.add(event["account"])

    def on_position_mode_changed(self, event: Event) -> None:
        self.hedging.discard(event["account"])
        self.on_account_opened(event)

    def on_legs_netted(self, event: Event) -> None:
        assert event["account"] in self.hedging, event
        assert event["price"] == self.marks[event["symbol"]], event

    def on_balance(self, event: Event) -> None:
        self.wallets[event["account"], event["asset"]] = event["wallet"]

    def on_position(self, event: Event) -> None:
        legs = ("long", "short") if event["account"] in self.hedging else ("both",)
        assert event["position_side"] in legs, event
        sign = {"long": 1, "short": -1}.get(event["position_side"], 0)
        assert sign * Fraction(event["quantity"]) >= 0, event
        self.positions[event["account"], event["symbol"], event["position_side"]] = (
            event["quantity"], event["entry_value"], event["isolated_margin"])

    def on_mark(self, event: Event) -> None:
        self.marks[event["symbol"]] = event["mark_price"]

    def on_insurance(self, event: Event) -> None:
        before = Fraction(self.funds.get((event["asset"], event["fund"]), "0"))
        assert before + Fraction(event["delta"]) == Fraction(event["balance"]), event
        self.funds[event["asset"], event["fund"]] = event["balance"]

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
            assert exchange.core.last_trade_seq(
                exchange.instrument(symbol).index) == self.last_seq.get(symbol, NONE)
            assert terms["halt"] == self.halts.get(symbol)
            book = exchange.query({"query": "book", "symbol": symbol})
            assert (book["bids"], book["asks"]) == (
                self.side(symbol, "buy"), self.side(symbol, "sell"))
        told = exchange.query({"query": "insurance"})
        for fund in told["funds"]:
            assert fund["balance"] == self.funds.get((fund["asset"], fund["fund"]), "0")
        for asset, figures in told["assets"].items():
            assert Fraction(figures["balance"]) == sum(
                Fraction(fund["balance"]) for fund in told["funds"] if fund["asset"] == asset)

    def _compare_account(self, exchange: Exchange, account: int) -> None:
        reply = exchange.query({"query": "account", "account": account})
        for asset in exchange.assets:
            known = self.wallets.get((account, asset), "0")
            assert reply["balances"].get(asset, "0") == known, (account, asset)
        said = {
            (symbol, leg): state for (owner, symbol, leg), state in self.positions.items()
            if owner == account and state[0] != "0"}
        assert said == {
            (position["symbol"], position["position_side"]): (
                position["quantity"], position["entry_value"],
                position["isolated_margin"] or "0")
            for position in reply["positions"]}, account
        orders = exchange.query({"query": "orders", "account": account})["orders"]
        told = {key for key in self.orders if key[0] == account}
        assert told == {(account, order["symbol"], order["order_id"]) for order in orders}
        for order in orders:
            key = (account, order["symbol"], order["order_id"])
            self._compare_order(key, order)

    def _compare_order(self, key: tuple[int, str, int], order: Event) -> None:
        names = {*PLAIN, *(name for name in TERMS if name in order)}
        assert {name: order[name] for name in names} == self.orders[key]
        assert (order["status"] == "pending") == (key in self.pending), order
        if "displayed" in order:
            shown = Fraction(0) if key in self.pending else self.displayed(key)
            assert order["displayed"] == _text(shown), order

    def displayed(self, key: tuple[int, str, int]) -> Fraction:
        """Lots that an order shows in the book."""
        leaves = Fraction(self.orders[key]["leaves"])
        return min(leaves, self.shown.get(key, leaves))

    def side(self, symbol: str, side: str) -> list[list[str]]:
        """Price levels of a book side, best first, from the orders that rest."""
        levels: dict[Fraction, Fraction] = {}
        for key, order in self.orders.items():
            if key[1] == symbol and order["side"] == side and key not in self.pending:
                price = Fraction(order["price"])
                levels[price] = levels.get(price, Fraction(0)) + self.displayed(key)
        return [[_text(price), _text(levels[price])]
                for price in sorted(levels, reverse=side == "buy")]


def _key(event: Event) -> tuple[int, str, int]:
    return event["account"], event["symbol"], event["order_id"]


def _text(value: Fraction) -> str:
    """Decimal text of a fraction that is a whole number of millionths."""
    digits = f"{int(value * 10**6):07d}"
    return f"{digits[:-6]}.{digits[-6:]}".rstrip("0").rstrip(".")
