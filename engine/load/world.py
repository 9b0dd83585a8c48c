"""What a server of its own holds: instruments, a population with positions, a fund."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.demo.market import SETTLE, declare_markets, plan_markets
from engine.errors import InputError
from engine.load.flow import Book
from engine.units import Grid

if TYPE_CHECKING:
    from engine.exchange import Exchange

#: Instruments and first prices where no scenario gives others.
_PRICES = {"BTCUSDT": "60000", "ETHUSDT": "3000", "SOLUSDT": "150"}
#: The first trader's account: beside those of populations, of the demo and of crowds.
FIRST_TRADER = 700_000_001
#: Accounts that one client has room for.
TRADERS_MAX = 1_000
#: What each trader has, in units of the settle asset, and the fund.
DEPOSIT = "1000000000"
_FUND = "10000000000"
#: Median value of an order, in units of the quote.
_ORDER_VALUE = 1_000


@dataclass(frozen=True)
class World:
    """How to build what a server holds.

    Attributes
    ----------
    accounts : int
        With a position each; 0: none.
    seed : int
    scenario : str or None
        File to begin with, in place of three linear instruments.
    population : str or None
        Plan or parquet file, in place of the usual distributions.
    """

    accounts: int
    seed: int = 1
    scenario: str | None = None
    population: str | None = None

    def build(self, exchange: Exchange) -> None:
        """Apply it to a fresh exchange; no events are left.

        Raises
        ------
        InputError, RunError
        """
        from engine.populations import (
            Plan,
            draw_population,
            is_parquet,
            load_population,
            read_parquet,
            read_plan,
        )
        from engine.server import load_scenario

        if self.scenario is not None:
            load_scenario(exchange, self.scenario, lambda line: None)
        else:
            for command in declare_markets(plan_markets(dict(_PRICES), ())):
                exchange.submit(command)
            exchange.apply_marks([(name, price, None, None) for name, price in _PRICES.items()])
            exchange.submit({"cmd": "insurance", "asset": SETTLE, "amount": _FUND})
        exchange.discard_events()
        if self.population is not None and is_parquet(self.population):
            load_population(exchange, read_parquet(exchange, self.population))
        elif self.population is not None:
            load_population(exchange, draw_population(exchange, read_plan(self.population)))
        elif self.accounts:
            plan = Plan.of({"accounts": self.accounts, "seed": self.seed})
            load_population(exchange, draw_population(exchange, plan))


def trader_accounts(client: int, count: int) -> list[int]:
    """Return the accounts of a client, numbered from 0."""
    first = FIRST_TRADER + client * TRADERS_MAX
    return list(range(first, first + count))


def books_of(
    known: Sequence[str], answers: Iterable[Mapping[str, Any]], wanted: Sequence[str]
) -> list[Book]:
    """Return the books of instruments, from the answers to `instrument` queries.

    Parameters
    ----------
    known : sequence of str
        All symbols in the order of their declaration.
    answers : iterable of mapping
        Of each of them.
    wanted : sequence of str
        Symbols to trade.

    Raises
    ------
    InputError
        One has no mark, or there is none.
    """
    if not wanted:
        raise InputError("there is no instrument to trade")
    found = {name: (index, answer) for index, (name, answer) in enumerate(
        zip(known, answers, strict=True))}
    return [_book(*found[name]) for name in wanted]


def _book(index: int, answer: Mapping[str, Any]) -> Book:
    if answer["mark_price"] is None:
        raise InputError(f"{answer['symbol']}: has no mark yet; orders need one")
    tick, mark_tick = Grid(answer["tick_size"]), Grid(answer["mark_tick"])
    lot = Grid(answer["lot_size"])
    size = float(answer["contract_size"]) * float(lot.step)
    each = size if answer["kind"] == "inverse" else size * float(answer["mark_price"])
    return Book(
        answer["symbol"], index, answer["settle"], tick.text(1), mark_tick.text(1), lot.text(1),
        mark_tick.units(answer["mark_price"]), int(tick.step / mark_tick.step),
        max(1.0, _ORDER_VALUE / each))
