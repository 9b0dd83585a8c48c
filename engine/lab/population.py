"""The traders of a scenario: cross accounts with positions, drawn with numpy, loaded packed.

Account `i` has id `i + 1`. Floats decide only what the population is; from then on all is
int64. One lot is worth one minor unit per mark tick (`engine.lab.market`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.batches import (
    Packed,
    account_commands,
    deposit_commands,
    empty_commands,
    empty_specials,
    fill_commands,
)
from engine.lab.market import COLLATERAL, MINOR, POPULATION, Floats, Ints, stream
from engine.lab.scenario import Scenario
from engine.messages import (
    FLAG_CLOSE_POSITION,
    FLAG_REDUCE_ONLY,
    Command,
    OrderType,
    Side,
    TimeInForce,
    TriggerBy,
)

#: A pool's first margin ratio is at most this.
_RATIO_MAX = 0.7
#: Number of a trader's stop order; answers to events number from above it.
STOP_ORDER_ID = 1


@dataclass
class Population:
    """What was drawn.

    Attributes
    ----------
    wallets : array of int64, minor units
        What counts as margin, whatever it is in.
    pledged : array of int64, minor units
        Of the collateral, by those who have their margin in it; 0: in the settle asset.
    holder, symbol : array of int64
        Account (from 0) and symbol of each position.
    quantity : array of int64, lots, long > 0
    entry : array of int64, minor units, signed like the quantity
    leverage : array of float
        Of each account.
    temper : array of float
        One number from 0 to 1 for each account and kind of answer (top up, reduce, stop,
        reopen): it answers where the number is below the share of those who do.
    """

    wallets: Ints
    pledged: Ints
    holder: Ints
    symbol: Ints
    quantity: Ints
    entry: Ints
    leverage: Floats
    temper: Floats

    @property
    def count(self) -> int:
        return len(self.wallets)

    def open_notional(self, symbol_count: int) -> Floats:
        """Return the entry value of all positions of each symbol, both sides, minor units."""
        worth = np.abs(self.entry).astype(np.float64)
        return np.asarray(np.bincount(self.symbol, worth, symbol_count), np.float64)

    def holdings(self, symbol_count: int) -> Ints:
        """Return lots by account and symbol."""
        out = np.zeros((self.count, symbol_count), np.int64)
        out[self.holder, self.symbol] = self.quantity
        return out


def maintenance(scenario: Scenario, symbol: Ints, notional: Floats) -> Floats:
    """Return the maintenance margin of positions by the scenario's tiers, in floats."""
    out = np.zeros(len(symbol))
    for at, spec in enumerate(scenario.symbols):
        rows = symbol == at
        held, low, before = notional[rows] / MINOR, 0.0, 0.0
        total = np.zeros(len(held))
        for cap, rate, _ in spec.tiers:
            total += (float(rate) - before) * np.maximum(held - low, 0.0)
            before, low = float(rate), float(cap or 0)
        out[rows] = total * MINOR
    return out


def draw(scenario: Scenario, first_marks: Ints) -> Population:
    """Draw the population of a scenario.

    Notes
    -----
    Complexity: O(accounts).
    """
    spec, rng = scenario.population, stream(scenario, POPULATION)
    n, symbols = spec.accounts, len(scenario.symbols)
    weights = np.array([one.popularity for one in scenario.symbols])
    first = rng.choice(symbols, n, p=weights / weights.sum())
    second = (first + 1 + rng.integers(0, max(symbols - 1, 1), n)) % symbols
    has_second = (rng.random(n) < spec.several_share) & (symbols > 1)
    is_long = rng.random(n) < spec.long_share
    hedges = rng.random(n) < 0.3
    leverage = spec.leverage_median * np.exp(spec.leverage_sigma * rng.standard_normal(n))
    leverage = np.clip(leverage, 1.2, spec.leverage_max)
    notional = np.exp(spec.notional_sigma * rng.standard_normal((n, 2))) * spec.notional_median
    spread = np.minimum(spec.entry_spread, 0.25 / leverage)[:, None]
    shift = rng.uniform(-1, 1, (n, 2)) * spread
    temper = rng.random((n, 4))
    pledges = rng.random(n) < scenario.collateral.share

    holder = np.concatenate([np.arange(n), np.flatnonzero(has_second)])
    symbol = np.concatenate([first, second[has_second]])
    leg = np.concatenate([np.zeros(n, np.int64), np.ones(int(has_second.sum()), np.int64)])
    marks = first_marks[symbol]
    price = np.maximum((marks * (1 + shift[holder, leg])).astype(np.int64), 1)
    lots = np.maximum((notional[holder, leg] * MINOR / marks).astype(np.int64), 1)
    side = np.where(is_long[holder] ^ (hedges[holder] & (leg == 1)), 1, -1)
    quantity = lots * side
    entry = quantity * price
    worth = np.bincount(holder, np.abs(entry), n)
    needed = np.bincount(holder, maintenance(scenario, symbol, np.abs(quantity * marks)), n)
    loss = np.bincount(holder, (entry - quantity * marks).astype(np.float64), n)
    wallets = np.maximum(worth / leverage, needed / _RATIO_MAX + np.maximum(loss, 0))
    if spec.trigger_reach > 0:
        against = np.exp(np.where(is_long, -1, 1) * spec.trigger_reach * rng.random(n))[holder]
        needed = np.bincount(holder, maintenance(
            scenario, symbol, np.abs(quantity * marks * against)), n)
        loss = np.bincount(holder, entry - quantity * marks * against, n)
        wallets = np.maximum(needed + loss, 1)
    order = np.lexsort((symbol, holder))
    pledged = np.where(pledges, wallets / float(scenario.collateral.weight) + 2, 0.0)
    return Population(
        wallets.astype(np.int64) + 1, pledged.astype(np.int64), holder[order], symbol[order],
        quantity[order], entry[order], worth / wallets, temper)


def opening_commands(population: Population) -> Iterator[Packed]:
    """Yield the packed commands that open accounts and positions.

    Fills book the other half of every position to the external account, which stands for
    those who hold the rest of the open interest and cannot be liquidated.
    """
    accounts = np.arange(1, population.count + 1)
    yield account_commands(accounts)
    pledges = population.pledged > 0
    yield deposit_commands(accounts[~pledges], 0, population.wallets[~pledges])
    yield deposit_commands(accounts[pledges], COLLATERAL, population.pledged[pledges])
    yield fill_commands(
        population.holder + 1, population.symbol, population.quantity, population.entry)


def stop_orders(
    scenario: Scenario, population: Population, marks: Ints
) -> tuple[Packed, Packed]:
    """Return packed stop orders of those who use them, and their special terms.

    A stop lies `stop_distance` of the way from the mark to where the account's margin is
    used up by this position alone, and closes the position at the market.
    """
    spec = scenario.population
    uses = population.temper[:, 2] < spec.stop_share
    rows = np.flatnonzero(uses[population.holder])
    holder, symbol = population.holder[rows], population.symbol[rows]
    quantity = population.quantity[rows]
    worth = np.bincount(
        population.holder, np.abs(population.entry).astype(np.float64), population.count)
    room = (population.wallets / worth)[holder] * spec.stop_distance
    trigger = (marks[symbol] * (1 - np.sign(quantity) * room)).astype(np.int64)
    keep = trigger > 0
    rows, holder, symbol = rows[keep], holder[keep], symbol[keep]
    specials = empty_specials(len(rows))
    specials["trigger_price"], specials["trigger_by"] = trigger[keep], TriggerBy.MARK
    orders = empty_commands(len(rows))
    orders["cmd"], orders["account"], orders["symbol"] = Command.ORDER, holder + 1, symbol
    # An account has a stop for each symbol: two numbers.
    orders["order_id"] = STOP_ORDER_ID + symbol
    orders["side"] = np.where(quantity[keep] > 0, Side.SELL, Side.BUY)
    orders["type"], orders["quantity"] = OrderType.STOP_MARKET, 1
    orders["time_in_force"] = TimeInForce.GTC
    orders["flags"] = FLAG_CLOSE_POSITION | FLAG_REDUCE_ONLY
    orders["special"] = np.arange(len(rows))
    return orders, specials
