"""Commands about how accounts are margined and warned, for the universe."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import Any

Command = dict[str, Any]

LEVELS = (
    [], ["0.8"], ["0.5"], ["0.5", "0.8"], ["0.3", "0.31", "0.6", "0.99999999"],
    ["0.00000002", "0.5"], ["0.05", "0.9"],
)


class MarginSettings(ABC):
    """Makers of such commands; what they draw from is the universe's."""

    random: random.Random
    ts: int

    @abstractmethod
    def is_rare(self, chance: float) -> bool:
        """Whether something seldom happens now."""

    @abstractmethod
    def amount(self, most: int) -> str:
        """An amount of money, seldom a senseless one."""

    @abstractmethod
    def _asset(self) -> str:
        """An asset, seldom an unknown one."""

    @abstractmethod
    def symbol(self) -> str:
        """A symbol, seldom an unknown one."""

    @abstractmethod
    def account(self) -> int:
        """Somebody's number."""

    def account_settings(self, account: int) -> Command:
        """Fields that an account may be opened with."""
        settings: Command = {}
        if self.is_rare(0.3):
            settings["margin_call_levels"] = self.random.choice(LEVELS)
            settings["margin_call_hysteresis"] = self.random.choice(("0", "0.00000001"))
        parents = {2: (1,), 3: (1, 2), 8: (1,), 9: (8, 1)}
        if account in parents and self.is_rare(0.4):
            settings["parent"] = self.random.choice(parents[account])
        return settings

    def make_margin_call_levels(self) -> Command:
        command: Command = {
            "cmd": "margin_call_levels", "account": self.account(),
            "levels": self.random.choice(LEVELS)}
        if self.is_rare(0.05):
            command["levels"] = self.random.choice((["0.8", "0.5"], ["1"], ["0"], ["0.1"] * 2))
        if self.is_rare(0.8):
            command["hysteresis"] = self.random.choice(
                ("0", "0.00000001", "0.00000001", "0.02", "0.25", "-0.1"))
        return command

    def make_margin_multiplier(self) -> Command:
        maintenance = ("1", "1", "0.5", "1.5", "2", "3.33333333", "0.00000001", "5")
        command: Command = {
            "cmd": "margin_multiplier", "symbol": self.symbol(),
            "maintenance": self.random.choice(maintenance),
            "initial": self.random.choice(("1", "1", "1.2", "2", "1.00000001"))}
        if self.is_rare(0.03):
            command |= {"maintenance": "100", "initial": "100"}
        if self.is_rare(0.05):
            command["maintenance"] = self.random.choice(("0", "-1", "101", "0.000000001"))
        if self.is_rare(0.05):
            command["initial"] = self.random.choice(("0.99999999", "0", "-2", "101"))
        if self.is_rare(0.5):
            command["effective_ts"] = self.ts + self.random.choice((-1, 0, 1, 2, 5, 1000))
        return command

    def make_account_multiplier(self) -> Command:
        multiplier = self.random.choice(("1", "1", "1.5", "2", "3.33333333", "20", "1.00000001"))
        if self.is_rare(0.1):
            multiplier = self.random.choice(("0.99999999", "0", "-1", "101", "1.000000001"))
        return {"cmd": "account_multiplier", "account": self.account(),
                "multiplier": multiplier}

    def make_transfer(self) -> Command:
        return {"cmd": "transfer", "account": self.account(), "to": self.account(),
                "asset": self._asset(), "amount": self.amount(60)}

    def make_auto_top_up(self) -> Command:
        return {"cmd": "auto_top_up", "account": self.account(), "symbol": self.symbol(),
                "enabled": not self.is_rare(0.2)}

    def make_sub_account(self) -> Command:
        """Opened in the middle of things, where it may be."""
        return {"cmd": "account", "account": self.random.randint(1, 12),
                "parent": self.random.choice((1, 2, 8, 40, -1))}
