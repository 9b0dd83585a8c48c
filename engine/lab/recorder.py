"""What a run leaves behind: event records of what matters, and a line a step."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine import Exchange, __version__
from engine.lab.agents import ANSWER_FIELDS
from engine.lab.funds import FIRST_FUND
from engine.lab.makers import TRADE_FORCED, TRADE_LOTS, TRADE_SYMBOL, TRADE_TAKER
from engine.lab.market import MARKS_PER_TICK, Floats, Ints
from engine.lab.population import Population
from engine.lab.scenario import Scenario
from engine.lab.venue import Venue
from engine.messages import (
    EVENT_LAYOUTS,
    RATE_SCALE,
    RECORD_WIDTH,
    Command,
    EventKind,
    RejectReason,
    Side,
)
from engine.tally import HEADER_WIDTH, field_at

_KEPT = np.zeros(64, np.bool_)
_KEPT[[
    EventKind.MARGIN_CALL, EventKind.LIQUIDATION_STARTED, EventKind.LIQUIDATION_STEP,
    EventKind.LIQUIDATION_TAKEOVER, EventKind.LIQUIDATION_FINISHED, EventKind.INSURANCE,
    EventKind.ADL, EventKind.SOCIALIZED_LOSS, EventKind.ORDER_TRIGGERED,
    EventKind.COLLATERAL_CONVERTED,
]] = True
_POSITION_LOTS = field_at(EventKind.POSITION, "quantity")
_CALL_LEVEL = field_at(EventKind.MARGIN_CALL, "level")
_CALL_EQUITY = field_at(EventKind.MARGIN_CALL, "equity")
_CALL_MAINTENANCE = field_at(EventKind.MARGIN_CALL, "maintenance_margin")
_FUND_BALANCE = field_at(EventKind.INSURANCE, "balance")
#: Depth of the books is measured every so many steps, within this share of the mid.
DEPTH_EVERY, DEPTH_SHARE = 5, 0.01
#: Open lots are summed up every so many steps.
OPEN_EVERY = 30
#: Health of so many pools is followed over all steps at once.
_PUSHED_AT_ONCE = 4_000
#: More than any that malloc keeps for itself when it is freed (mallopt(3): 32 MB at most).
_BLOCK_BYTES = 40 << 20
#: The map of pending liquidations is taken so many times in a run.
MAP_COUNT = 60
MAP_BUCKET_PPM = 2_500

Table = dict[str, Ints]


@dataclass
class Run:
    """A run and all that it left. Prices are in mark ticks, money in minor units.

    Attributes
    ----------
    scenario : Scenario
    is_counterfactual : bool
    records : array of int64
        Event records of liquidations, margin calls, the fund, and forced trades, in order.
    lines : dict of str to array, shape (steps, symbols)
        ``index``, ``mark``, ``shadow`` (the mark without forced trades), ``bid``, ``ask``,
        ``last``, ``volume``, ``forced`` (lots sold by force less bought), ``open`` (lots of
        the population, both sides, as last summed up), ``bid_depth``, ``ask_depth`` (lots within
        1 % of the mid before the marks, as last measured), ``multiplier`` (of the margins),
        ``premium`` (mid ÷ index - 1 before the marks).
    clock : dict of str to array, shape (steps,)
        ``ts``, ``seq`` (of the marks command), ``fund`` (balance), ``queue``.
    breaches : dict of str to array
        One row for each pool that became due: ``row`` (in `records`), ``seq``, ``ts``,
        ``step`` (whose marks it met), ``account``, ``equity``, ``maintenance``, ``notional``
        (at the marks), ``symbol`` (of its largest position), ``moved`` (the symbol that forced
        trades hurt it by most), ``push`` (direction of that, -1 down), ``share`` (how much of
        the way from the shadow marks to the marks it could stand; below 0: due without any),
        ``excess`` (not due on the whole rest of the shadow path either). Value funds are pools
        like any other, by their own account numbers.
    breach_lots : array of int64, shape (breaches, symbols)
        What each of these pools held.
    calls : dict of str to array
        One row for each margin call at marks: ``row``, ``seq``, ``ts``, ``account``, ``moved``,
        ``push``, ``share``, as of `breaches`, with the call's level in place of the maintenance
        margin.
    funding : dict of str to array
        One row for each settlement of a symbol: ``seq``, ``ts``, ``symbol``, ``rate`` (1e-8),
        ``mark``, ``paid`` and ``received`` (by accounts and the fund, minor units).
    answers : array of int64
        What members of the population sent in answer to events; columns as
        `engine.lab.agents.ANSWER_FIELDS`.
    own_trades : array of int64
        Event records of the trades that members of the population made by orders of their own:
        answers and stop orders.
    maps : list of (ts, list of arrays)
        Liquidation maps over time, one array for each symbol.
    first_map : list of arrays
        That of the first step, which is always there.
    rejections : dict of (str, str) to int
        Refused commands of agents, by command and reason.
    drift : str
    position_sums : dict of str to int
    state_hash : str
    seq : int
        Commands applied.
    cpu_s : float
    """

    scenario: Scenario
    is_counterfactual: bool
    depth_lots: Floats
    population: Population
    records: Ints = field(
        default_factory=lambda: np.empty((0, RECORD_WIDTH), np.int64))
    lines: dict[str, Floats] = field(default_factory=dict)
    clock: Table = field(default_factory=dict)
    breaches: dict[str, Any] = field(default_factory=dict)
    breach_lots: Ints = field(default_factory=lambda: np.empty((0, 0), np.int64))
    calls: dict[str, Any] = field(default_factory=dict)
    funding: Table = field(default_factory=dict)
    answers: Ints = field(default_factory=lambda: np.empty((0, len(ANSWER_FIELDS)), np.int64))
    own_trades: Ints = field(default_factory=lambda: np.empty((0, RECORD_WIDTH), np.int64))
    maps: list[tuple[int, list[Any]]] = field(default_factory=list)
    first_map: list[Any] = field(default_factory=list)
    rejections: dict[tuple[str, str], int] = field(default_factory=dict)
    drift: str = ""
    position_sums: dict[str, int] = field(default_factory=dict)
    state_hash: str = ""
    seq: int = 0
    cpu_s: float = 0.0

    def table(self, kind: EventKind) -> Table:
        """Return the kept events of one kind as columns, with ``row``, ``seq`` and ``ts``."""
        return columns_of(self.records, kind)

    def marks_at(self, seq: Ints, symbol: Ints) -> Floats:
        """Return the mark that a symbol had in a command, mark ticks."""
        step = np.maximum(np.searchsorted(self.clock["seq"], seq, "right") - 1, 0)
        return np.asarray(self.lines["mark"][step, symbol], np.float64)

    def provenance(self) -> dict[str, Any]:
        """Return what is needed to make this run again, and to see that it is the same."""
        return {
            "engine": __version__, "python": platform.python_version(), "numpy": np.__version__,
            "machine": platform.machine(), "scenario": self.scenario.to_json(),
            "fingerprint": self.scenario.fingerprint(), "seed": self.scenario.seed,
            "counterfactual": self.is_counterfactual, "state_hash": self.state_hash,
            "drift": self.drift, "commands": self.seq,
        }


def columns_of(records: Ints, kind: EventKind) -> Table:
    """Return event records of one kind as columns, with ``row``, ``seq`` and ``ts``."""
    rows = np.flatnonzero(records[:, 0] == kind)
    events = records[rows]
    columns = {"row": rows, "seq": events[:, 1], "ts": events[:, 2]}
    for at, (name, _) in enumerate(EVENT_LAYOUTS[kind]):
        columns[name] = events[:, HEADER_WIDTH + at]
    return columns


class Rows:
    """Rows that come a few at a time.

    They stand in blocks that are given back to the system when they are let go of, which memory
    in small pieces would not be: a run holds hundreds of megabytes of events.

    Attributes
    ----------
    count : int
        Rows so far.
    """

    def __init__(self, width: int, block: int = _BLOCK_BYTES) -> None:
        self.count = 0
        self._width = width
        self._rows_a_block = max(block // (8 * width), 1)
        self._blocks: list[Ints] = []

    def add(self, rows: Ints) -> None:
        """Append rows."""
        done = 0
        while done < len(rows):
            at = self.count % self._rows_a_block
            if at == 0:
                self._blocks.append(np.empty((self._rows_a_block, self._width), np.int64))
            part = rows[done:done + self._rows_a_block - at]
            self._blocks[-1][at:at + len(part)] = part
            done += len(part)
            self.count += len(part)

    def take(self) -> Ints:
        """Return all of them in one piece, and forget them."""
        out: Ints = np.empty((self.count, self._width), np.int64)
        while self._blocks:
            block = self._blocks.pop()
            start = len(self._blocks) * self._rows_a_block
            out[start:start + self._rows_a_block] = block[:self.count - start]
            del block
        self.count = 0
        return out


class Recorder:
    """Collects a run while it goes on."""

    def __init__(
        self, scenario: Scenario, counterfactual: bool, exchange: Exchange,
        population: Population, depth_lots: Floats, holdings: Ints, venue: Venue, maps: bool,
    ) -> None:
        self._started = time.process_time()
        self._run = Run(scenario, counterfactual, depth_lots, population)
        self._exchange = exchange
        self._holdings = holdings
        steps, count = scenario.steps, holdings.shape[1]
        # Positions of the population, and below them of the value funds.
        self._funds = np.zeros((scenario.funds.count * count, count), np.int64)
        names = ("index", "mark", "shadow", "bid", "ask", "last", "volume", "forced", "open",
                 "bid_depth", "ask_depth", "multiplier", "premium")
        self._lines = {name: np.full((steps, count), np.nan) for name in names}
        self._clock = {name: np.zeros(steps, np.int64) for name in ("ts", "seq", "fund", "queue")}
        self._kept, self._own = Rows(RECORD_WIDTH), Rows(RECORD_WIDTH)
        self._breaches: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._settled: list[dict[str, Any]] = []
        self._breach_lots: list[Ints] = []
        # Of each batch of breaches: rates in force, worth of the collateral at par, step of the
        # command.
        self._terms: list[tuple[Floats, Floats, int]] = []
        self._fund = exchange.core.insurance_balance(0)
        self._queue = 0
        self._venue = venue
        self._pledged = np.asarray(
            population.pledged * float(scenario.collateral.weight), np.float64)
        self._map_every = max(steps // MAP_COUNT, 1) if maps else 0

    def add(
        self, step: int, ts_ns: int, mark_seq: int, rows: Ints, split: int, **lines: Floats
    ) -> None:
        """Take in one step: `split` records before the marks command, then of it and later."""
        before, after = rows[:split], rows[split:]
        self._hold(before)
        at = self._lines
        at["mark"][step] = lines.pop("marks")
        for name, values in lines.items():
            at[name][step] = values
        at["multiplier"][step] = self._venue.multiplier
        for part in (before, after):
            if part is after:
                self._note_breaches(step, mark_seq, after)
            self._kept.add(part[_kept_mask(part)])
            self._note_funding(part)
            own = part[part[:, 0] == EventKind.TRADE]
            self._own.add(
                own[(own[:, TRADE_FORCED] == 0) & self._of_population(own[:, TRADE_TAKER])])
        self._hold(after)
        self._note_trades(step, rows)
        at["open"][step] = np.abs(self._holdings).sum(axis=0) if step % OPEN_EVERY == 0 else (
            at["open"][step - 1])
        clock = self._clock
        clock["ts"][step], clock["seq"][step] = ts_ns, mark_seq
        clock["fund"][step], clock["queue"][step] = self._fund, self._queue
        if step == 0 or (self._map_every and step % self._map_every == 0):
            found = [self._exchange.liquidation_map(symbol, MAP_BUCKET_PPM)
                     for symbol in self._exchange.symbols]
            if step == 0:
                self._run.first_map = found
            if self._map_every:
                self._run.maps.append((ts_ns, found))

    def _hold(self, rows: Ints) -> None:
        positions = rows[rows[:, 0] == EventKind.POSITION]
        # The last row of a position stands.
        mine = positions[self._of_population(positions[:, 4])]
        self._holdings[mine[:, 4] - 1, mine[:, 5]] = mine[:, _POSITION_LOTS]
        mine = positions[self._of_funds(positions[:, 4])]
        self._funds[mine[:, 4] - FIRST_FUND, mine[:, 5]] = mine[:, _POSITION_LOTS]

    def _of_population(self, accounts: Ints) -> npt.NDArray[np.bool_]:
        return (accounts > 0) & (accounts <= len(self._holdings))

    def _of_funds(self, accounts: Ints) -> npt.NDArray[np.bool_]:
        return (accounts >= FIRST_FUND) & (accounts < FIRST_FUND + len(self._funds))

    def _lots(self, accounts: Ints) -> Floats:
        out = np.empty((len(accounts), self._holdings.shape[1]))
        is_fund = self._of_funds(accounts)
        out[~is_fund] = self._holdings[accounts[~is_fund] - 1]
        out[is_fund] = self._funds[accounts[is_fund] - FIRST_FUND]
        return out

    def _note_breaches(self, step: int, mark_seq: int, rows: Ints) -> None:
        for kind, note in ((EventKind.LIQUIDATION_STARTED, self._note_started),
                           (EventKind.MARGIN_CALL, self._note_called)):
            at = np.flatnonzero(rows[:, 0] == kind)
            at = at[self._of_population(rows[at, 4]) | self._of_funds(rows[at, 4])]
            kept = self._kept.count + np.searchsorted(np.flatnonzero(_kept_mask(rows)), at)
            # What the venue does comes before the marks, and meets those of the step before.
            early = rows[at, 1] < mark_seq
            for mine, of in ((early, max(step - 1, 0)), (~early, step)):
                if mine.any():
                    note(rows[at[mine]], kept[mine], of, step)

    def _note_started(self, started: Ints, kept: Ints, step: int, now: int) -> None:
        account = started[:, 4]
        lots = self._lots(account)
        worth = np.abs(lots) * self._lines["mark"][step]
        push = self._pushed(lots, 1.0, started[:, 7], started[:, 8], step)
        pledged = np.zeros(len(account))
        members = self._of_population(account)
        pledged[members] = self._pledged[account[members] - 1]
        self._terms.append((self._venue.rates, pledged, now))
        self._breach_lots.append(lots.astype(np.int64))
        self._breaches.append({
            "row": kept, "seq": started[:, 1], "ts": started[:, 2],
            "step": np.full(len(kept), step), "account": account, "equity": started[:, 7],
            "maintenance": started[:, 8], "notional": worth.sum(axis=1),
            "symbol": worth.argmax(axis=1), **push,
        })

    def _note_called(self, called: Ints, kept: Ints, step: int, now: int) -> None:
        equity, maintenance = called[:, _CALL_EQUITY], called[:, _CALL_MAINTENANCE]
        level = called[:, _CALL_LEVEL, None] / RATE_SCALE
        push = self._pushed(self._lots(called[:, 4]), level, equity, maintenance, step)
        self._calls.append({"row": kept, "seq": called[:, 1], "ts": called[:, 2],
                            "account": called[:, 4], **push})

    def _pushed(
        self, lots: Floats, level: Any, equity: Ints, maintenance: Ints, step: int
    ) -> Table:
        """How far forced trades have moved level x equity - maintenance of pools, and where."""
        marks, shadow = self._lines["mark"][step], self._lines["shadow"][step]
        hurt = _slope(lots, level, self._venue.rates) * (shadow - marks)
        due_by = maintenance - np.ravel(level) * equity
        total = hurt.sum(axis=1)
        share = np.where(total > 0, 1 - due_by / np.where(total > 0, total, 1.0), -1.0)
        moved = hurt.argmax(axis=1)
        return {"moved": moved, "push": np.sign(marks[moved] - shadow[moved]), "share": share}

    def _note_funding(self, rows: Ints) -> None:
        if not (rows[:, 0] == EventKind.FUNDING_PAYMENT).any():
            return
        paid = columns_of(rows, EventKind.FUNDING_PAYMENT)
        seqs, first, at = np.unique(paid["seq"], return_index=True, return_inverse=True)
        money = [np.zeros(len(seqs), np.int64) for _ in range(2)]
        for total, sign in zip(money, (-1, 1), strict=True):
            np.add.at(total, at, np.maximum(sign * paid["amount"], 0))
        self._settled.append({
            "seq": seqs, "ts": paid["ts"][first], "symbol": paid["symbol"][first],
            "rate": paid["rate"][first], "mark": paid["mark_price"][first],
            "paid": money[0], "received": money[1]})

    def _note_trades(self, step: int, rows: Ints) -> None:
        trades = rows[rows[:, 0] == EventKind.TRADE]
        count = self._holdings.shape[1]
        symbol, lots = trades[:, TRADE_SYMBOL], trades[:, TRADE_LOTS]
        self._lines["volume"][step] = np.bincount(symbol, lots, count)
        sold = np.where(trades[:, field_at(EventKind.TRADE, "taker_side")] == Side.SELL, 1, -1)
        self._lines["forced"][step] = np.bincount(
            symbol, lots * sold * trades[:, TRADE_FORCED], count)
        refused = rows[rows[:, 0] == EventKind.REJECTED]
        for command, reason in refused[:, HEADER_WIDTH:HEADER_WIDTH + 2].tolist():
            key = Command(command).name.lower(), RejectReason(reason).name.lower()
            self._run.rejections[key] = self._run.rejections.get(key, 0) + 1
        funds = rows[rows[:, 0] == EventKind.INSURANCE]
        if len(funds):
            self._fund = int(funds[-1, _FUND_BALANCE])
        self._queue += int((rows[:, 0] == EventKind.LIQUIDATION_STARTED).sum())
        self._queue -= int((rows[:, 0] == EventKind.LIQUIDATION_FINISHED).sum())

    def measure_depth(self, step: int, bid: Floats, ask: Floats) -> None:
        """Measure the books as the marks of a step will meet them."""
        core, lines = self._exchange.core, self._lines
        for name, side in (("bid_depth", Side.BUY), ("ask_depth", Side.SELL)):
            if step % DEPTH_EVERY:
                lines[name][step] = lines[name][step - 1]
                continue
            for symbol, middle in enumerate(((bid + ask) / 2).tolist()):
                reach = middle * DEPTH_SHARE
                levels = core.book_levels(symbol, side, 64)
                lines[name][step, symbol] = sum(
                    order[3] for price, orders in levels for order in orders
                    if abs(price * MARKS_PER_TICK - middle) <= reach)

    def finish(self, exchange: Exchange, answers: Ints) -> Run:
        """Return the run, with its hash and its proof of conservation."""
        run = self._run
        run.lines, run.clock = self._lines, self._clock
        run.records, run.own_trades, run.answers = self._kept.take(), self._own.take(), answers
        pushed = ("moved", "push", "share")
        run.breaches = _columns(self._breaches, (
            "row", "seq", "ts", "step", "account", "equity", "maintenance", "notional", "symbol",
            *pushed))
        run.breaches["excess"] = self._excess(run.breaches)
        run.breach_lots = _joined(self._breach_lots, self._holdings.shape[1])
        run.funding = _columns(self._settled, (
            "seq", "ts", "symbol", "rate", "mark", "paid", "received"))
        run.calls = _columns(self._calls, ("row", "seq", "ts", "account", *pushed))
        totals = exchange.totals()
        drifts = [asset["drift"] for asset in totals["assets"].values()]
        run.drift = next((drift for drift in drifts if drift != "0"), "0")
        run.position_sums = {
            symbol: sum(exchange.core.position_totals(at))
            for at, symbol in enumerate(exchange.symbols)}
        run.state_hash, run.seq = exchange.state_hash(), exchange.seq
        run.cpu_s = time.process_time() - self._started
        return run

    def _excess(self, breaches: dict[str, Any]) -> npt.NDArray[np.bool_]:
        """Which pools would not have become due on the shadow path, now or later.

        Their health at the breach is carried along the shadow marks, positions as they were:
        health(u) = equity - maintenance + slope . (shadow(u) - mark at the breach) + collateral
        at par x (its price(u) - its price at the breach).
        """
        shadow, marks = self._lines["shadow"], self._lines["mark"]
        price = self._venue.collateral_path
        out = np.zeros(len(breaches["step"]), np.bool_)
        done = 0
        for lots, (rates, pledged, now) in zip(self._breach_lots, self._terms, strict=True):
            # Only who could stand at the shadow marks of the breach itself may be in excess.
            found = done + np.flatnonzero(breaches["share"][done:done + len(lots)] > 0)
            # A table of all of them by all steps would be the largest of a run.
            for pushed in np.array_split(found, len(found) // _PUSHED_AT_ONCE + 1):
                if not len(pushed):
                    continue
                step = int(breaches["step"][done])
                mine = pushed - done
                slope = _slope(lots[mine].astype(np.float64), 1.0, rates)
                path = (shadow[step:] - marks[step]) @ slope.T
                paid = price[np.maximum(np.arange(step, len(price)), now)] - price[now]
                path += paid[:, None] * pledged[mine]
                health = (breaches["equity"] - breaches["maintenance"])[pushed]
                out[pushed] = path.min(axis=0) + health > 0
            done += len(lots)
        return out


def _slope(lots: Floats, level: Any, rates: Floats) -> Floats:
    """By how much level x equity - maintenance of pools changes with each mark.

    The lowest tier's rate is near enough, for between shadow and mark few positions change tiers.
    """
    slope: Floats = level * lots - rates * np.abs(lots)
    return slope


def _joined(parts: list[Ints], width: int) -> Ints:
    """Return rows in one piece; each part is let go of once it is in."""
    end = sum(len(rows) for rows in parts)
    out: Ints = np.empty((end, width), np.int64)
    while parts:
        rows = parts.pop()
        out[end - len(rows):end] = rows
        end -= len(rows)
    return out


def _columns(parts: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in names:
        # Each column is let go of once it is in.
        out[name] = np.concatenate([one.pop(name) for one in parts]) if parts else np.empty(0)
    return out


def _kept_mask(rows: Ints) -> Any:
    forced = (rows[:, 0] == EventKind.TRADE) & (rows[:, TRADE_FORCED] == 1)
    return _KEPT[rows[:, 0]] | forced
