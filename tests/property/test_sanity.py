"""What must be true of any market, whatever the formulas: nobody is harmed by an accepted command.

The two cores share an author; these properties do not follow from their code.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from support.lockstep import as_scenario, minimise
from support.universe import Command, Universe

from engine import Exchange

Event = dict[str, Any]
#: Commands that move one's own money or settings, and may never hurt their sender.
HARMLESS = ("withdraw", "deposit", "leverage", "isolated_margin", "margin_mode", "cancel",
            "transfer", "auto_top_up", "margin_call_levels")


class Watcher:
    """Applies commands to an exchange and names what should not have happened."""

    def __init__(self, core: str) -> None:
        self.exchange = Exchange(core=core)
        self.held: dict[tuple[int, str, str], Fraction] = {}
        #: Margin mode of an account (symbol "") and of its symbols.
        self.modes: dict[tuple[int, str], str] = {}

    def apply(self, command: Command) -> tuple[list[Event], list[str]]:
        key = (command.get("account", 0), command.get("symbol", ""))
        held = self.held.get((*key, command.get("position_side", "both")), Fraction(0))
        events = self.exchange.apply(command)
        for event in events:
            if event["event"] in ("account_opened", "margin_mode_changed"):
                self.modes[event["account"], event.get("symbol", "")] = event["margin_mode"]
            elif event["event"] == "position":
                self.held[event["account"], event["symbol"], event["position_side"]] = Fraction(
                    event["quantity"])
        return events, [*self.sender_is_safe(command, held, events),
                        *self.liquidations_are_clean(events), *self.others_are_safe(events)]

    @staticmethod
    def sender_is_safe(command: Command, held: Fraction, events: list[Event]) -> list[str]:
        started = {event["account"] for event in events if event["event"] == "liquidation_started"}
        # Whom somebody else's liquidation deleverages, or whose older orders it hits, may be next.
        started -= {event["account"] for event in events if event["event"] == "adl"}
        started -= {event["maker_account"] for event in events
                    if event["event"] == "trade" and event["liquidation"]}
        if command.get("account") not in started:
            return []
        if command["cmd"] in HARMLESS:
            return [f"an accepted {command['cmd']} liquidated its sender"]
        adds = held >= 0 if command.get("side") == "buy" else held <= 0
        if command["cmd"] == "order" and adds:
            return ["an order that adds to the position liquidated its sender"]
        return []

    @staticmethod
    def liquidations_are_clean(events: list[Event]) -> list[str]:
        wrong = []
        opened: dict[tuple[Any, ...], Fraction] = {}
        for event in events:
            if not event["event"].startswith("liquidation_"):
                continue
            key = (event["account"], event.get("asset", ""), event.get("symbol"),
                   event["position_side"])
            if event["event"] == "liquidation_started":
                opened[key] = Fraction(event["equity"])
            elif event["event"] == "liquidation_finished" and key in opened:
                if opened[key] >= 0 > Fraction(event["equity"]):
                    wrong.append("a liquidation left less than nothing of a solvent pool")
                if event["outcome"] == "released" and event["margin_ratio"] is not None:
                    if Fraction(event["margin_ratio"]) > 1:
                        wrong.append("a pool was released that is still due")
            elif event["event"] == "liquidation_step":
                if Fraction(event["filled"]) > Fraction(event["quantity"]):
                    wrong.append("a step closed more than it set out to")
        return wrong

    def is_cross(self, account: int, symbol: str) -> bool:
        return self.modes.get((account, symbol), self.modes[account, ""]) == "cross"

    def others_are_safe(self, events: list[Event]) -> list[str]:
        wrong = []
        # What a maker's older orders cost it in the same command is another matter.
        makers = {event["maker_account"] for event in events if event["event"] == "trade"}
        for event in events:
            if (event["event"] == "adl" and event["account"] not in makers
                    and self.is_cross(event["account"], event["symbol"])):
                asset = self.exchange.instrument(event["symbol"]).settle.name
                reply = self.exchange.query({"query": "account", "account": event["account"]})
                figures = reply["assets"].get(asset)
                if figures is not None and Fraction(figures["equity"]) < 0:
                    wrong.append("auto-deleveraging left a counterparty below zero")
            elif event["event"] == "insurance" and event["reason"] == "liquidation_fee":
                if Fraction(event["delta"]) <= 0:
                    wrong.append("a liquidation fee that is none")
        return wrong


def replay(core: str, log: list[Command]) -> list[str]:
    watcher = Watcher(core)
    return [each for command in log for each in watcher.apply(command)[1]]


def watch(core: str, seed: int, count: int) -> None:
    universe, watcher = Universe(seed), Watcher(core)
    # A multiplier may bring maintenance margin up to initial margin; then what takes all that
    # is free is due at once.
    universe.weights["margin_multiplier"] = 0
    log: list[Command] = list(universe.opening())
    for number in range(len(log) + count):
        if number >= len(log):
            log.append(universe.next())
        events, wrong = watcher.apply(log[number])
        universe.observe(events)
        if wrong:
            shortest = minimise(log[: number + 1], lambda some: bool(replay(core, list(some))))
            pytest.fail(f"seed {seed}: {wrong[0]}\n{as_scenario(shortest)}", pytrace=False)


@pytest.mark.parametrize("seed", range(200, 230))
def test_an_accepted_command_harms_nobody(core_name: str, seed: int) -> None:
    watch(core_name, seed, 300 if core_name == "compiled" else 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40_000, 40_200))
def test_an_accepted_command_harms_nobody_for_long(core_name: str, seed: int) -> None:
    watch(core_name, seed, 1000)
