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
        maintenance = ("1", "1", "0.5", "1.5", "2", "3.33333333", "0.00000001", "5", "100")
        command: Command = {
            "cmd": "margin_multiplier", "symbol": self.symbol(),
            "maintenance": self.random.choice(maintenance),
            "initial": self.random.choice(("1", "1", "1.2", "2", "1.00000001", "100"))}
        if self.is_rare(0.05):
            command["maintenance"] = self.random.choice(("0", "-1", "101", "0.000000001"))
        if self.is_rare(0.05):
            command["initial"] = self.random.choice(("0.99999999", "0", "-2", "101"))
        if self.is_rare(0.5):
            command["effective_ts"] = self.ts + self.random.choice((-1, 0, 1, 2, 5, 1000))
        return command
