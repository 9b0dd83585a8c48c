"""One run: prices, marks, liquidations, and the answers of agents, in a closed loop.

A step at time t: commands that arrive by t are applied; the index moves; marks are made of
index, books and last trades, and applied as one `marks` command, in which the engine
liquidates into the books; agents see what happened, and what they send arrives later.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from engine import Exchange
from engine.batches import Packed
from engine.demo.market import SETTLE, SETTLE_DECIMALS
from engine.errors import InputError
from engine.lab import population as people
from engine.lab.agents import Agent, Holders, Noise, Trend, View
from engine.lab.funding import Funding
from engine.lab.funds import Funds, GaussianFlow
from engine.lab.makers import (
    TRADE_FORCED,
    TRADE_LOTS,
    TRADE_PRICE,
    TRADE_SIDE,
    TRADE_SYMBOL,
    Makers,
)
from engine.lab.market import (
    MARKS_PER_TICK,
    MINOR,
    Floats,
    Ints,
    Markets,
    in_force,
    index_paths,
    plan,
)
from engine.lab.marks import MarkMaker
from engine.lab.recorder import Recorder, Run
from engine.lab.scenario import Scenario
from engine.lab.venue import Venue, collateral_commands
from engine.messages import NONE, RECORD_WIDTH, EventKind, Side

#: Time of the first step, less one step: no run depends on the clock.
START_NS = 1_700_000_000 * 10**9
_SECOND = 10**9


def run(
    scenario: Scenario, *, counterfactual: bool = False, agents: Sequence[Agent] = (),
    maps: bool = True,
) -> Run:
    """Run a scenario; `Scenario.run` says the rest."""
    return _Loop(scenario, counterfactual, agents).run(maps)


class _Loop:
    """State of a run under way."""

    def __init__(
        self, scenario: Scenario, counterfactual: bool, agents: Sequence[Agent]
    ) -> None:
        self.scenario, self.counterfactual = scenario, counterfactual
        self.markets: Markets = plan(scenario)
        first = self.markets.first_marks
        self.population = people.draw(scenario, first)
        self.holdings = self.population.holdings(self.markets.count)
        open_lots = np.abs(self.holdings).sum(axis=0)
        self.depth_lots: Floats = np.maximum(open_lots * scenario.makers.depth, 1.0)
        self.makers = Makers(scenario, self.depth_lots)
        self.holders = Holders(scenario, self.population, self.holdings)
        self.agents: list[Agent] = [
            self.makers, Noise(scenario, self.depth_lots), Trend(scenario, self.depth_lots),
            self.holders]
        if scenario.traders.gaussian_size > 0:
            self.agents.append(GaussianFlow(scenario, self.depth_lots))
        if scenario.funds.count:
            self.agents.append(Funds(scenario, self.depth_lots, first))
        self.agents += agents
        self.index = index_paths(scenario, first)
        self.lag = in_force(scenario, "oracle_lag")
        self.due: list[tuple[int, int, bool, Packed]] = []
        self.sent = 0
        start = first.astype(np.float64)
        self.marks = start
        self.last, self.last_unforced = start.copy(), start.copy()
        self.hole = np.zeros(self.markets.count)
        self.after_marks: Ints = np.empty((0, RECORD_WIDTH), np.int64)  # trades they set off
        self.marks_of = MarkMaker(scenario.mark, start, scenario.step_s)
        self.shadow_of = MarkMaker(scenario.mark, start, scenario.step_s)

    def run(self, maps: bool) -> Run:
        self._open()
        self.recorder = Recorder(
            self.scenario, self.counterfactual, self.exchange, self.population,
            self.depth_lots, self.holdings, self.venue, maps)
        step_ns = self.scenario.step_s * _SECOND
        for step in range(self.scenario.steps):
            self._step(step, START_NS + (step + 1) * step_ns)
        return self.recorder.finish(self.exchange, self.holders.answers())

    # --- setting up -----------------------------------------------------------------------

    def _open(self) -> None:
        self.exchange = exchange = Exchange()
        self.core = exchange.core
        for command in self._declarations():
            event = exchange.apply(command)[0]
            if event["event"] == "rejected":
                raise InputError(f"{command['cmd']}: {event['reason']}: {event['detail']}")
        self.venue = Venue(self.scenario, self.markets, exchange, self.counterfactual)
        self.funding = Funding(self.scenario, exchange, self.markets.count)
        for commands in people.opening_commands(self.population):
            self._load(commands)
        orders, specials = people.stop_orders(
            self.scenario, self.population, self.markets.first_marks)
        if len(orders):
            exchange.submit_many(orders, specials)
        for agent in self.agents:
            for commands in agent.opening_commands():
                self._load(commands)
        # The books are full before the first step.
        first = self.markets.first_marks.astype(np.float64)
        quotes = self.makers.act(View(
            0, START_NS, first, first, first, first, first, np.empty((0, RECORD_WIDTH), np.int64)))
        if quotes is not None:
            exchange.submit_many(quotes)
        exchange.discard_events()

    def _load(self, commands: Packed) -> None:
        if len(commands) and self.exchange.submit_many(commands):
            raise ValueError("the scenario does not load: an opening command was refused")
        self.exchange.discard_events()

    def _declarations(self) -> Iterator[dict[str, Any]]:
        scenario = self.scenario
        yield {"cmd": "asset", "asset": SETTLE, "decimals": SETTLE_DECIMALS, "ts": START_NS}
        yield from collateral_commands(scenario, START_NS)
        for market in self.markets.markets:
            yield market.command() | {"profile": scenario.profile}
            yield {"cmd": "mark", "symbol": market.symbol,
                   "mark_price": f"{market.first_price:f}"}
            if self.counterfactual:
                yield {"cmd": "halt", "symbol": market.symbol, "mode": "no_liquidation"}
        fund = int(scenario.insurance * MINOR)
        if fund > 0:
            yield {"cmd": "insurance", "asset": SETTLE, "amount": f"{fund / MINOR:.6f}"}

    # --- one step -------------------------------------------------------------------------

    def _step(self, step: int, ts_ns: int) -> None:
        before = self._deliver(ts_ns)
        self._count_last(before)
        index = self.index[step]
        seen = self._index_seen(step)
        bid, ask = self._quotes()
        marks = self._whole(self.marks_of.step(seen, bid, ask, self.last))
        forced = np.exp(-(self.makers.forced_displacement + self.hole))
        shadow = self.shadow_of.step(seen, bid * forced, ask * forced, self.last_unforced)
        self.recorder.measure_depth(step, bid, ask)
        self.venue.step(step, ts_ns, seen, self.marks)
        self.funding.step(step, ts_ns, seen, bid, ask)
        rows = [(symbol, mark, NONE, NONE) for symbol, mark in enumerate(marks.tolist())]
        self.core.marks(rows, ts_ns, self._cause(marks, before))
        mark_seq = int(self.core.seq)
        self.marks = marks.astype(np.float64)
        # One table of both, so that what a gap sets off is there once.
        records, split = np.concatenate([before, self._drain()]), len(before)
        after = records[split:]
        self.after_marks = after[after[:, 0] == EventKind.TRADE]
        self._count_last(after)
        if (after[:, 0] == EventKind.TRADE).any():
            bid, ask = self._count_hole(after, bid, ask)
        self.recorder.add(
            step, ts_ns, mark_seq, records, split, index=index, marks=self.marks,
            shadow=shadow, bid=bid, ask=ask, last=self.last,
            premium=self.funding.premium[step])
        view = View(step, ts_ns, seen, self.marks, self.last.copy(), bid, ask, records)
        for agent in self.agents:
            commands = agent.act(view)
            if commands is not None:
                self.sent += 1
                heapq.heappush(self.due, (
                    ts_ns + agent.latency_ns, self.sent, agent is self.makers, commands))

    # The command since the last marks that traded most in the direction in which trades moved
    # the marks of its symbols, of equal ones the latest; NONE: only the index moved them.
    def _cause(self, marks: Ints, before: Ints) -> int:
        trades = np.concatenate([self.after_marks, before[before[:, 0] == EventKind.TRADE]])
        push = np.sign(marks - self._whole(self.marks_of.held))[trades[:, TRADE_SYMBOL]]
        trades = trades[push == np.where(trades[:, TRADE_SIDE] == Side.BUY, 1, -1)]
        if not len(trades):
            return NONE
        seqs, at = np.unique(trades[:, 1], return_inverse=True)
        size = np.bincount(at, trades[:, TRADE_LOTS] * trades[:, TRADE_PRICE])
        return int(seqs[size == size.max()][-1])

    def _deliver(self, ts_ns: int) -> Ints:
        while self.due and self.due[0][0] <= ts_ns:
            at_ns, _, is_quotes, commands = heapq.heappop(self.due)
            commands["ts"] = at_ns
            self.exchange.submit_many(commands)
            if is_quotes:
                self.hole[:] = 0.0
        return self._drain()

    def _drain(self) -> Ints:
        return np.frombuffer(self.core.drain_bytes(), np.int64).reshape(-1, RECORD_WIDTH)

    def _index_seen(self, step: int) -> Floats:
        lag = self.lag[step]
        if np.isnan(lag).all():
            return np.asarray(self.index[step])
        back = np.nan_to_num(lag / self.scenario.step_s).astype(np.int64)
        return np.asarray(self.index[np.maximum(step - back, 0), np.arange(self.markets.count)])

    def _quotes(self) -> tuple[Floats, Floats]:
        core, sides = self.core, []
        for side in (Side.BUY, Side.SELL):
            best = [core.book_levels(symbol, side, 1) for symbol in range(self.markets.count)]
            sides.append(np.array([
                levels[0][0] * MARKS_PER_TICK if levels else np.nan for levels in best]))
        return sides[0], sides[1]

    @staticmethod
    def _whole(marks: Floats) -> Ints:
        return np.maximum(np.rint(marks), 1).astype(np.int64)

    def _count_last(self, rows: Ints) -> None:
        """Note the last trades, and the last that was not forced, as it would have been."""
        trades = rows[rows[:, 0] == EventKind.TRADE]
        if not len(trades):
            return
        # Of equal indices the last assignment stands.
        self.last[trades[:, TRADE_SYMBOL]] = trades[:, TRADE_PRICE] * MARKS_PER_TICK
        trades = trades[trades[:, TRADE_FORCED] == 0]
        symbol = trades[:, TRADE_SYMBOL]
        moved = np.exp(-(self.makers.forced_displacement + self.hole))
        self.last_unforced[symbol] = trades[:, TRADE_PRICE] * MARKS_PER_TICK * moved[symbol]

    def _count_hole(self, rows: Ints, bid: Floats, ask: Floats) -> tuple[Floats, Floats]:
        """Note how far forced trades have moved the mid, until makers quote anew."""
        new_bid, new_ask = self._quotes()
        trades = rows[(rows[:, 0] == EventKind.TRADE)]
        lots = np.bincount(trades[:, TRADE_SYMBOL], trades[:, TRADE_LOTS], self.markets.count)
        forced = np.bincount(trades[:, TRADE_SYMBOL], trades[:, TRADE_LOTS]
                             * trades[:, TRADE_FORCED], self.markets.count)
        moved = np.log((new_bid + new_ask) / (bid + ask))
        share = np.divide(forced, lots, out=np.zeros_like(forced), where=lots > 0)
        self.hole += np.where(np.isnan(moved), 0.0, moved * share)
        return new_bid, new_ask
