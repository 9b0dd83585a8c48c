"""Who acts besides the makers: noise, trend followers, and holders who answer events.

An agent sees a `View` after each step and returns packed commands, or nothing. They reach
the exchange `latency_ns` later, in order of arrival. Agents act by commands only, as
anybody: orders, and deposits into their own accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.batches import (
    Packed,
    account_commands,
    deposit_commands,
    empty_commands,
    leverage_commands,
)
from engine.lab.market import NOISE, Floats, Ints, stream
from engine.lab.population import Population
from engine.lab.scenario import Scenario
from engine.messages import (
    FLAG_REDUCE_ONLY,
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    Command,
    EventKind,
    OrderType,
    Side,
    TimeInForce,
)
from engine.tally import field_at

#: Money that never runs out, in minor units.
DEEP_POCKET = MONEY_MAX // 2**12
FIRST_NOISE, FIRST_TREND = 800_000_001, 810_000_001
FIRST_MAKER = 900_000_001
#: Trend followers look every so many steps.
_TREND_EVERY = 5
#: A margin call is answered by this much of what would just end it.
_TOP_UP_FACTOR = 1.5
FIRST_ANSWER_ID = 1_000
#: What holders note of each answer: the kind of event that it answers, the command that this event
#: came with, who answers, in which symbol (-1: a deposit), the number of the order (0: a deposit),
#: signed lots or money, and for whose liquidation the account was deleveraged (0: the fund's, -1:
#: it answers a margin call).
ANSWER_FIELDS = ("answers", "event_seq", "account", "symbol", "order_id", "amount", "counterparty")

_CALL_NEEDED = field_at(EventKind.MARGIN_CALL, "collateral_needed")
_CALL_SYMBOL = field_at(EventKind.MARGIN_CALL, "symbol_to_close")
_CALL_LOTS = field_at(EventKind.MARGIN_CALL, "quantity_to_close")
_ADL_SYMBOL = field_at(EventKind.ADL, "symbol")
_ADL_SIDE = field_at(EventKind.ADL, "side")
_ADL_LOTS = field_at(EventKind.ADL, "quantity")
_ADL_FOR = field_at(EventKind.ADL, "counterparty")
_ACCOUNT = 4  # of both


@dataclass
class View:
    """What can be seen after a step. Prices are in mark ticks, arrays go by symbol.

    Attributes
    ----------
    step, ts_ns : int
    index, marks, last : array of float
    bid, ask : array of float
        NaN where that side of the book is empty.
    rows : array of int64, shape (n, RECORD_WIDTH)
        Event records since the view before; `engine.messages.EVENT_LAYOUTS` has the fields.
    """

    step: int
    ts_ns: int
    index: Floats
    marks: Floats
    last: Floats
    bid: Floats
    ask: Floats
    rows: Ints

    def events(self, kind: EventKind) -> Ints:
        """Return the rows of one kind."""
        found: Ints = self.rows[self.rows[:, 0] == kind]
        return found


class Agent(Protocol):
    """What `Scenario.run(agents=...)` takes."""

    latency_ns: int

    def opening_commands(self) -> Iterator[Packed]:
        """Yield the packed commands that open and fund its accounts."""
        ...

    def act(self, view: View) -> Packed | None:
        """Return packed commands, or None."""
        ...


def open_deep_pockets(accounts: Ints, symbols: Ints) -> Iterator[Packed]:
    """Yield the commands that open accounts, one a symbol, which margin never stops."""
    yield account_commands(accounts)
    yield deposit_commands(accounts, 0, DEEP_POCKET)
    # At a leverage of 1 a position may be as large as it likes.
    yield leverage_commands(accounts, symbols, RATE_SCALE)


def market_orders(
    accounts: Ints, symbols: Ints, order_ids: Ints, lots: Ints, flags: int = 0
) -> Packed:
    """Return packed market orders; `lots` is signed, positive buys."""
    orders = empty_commands(len(lots))
    orders["cmd"], orders["account"], orders["symbol"] = Command.ORDER, accounts, symbols
    orders["order_id"], orders["side"] = order_ids, np.where(lots > 0, Side.BUY, Side.SELL)
    orders["type"], orders["quantity"] = OrderType.MARKET, np.abs(lots)
    orders["time_in_force"], orders["flags"] = TimeInForce.IOC, flags
    return orders


class Noise:
    """Market orders at random times, both sides alike, with exponential sizes.

    Everything is drawn before the run, so that the same orders come whatever happens.
    """

    def __init__(self, scenario: Scenario, depth_lots: Floats) -> None:
        spec = scenario.traders
        self.latency_ns = int(spec.latency_s * 1e9)
        self._count = len(depth_lots)
        rng = stream(scenario, NOISE)
        counts = rng.poisson(spec.noise_rate * scenario.step_s, (scenario.steps, self._count))
        total = int(counts.sum())
        sizes = rng.exponential(spec.noise_size, total)
        sides = rng.integers(0, 2, total) * 2 - 1
        self._symbols = np.tile(np.arange(self._count), scenario.steps).repeat(counts.ravel())
        self._lots = np.maximum(sizes * depth_lots[self._symbols], 1).astype(np.int64) * sides
        self._ends = np.cumsum(counts.sum(axis=1))

    def opening_commands(self) -> Iterator[Packed]:
        """Open one account a symbol."""
        symbols = np.arange(self._count)
        return open_deep_pockets(symbols + FIRST_NOISE, symbols)

    def act(self, view: View) -> Packed | None:
        """Return the orders drawn for this step."""
        end = int(self._ends[view.step])
        start = int(self._ends[view.step - 1]) if view.step else 0
        if start == end:
            return None
        symbols = self._symbols[start:end]
        return market_orders(
            symbols + FIRST_NOISE, symbols, np.arange(start, end) + 1, self._lots[start:end])


class Trend:
    """Trend followers: they buy above a slow average of the mid, and sell below it.

    Formula: signal = ln(mid / average); beyond the threshold an order of
    size x min(abs(signal) / threshold - 1, 1) calm depths, in the direction of the signal.
    """

    def __init__(self, scenario: Scenario, depth_lots: Floats) -> None:
        spec = scenario.traders
        self.latency_ns = int(spec.latency_s * 1e9)
        self._spec, self._depth = spec, depth_lots
        self._keep = 0.5 ** (scenario.step_s / spec.momentum_half_life_s)
        self._average: Floats | None = None
        self._next_id = 1

    def opening_commands(self) -> Iterator[Packed]:
        """Open one account a symbol."""
        symbols = np.arange(len(self._depth))
        return open_deep_pockets(symbols + FIRST_TREND, symbols)

    def act(self, view: View) -> Packed | None:
        """Return orders where the signal is strong enough."""
        mid = (view.bid + view.ask) / 2
        level = np.log(np.where(np.isnan(mid), view.marks, mid))
        if self._average is None:
            self._average = level
        self._average = self._keep * self._average + (1 - self._keep) * level
        if view.step % _TREND_EVERY:
            return None
        signal = level - self._average
        strength = np.clip(np.abs(signal) / self._spec.momentum_threshold - 1, 0, 1)
        lots = (np.sign(signal) * strength * self._spec.momentum_size * self._depth)
        symbols = np.flatnonzero(np.abs(lots) >= 1)
        if not len(symbols):
            return None
        ids = self._next_id + np.arange(len(symbols))
        self._next_id += len(symbols)
        return market_orders(
            symbols + FIRST_TREND, symbols, ids, lots[symbols].astype(np.int64))


class Holders:
    """Members of the population who answer: to margin calls, and to being deleveraged."""

    def __init__(self, scenario: Scenario, population: Population, holdings: Ints) -> None:
        spec = scenario.population
        self.latency_ns = int(spec.reaction_s * 1e9)
        self._holdings = holdings  # kept up to date by the run
        self._tops_up = population.temper[:, 0] < spec.top_up_share
        self._reduces = population.temper[:, 1] < spec.reduce_share
        self._reopens = population.temper[:, 3] < spec.reopen_share
        self._next_id = FIRST_ANSWER_ID
        self._sent: list[Ints] = []

    def opening_commands(self) -> Iterator[Packed]:
        """Nothing: the population is opened with its positions."""
        return iter(())

    def act(self, view: View) -> Packed | None:
        """Return deposits and orders of those who answer."""
        parts = [*self._answer_calls(view.events(EventKind.MARGIN_CALL)),
                 *self._reopen(view.events(EventKind.ADL))]
        return np.concatenate(parts) if parts else None

    def answers(self) -> Ints:
        """Return what was sent and in answer to what, columns as `ANSWER_FIELDS`."""
        return (np.concatenate(self._sent) if self._sent
                else np.empty((0, len(ANSWER_FIELDS)), np.int64))

    def _note(self, events: Ints, symbols: Ints, ids: Ints, amounts: Ints) -> None:
        is_adl = events[:, 0] == EventKind.ADL
        self._sent.append(np.column_stack([
            events[:, 0], events[:, 1], events[:, _ACCOUNT], symbols, ids, amounts,
            np.where(is_adl, events[:, _ADL_FOR], -1)]))

    def _members(self, rows: Ints, who: npt.NDArray[np.bool_]) -> Ints:
        rows = rows[(rows[:, _ACCOUNT] > 0) & (rows[:, _ACCOUNT] <= len(who))]
        return rows[who[rows[:, _ACCOUNT] - 1]]

    def _answer_calls(self, rows: Ints) -> Iterator[Packed]:
        calls = self._members(rows, self._tops_up)
        calls = calls[(calls[:, _CALL_NEEDED] != NONE) & (calls[:, _CALL_NEEDED] > 0)]
        if len(calls):
            amounts = (calls[:, _CALL_NEEDED] * _TOP_UP_FACTOR).astype(np.int64)
            nothing = np.zeros(len(calls), np.int64)
            self._note(calls, nothing - 1, nothing, amounts)
            yield deposit_commands(calls[:, _ACCOUNT], 0, amounts)
        calls = self._members(rows, self._reduces)
        calls = calls[(calls[:, _CALL_LOTS] != NONE) & (calls[:, _CALL_LOTS] > 0)]
        if len(calls):
            symbols = calls[:, _CALL_SYMBOL]
            held = self._holdings[calls[:, _ACCOUNT] - 1, symbols]
            yield self._orders(
                calls, symbols, -np.sign(held) * calls[:, _CALL_LOTS], FLAG_REDUCE_ONLY)

    def _reopen(self, rows: Ints) -> Iterator[Packed]:
        closed = self._members(rows, self._reopens)
        if len(closed):
            # The event's side is that of the closing trade.
            sign = np.where(closed[:, _ADL_SIDE] == Side.BUY, -1, 1)
            yield self._orders(closed, closed[:, _ADL_SYMBOL], sign * closed[:, _ADL_LOTS], 0)

    def _orders(self, events: Ints, symbols: Ints, lots: Ints, flags: int) -> Packed:
        events, symbols, lots = events[lots != 0], symbols[lots != 0], lots[lots != 0]
        ids = self._next_id + np.arange(len(lots))
        self._next_id += len(lots)
        self._note(events, symbols, ids, lots)
        return market_orders(events[:, _ACCOUNT], symbols, ids, lots, flags)
