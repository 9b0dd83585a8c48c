"""Collateral assets and their prices, for the universe."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

Command = dict[str, Any]

#: Weights by part of the amount pledged, as (share of the usual amount or None, weight).
WEIGHTS: tuple[tuple[tuple[float | None, str], ...], ...] = (
    ((None, "1"),),
    ((None, "0.9"),),
    ((0.3, "0.95"), (1, "0.8"), (None, "0.5")),
    ((0.5, "0.95"), (1.5, "0.333")),
    ((0.2, "0"), (None, "0.77777777")),
    ((1, "0.98"), (3, "0"), (None, "0.1")),
    ((None, "0"),),
)


class CollateralAssets(ABC):
    """Makers of such commands; what they draw from is a source of their own."""

    assets: list[str]
    ts: int
    #: Decimals of collateral assets, and what usual amounts are multiplied by.
    coin_decimals: tuple[int, ...] = (0, 5, 8, 18)
    coin_scale = 1
    #: How likely an asset is declared, has a price, and is paid in by an account.
    coin_chance = 0.7
    #: What is paid in or out, against what a trader has in money.
    coin_shares: tuple[float, ...] = (0.01, 0.1, 0.3, 0.7, 1)

    @abstractmethod
    def is_rare(self, chance: float) -> bool:
        """Whether something seldom happens now."""

    @abstractmethod
    def account(self) -> int:
        """Somebody's number."""

    def choose_coins(self, seed: int) -> None:
        """Decide which collateral assets there are."""
        self.coins = random.Random(-3 * seed - 2)
        names = ["COIN", "GOLD", "SILVER"][: self.coins.choice((0, 1, 2, 2, 3))]
        self.coin_prices = {name: self.coins.choice((0.03, 1, 40.0, 3000)) for name in names}
        self.usual_prices = dict(self.coin_prices)
        self.coin_digits = {
            name: self.coins.choice(self.coin_decimals[price > 1: 4 if price > 100 else 3])
            for name, price in self.coin_prices.items()}
        self.value_assets = {name: self.coins.choice(self.assets) for name in names}
        #: How much of what they own traders have in money.
        self.money_share = self.coins.choice((1, 0.2, 0.03)) if names else 1

    def coin_opening(self, wealth: int, accounts: Sequence[int]) -> Iterator[Command]:
        """Yield the commands that declare collateral assets and give some to everybody."""
        self.wealth = wealth
        for name, digits in self.coin_digits.items():
            yield {"cmd": "asset", "asset": name, "decimals": digits}
            if self.coins.random() < self.coin_chance:
                yield self.declaration(name)
            if self.coins.random() < self.coin_chance:
                yield {"cmd": "asset_price", "asset": name, "price": self.price_text(name)}
            for account in accounts:
                if self.coins.random() < self.coin_chance:
                    yield {"cmd": "deposit", "account": account, "asset": name,
                           "amount": self.coin_amount(name)}

    def declaration(self, name: str) -> Command:
        rows = []
        for share, weight in self.coins.choice(WEIGHTS):
            most = None
            if share is not None:
                most = self.coin_text(name, 0.1 + share * self.usual(name))
            rows.append({"max_amount": most, "weight": weight})
        command: Command = {
            "cmd": "collateral", "asset": name, "value_asset": self.value_assets[name],
            "tiers": rows}
        if self.coins.random() < 0.6:
            command["conversion_threshold"] = self.coins.choice(("0", "1", "10", "60", None))
        if self.coins.random() < 0.5:
            command["conversion_fee"] = self.coins.choice(("0", "0.01", "0.02", "0.05", "0.1"))
        return command

    def usual(self, name: str) -> float:
        """An amount worth as much as a trader has in money."""
        return self.wealth * self.coin_scale / self.usual_prices[name]

    def coin_text(self, name: str, amount: float) -> str:
        digits = min(self.coin_digits[name], 6)
        units = max(1, round(amount * 10**digits))
        text = str(units).rjust(digits + 1, "0")
        return f"{text[:-digits]}.{text[-digits:]}" if digits else text

    def coin_amount(self, name: str) -> str:
        if self.coins.random() < 0.03:
            return self.coins.choice(("0", "-1", "0.0000000000000000001", "9" * 30))
        return self.coin_text(name, self.usual(name) * self.coins.choice(self.coin_shares))

    def price_text(self, name: str) -> str:
        return f"{self.coin_prices[name]:.{self.coins.choice((3, 8))}f}"

    def make_asset_price(self) -> Command:
        name = self.some_coin()
        if name not in self.coin_prices or self.coins.random() < 0.02:
            return {"cmd": "asset_price", "asset": name,
                    "price": self.coins.choice(("0", "-1", "0.000000001", "1", "9" * 30))}
        factor = self.coins.choice((0.5, 0.85, 0.95, 0.99, 0.999, 1.001, 1.01, 1.05, 1.2, 2))
        if self.coins.random() < 0.2:
            factor = self.coins.choice((0.02, 0.1, 0.3, 0.3, 3))
        usual = self.usual_prices[name]
        moved = self.coin_prices[name] * factor + (usual - self.coin_prices[name]) * 0.1
        self.coin_prices[name] = min(50 * usual, max(0.001, moved))
        return {"cmd": "asset_price", "asset": name, "price": self.price_text(name)}

    def some_coin(self) -> str:
        if self.coin_prices and self.coins.random() > 0.02:
            return self.coins.choice(list(self.coin_prices))
        return self.coins.choice(("USD", "XAU"))

    def make_pledge(self) -> Command:
        """Put some of a collateral asset in, take it out, or hand it on."""
        name = self.some_coin()
        amount = self.coin_amount(name) if name in self.coin_prices else "1"
        cmd = self.coins.choice(("deposit", "deposit", "withdraw", "withdraw", "transfer"))
        command: Command = {"cmd": cmd, "account": self.account(), "asset": name, "amount": amount}
        if cmd == "transfer":
            command["to"] = self.account()
        if self.coins.random() < 0.05:
            return {"cmd": "insurance", "asset": name, "amount": amount}
        return command

    def make_collateral(self) -> Command:
        name = self.some_coin()
        if name not in self.coin_prices:
            return {"cmd": "collateral", "asset": name, "value_asset": "USD", "tiers": []}
        command = self.declaration(name)
        if self.coins.random() < 0.15:
            command |= self.coins.choice((
                {"value_asset": "XAU"}, {"value_asset": self.assets[-1]}, {"value_asset": name},
                {"conversion_fee": "1"}, {"conversion_fee": "-0.1"}, {"conversion_fee": "0.3"},
                {"conversion_threshold": "-1"}, {"conversion_threshold": "0.00001"},
                {"tiers": []}, {"tiers": [{"max_amount": None, "weight": "1.1"}]},
                {"tiers": [{"max_amount": None, "weight": "1"}] * 2},
                {"tiers": [{"max_amount": "3", "weight": "-0.1"}]},
                {"asset": "USD", "value_asset": "COIN"},
            ))
        return command
