"""Leveraged value funds, and a Gaussian flow of orders: the market of fat tails by leverage.

After Thurner, Farmer and Geanakoplos (2012). The index is what the asset is worth. Gaussian
flow pushes the makers' quotes off it, and their displacement fades: without funds the log price
is an autoregression with Gaussian shocks. A fund h buys what is cheap, by

    wanted leverage = beta_h ln(index / mark), held up to the limit of `FundSpec.leverage`,

and sells as the mispricing goes. A fund at its limit that loses is over it. It does nothing
about that: the venue's maintenance margin does, by forced sales, which is all that a margin call
is here. A fund that has nothing open while nothing is cheap begins anew with its first capital:
what it won goes to its investors, what it lost is put in again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.batches import Packed, account_commands, deposit_commands, leverage_commands
from engine.lab.agents import View, market_orders, open_deep_pockets
from engine.lab.market import FLOW, Floats, Ints, stream
from engine.lab.scenario import Scenario
from engine.messages import FLAG_REDUCE_ONLY, RATE_SCALE, Command, EventKind
from engine.tally import field_at

FIRST_FLOW, FIRST_FUND = 805_000_001, 820_000_001
#: A fund trades when what it holds is off what it wants by this share of it.
_TOLERANCE = 0.02
#: A position of so much of the capital is little.
_SMALL = 0.1
#: Profits are paid out from this share of the capital on.
_SMALL_PAYOUT = 0.005
#: Before the makers quote anew, so that what flow eats is not in the quotes that make marks.
_LATENCY_NS = 100_000_000
_ACCOUNT = 4
_WALLET = field_at(EventKind.BALANCE, "wallet")
_ASSET = field_at(EventKind.BALANCE, "asset")
_LOTS = field_at(EventKind.POSITION, "quantity")
_ENTRY = field_at(EventKind.POSITION, "entry_value")


class GaussianFlow:
    """One market order a step and symbol, of Gaussian size, drawn before the run."""

    latency_ns = _LATENCY_NS

    def __init__(self, scenario: Scenario, depth_lots: Floats) -> None:
        rng = stream(scenario, FLOW)
        sizes = rng.standard_normal((scenario.steps, len(depth_lots)))
        self._lots = np.rint(sizes * scenario.traders.gaussian_size * depth_lots).astype(np.int64)

    def opening_commands(self) -> Iterator[Packed]:
        """Open one account a symbol."""
        symbols = np.arange(self._lots.shape[1])
        return open_deep_pockets(symbols + FIRST_FLOW, symbols)

    def act(self, view: View) -> Packed | None:
        """Return the orders drawn for this step."""
        lots = self._lots[view.step]
        symbols = np.flatnonzero(lots)
        if not len(symbols):
            return None
        ids = np.full(len(symbols), view.step + 1)
        return market_orders(symbols + FIRST_FLOW, symbols, ids, lots[symbols])


class Funds:
    """All funds of all symbols; fund `h` of a symbol is the one with the h-th appetite."""

    latency_ns = _LATENCY_NS

    def __init__(self, scenario: Scenario, depth_lots: Floats, first_marks: Ints) -> None:
        spec, count = scenario.funds, len(depth_lots)
        self._spec = spec
        self._symbol = np.arange(spec.count * count) % count
        self._appetite = np.linspace(
            spec.appetite_low, spec.appetite_high, spec.count).repeat(count)
        worth = depth_lots * first_marks * spec.wealth / spec.count
        self._allowed = np.array([symbol.tiers[0][2] for symbol in scenario.symbols])
        self._capital = np.maximum(worth, 1)[self._symbol].astype(np.int64)
        self._accounts = FIRST_FUND + np.arange(len(self._symbol))
        self._wallet, self._lots, self._entry = (np.zeros(len(self._symbol)) for _ in range(3))
        self._wallet += self._capital

    def opening_commands(self) -> Iterator[Packed]:
        """Open and fund the accounts, with more leverage allowed than they take."""
        yield account_commands(self._accounts)
        yield deposit_commands(self._accounts, 0, self._capital)
        rates = self._allowed[self._symbol] * RATE_SCALE
        yield leverage_commands(self._accounts, self._symbol, rates)

    def act(self, view: View) -> Packed | None:
        """Return orders towards what each fund wants, and flows of capital of the flat ones."""
        self._take_events(view)
        marks = view.marks[self._symbol]
        cheap = np.log(view.index / view.marks)[self._symbol]
        equity = self._wallet + self._lots * marks - self._entry
        paid = self._payouts(equity, marks)
        equity = equity - paid
        wanted = np.maximum(self._appetite * cheap, 0) * np.maximum(equity, 0) / marks
        most = self._spec.leverage * np.maximum(equity, 0) / marks
        target = np.where(wanted < self._lots, wanted, np.maximum(
            np.minimum(wanted, most), self._lots))
        gap = target - self._lots
        is_worth_it = np.abs(gap) > _TOLERANCE * np.maximum(target, self._lots)
        # What is left of little goes at once, so that a fund ends flat.
        step = np.where(np.abs(gap) < _SMALL * self._capital / marks, gap, gap * self._spec.pace)
        change = np.where(is_worth_it, step, 0).astype(np.int64)
        parts = self._move(np.flatnonzero(paid), -paid[paid > 0])
        for rows, flags in ((np.flatnonzero(change > 0), 0),
                            (np.flatnonzero(change < 0), FLAG_REDUCE_ONLY)):
            if len(rows):
                ids = np.full(len(rows), view.step + 1)
                parts.append(market_orders(
                    self._accounts[rows], self._symbol[rows], ids, change[rows], flags))
        rest = (self._lots == 0) & (cheap <= 0)
        rows = np.flatnonzero(rest & (self._wallet != self._capital) & (paid == 0))
        parts += self._move(rows, self._capital[rows] - self._wallet[rows].astype(np.int64))
        return np.concatenate(parts) if parts else None

    def _payouts(self, equity: Floats, marks: Floats) -> Ints:
        """What is beyond the first capital, realised, and not needed to stay within the limit."""
        if not self._spec.pays_out:
            return np.zeros(len(equity), np.int64)
        needed = np.maximum(self._capital, self._lots * marks / self._spec.leverage)
        most = np.minimum(equity - needed, self._wallet)
        return np.where(most > _SMALL_PAYOUT * self._capital, most, 0).astype(np.int64)

    def _move(self, rows: Ints, amounts: Ints) -> list[Packed]:
        parts = []
        for command, sign in ((Command.DEPOSIT, 1), (Command.WITHDRAW, -1)):
            mine = amounts * sign > 0
            if mine.any():
                moves = deposit_commands(self._accounts[rows[mine]], 0, np.abs(amounts[mine]))
                moves["cmd"] = command
                parts.append(moves)
        return parts

    def _take_events(self, view: View) -> None:
        for kind, columns in (
                (EventKind.BALANCE, ((_WALLET, self._wallet),)),
                (EventKind.POSITION, ((_LOTS, self._lots), (_ENTRY, self._entry)))):
            rows = view.events(kind)
            mine = (rows[:, _ACCOUNT] >= FIRST_FUND) & (
                rows[:, _ACCOUNT] < FIRST_FUND + len(self._accounts))
            if kind is EventKind.BALANCE:
                mine &= rows[:, _ASSET] == 0
            rows = rows[mine]
            for column, state in columns:
                # Of equal accounts the last row stands.
                state[rows[:, _ACCOUNT] - FIRST_FUND] = rows[:, column]
