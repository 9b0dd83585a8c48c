"""Commands with orders that wait, hide, expire or hang together; mixed into a universe."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import Any

Command = dict[str, Any]


class SpecialOrders(ABC):
    """Makers of such commands; what they draw from is the universe's."""

    random: random.Random
    symbols: list[str]
    marks: dict[str, int]
    held: dict[tuple[int, str, str], str]
    ts: int
    next_id: int

    @abstractmethod
    def make_order(self) -> Command:
        """A plain order."""

    @abstractmethod
    def account(self) -> int:
        """Somebody's number."""

    @abstractmethod
    def symbol(self) -> str:
        """A symbol, seldom an unknown one."""

    @abstractmethod
    def price(self, symbol: str, spread: int = 6) -> str:
        """A price near the mark, seldom a senseless one."""

    @abstractmethod
    def quantity(self, symbol: str, most: int = 5) -> str:
        """A small quantity, seldom a senseless one."""

    @abstractmethod
    def is_rare(self, chance: float) -> bool:
        """True with this chance."""

    def trigger(self, symbol: str) -> str:
        """A price near the mark, sometimes between ticks."""
        price = self.price(symbol, 9)
        return price + ".5" if self.is_rare(0.2) and price.isdigit() else price

    def make_stop(self) -> Command:
        """A stop, take-profit or trailing stop of any kind."""
        pick = self.random.choice
        command = self.make_order()
        command.pop("time_in_force", None)
        command.pop("price", None)
        symbol = command["symbol"]
        command["type"] = pick((
            "stop_market", "stop_market", "stop_limit", "take_profit_market",
            "take_profit_limit", "trailing_stop_market"))
        if command["type"] == "trailing_stop_market":
            command["callback_rate"] = pick(("0.01", "0.02", "0.05", "0.1", "1", "0.5"))
            if self.is_rare(0.4):
                command["trigger_price"] = self.trigger(symbol)
        else:
            command["trigger_price"] = self.trigger(symbol)
        if command["type"].endswith("limit"):
            command["price"] = self.price(symbol)
        else:
            command.pop("post_only", None)
        if self.is_rare(0.6):
            command["trigger_by"] = pick(("mark", "last", "last", "index"))
        if self.is_rare(0.2):
            command["time_in_force"] = pick(("gtc", "ioc", "fok"))
        if self.is_rare(0.15):
            command["time_in_force"] = "gtd"
            command["expire_ts"] = self.ts + pick((0, 1, 5, 40, 2000))
        if self.is_rare(0.15) and not command["type"].endswith("limit"):
            command |= self.closing(command)
            if self.is_rare(0.5):
                del command["quantity"]
        return self.tie(command)

    def make_special(self) -> Command:
        """A plain order with something added: hidden, expiring, tied, closing."""
        pick = self.random.choice
        command = self.make_order()
        symbol = command["symbol"]
        if self.is_rare(0.4):
            command["quantity"] = self.quantity(symbol, 9)
            command["display_quantity"] = self.quantity(symbol, 3)
        if self.is_rare(0.3):
            command["time_in_force"] = "gtd"
            command["expire_ts"] = self.ts + pick((0, 1, 5, 40, 2000))
        if self.is_rare(0.1):
            command |= self.closing(command)
        return self.tie(command)

    def closing(self, command: Command) -> Command:
        """Fields that make an order close the position, or its leg."""
        side = {"long": "sell", "short": "buy"}.get(
            command.get("position_side", ""), command["side"])
        return {"close_position": True, "side": side}

    @staticmethod
    def is_reducing(command: Command) -> bool:
        """Whether an order says that it reduces, or closes a leg."""
        return command.get("reduce_only") or (command.get("position_side"), command["side"]) in (
            ("long", "sell"), ("short", "buy"))

    def tie(self, command: Command) -> Command:
        if self.is_rare(0.35):
            command["oco"] = self.random.randint(1, 3)
        for name in ("take_profit", "stop_loss"):
            if self.is_rare(0.2) and (not self.is_reducing(command) or self.is_rare(0.05)):
                self.next_id += 1
                command[name] = {
                    "order_id": self.random.randint(1, 9) if self.is_rare(0.1)
                    else 10 + self.next_id,
                    "trigger_price": self.trigger(command["symbol"]),
                    "trigger_by": self.random.choice((None, "mark", "last", "index")),
                    "price": self.price(command["symbol"]) if self.is_rare(0.3) else None}
        return command

    def make_auction(self) -> Command:
        return {"cmd": "halt", "symbol": self.symbol(), "mode": "auction"}

    def make_clock(self) -> Command:
        """Time passes, so that orders expire and timers fire."""
        self.ts += self.random.choice((1, 3, 30, 1000))
        return {"cmd": "time", "ts": self.ts}

    def make_cancel_all_after(self) -> Command:
        return {"cmd": "cancel_all_after", "account": self.account(),
                "timeout": self.random.choice((0, 2, 20, 500, -1))}

    def make_protection(self) -> Command:
        pick = self.random.choice
        command: Command = {
            "cmd": "protection", "account": self.account(), "symbol": self.symbol(),
            "window": pick((1, 10, 1000, 0, None)), "freeze": pick((0, 3, 100, None))}
        if self.is_rare(0.7):
            command["quantity"] = self.quantity(command["symbol"], 9)
        if self.is_rare(0.5):
            command["count"] = pick((1, 2, 4))
        return command
