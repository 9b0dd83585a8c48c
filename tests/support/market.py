"""A market in few words: `Desk` says commands and queries the short way."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from engine import Exchange

Event = dict[str, Any]

#: One tier for any size: 20x, maintenance 0.5 %.
FLAT_TIERS = ({"min_notional": "0", "max_notional": None, "maintenance_margin_rate": "0.005",
               "max_leverage": "20"},)
#: 20x at 0.5 % up to 1,000, 10x at 2 % up to 5,000, then 5x at 10 %.
STEEP_TIERS = (
    {"min_notional": "0", "max_notional": "1000", "maintenance_margin_rate": "0.005",
     "max_leverage": "20"},
    {"min_notional": "1000", "max_notional": "5000", "maintenance_margin_rate": "0.02",
     "max_leverage": "10"},
    {"min_notional": "5000", "max_notional": None, "maintenance_margin_rate": "0.1",
     "max_leverage": "5"},
)


class Desk:
    """An exchange with USDT declared (two decimals), and short names for what tests do.

    Prices are in ticks of 1 and quantities in lots of 1 unless a test declares otherwise,
    so the numbers of a test are those that one would write on paper.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.log: list[dict[str, Any]] = []
        self._order_id = 0
        self.do("asset", asset="USDT", decimals=2)

    # --- commands ---------------------------------------------------------------------

    def do(self, cmd: str, **fields: Any) -> list[Event]:
        """Apply a command, whatever comes of it."""
        line = {"cmd": cmd, **fields}
        self.log.append(line)
        return self.exchange.apply(line)

    def must(self, cmd: str, **fields: Any) -> list[Event]:
        """Apply a command that a test takes for granted."""
        events = self.do(cmd, **fields)
        refused = only(events, "rejected")
        assert not refused, f"{self.log[-1]} was refused: {refused[0]}"
        return events

    def refusal(self, cmd: str, **fields: Any) -> str:
        """Apply a command that must be refused; return the reason."""
        return str(self.refused(cmd, **fields)["reason"])

    def refused(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Apply a command that must be refused; return its event."""
        before = self.exchange.state_hash()
        events = self.do(cmd, **fields)
        assert [event["event"] for event in events] == ["rejected"], events
        assert self.exchange.state_hash() == before, "a refused command left a trace"
        return events[0]

    def symbol(self, symbol: str = "BTC", *, mark: Any = "100", **terms: Any) -> None:
        """Declare a linear instrument and give it a mark (None: no mark)."""
        fields = {"kind": "linear", "base": symbol, "quote": "USDT", "settle": "USDT",
                  "tick_size": "1", "lot_size": "1", "tiers": list(FLAT_TIERS), **terms}
        self.must("instrument", symbol=symbol, **fields)
        if mark is not None:
            self.mark(mark, symbol)

    def account(self, *accounts: int, deposit: Any = "1000000", **fields: Any) -> None:
        """Open accounts with a deposit each (None: without)."""
        for account in accounts:
            self.must("account", account=account, **fields)
            if deposit is not None:
                self.must("deposit", account=account, asset="USDT", amount=deposit)

    def order(self, side: str, account: int, quantity: Any, price: Any = None,
              symbol: str = "BTC", **fields: Any) -> list[Event]:
        """Send an order: a limit order where there is a price, else a market order."""
        self._order_id += 1
        line = {"account": account, "symbol": symbol, "order_id": self._order_id, "side": side,
                "type": "market" if price is None else "limit", "quantity": str(quantity)}
        if price is not None:
            line["price"] = str(price)
        return self.do("order", **line | fields)

    def buy(self, account: int, quantity: Any, price: Any = None, symbol: str = "BTC",
            **fields: Any) -> list[Event]:
        return self.order("buy", account, quantity, price, symbol, **fields)

    def sell(self, account: int, quantity: Any, price: Any = None, symbol: str = "BTC",
             **fields: Any) -> list[Event]:
        return self.order("sell", account, quantity, price, symbol, **fields)

    def trade(self, buyer: int, seller: int, quantity: Any, price: Any,
              symbol: str = "BTC") -> list[Event]:
        """Let the seller rest and the buyer take, at one price."""
        self.sell(seller, quantity, price, symbol)
        events = self.buy(buyer, quantity, price, symbol)
        assert only(events, "trade"), events
        return events

    def mark(self, price: Any, symbol: str = "BTC") -> list[Event]:
        return self.must("mark", symbol=symbol, mark_price=str(price))

    def marks(self, **prices: Any) -> list[Event]:
        rows = [{"symbol": symbol, "mark_price": str(price)} for symbol, price in prices.items()]
        return self.must("marks", marks=rows)

    # --- reads ------------------------------------------------------------------------

    def ask(self, query: str, **fields: Any) -> dict[str, Any]:
        return self.exchange.query({"query": query, **fields})

    def wallet(self, account: int, asset: str = "USDT") -> str:
        return str(self.ask("account", account=account)["balances"].get(asset, "0"))

    def position(self, account: int, symbol: str = "BTC") -> dict[str, Any] | None:
        """Return the open position of an account, None where there is none."""
        found = self.ask("position", account=account, symbol=symbol)["positions"]
        return found[0] if found else None

    def quantity(self, account: int, symbol: str = "BTC") -> str:
        position = self.position(account, symbol)
        return position["quantity"] if position else "0"

    def book(self, symbol: str = "BTC", **fields: Any) -> tuple[list[Any], list[Any]]:
        reply = self.ask("book", symbol=symbol, **fields)
        return reply["bids"], reply["asks"]

    def orders(self, account: int) -> list[int]:
        return [order["order_id"] for order in self.ask("orders", account=account)["orders"]]

    def fund(self, asset: str = "USDT") -> str:
        return str(self.ask("insurance")["assets"][asset]["balance"])


def only(events: Iterable[Event], *kinds: str) -> list[Event]:
    """Return the events of some kinds."""
    return [event for event in events if event["event"] in kinds]


def kinds(events: Iterable[Event]) -> list[str]:
    """Return the kinds of the events, in order."""
    return [event["event"] for event in events]


def audit(exchange: Exchange) -> None:
    """Assert what must hold after any command: invariants, drift 0, positions that cancel out."""
    exchange.check()
    totals = exchange.totals()
    for asset, terms in totals["assets"].items():
        assert terms["drift"] == "0", f"{asset} drifts: {terms}"
    for symbol, held in totals["positions"].items():
        assert sum(map(Fraction, held.values())) == 0, f"{symbol} does not sum to zero: {held}"
