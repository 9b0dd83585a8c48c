"""Draw a population, and fit it to the open interest and the liquidation map that are stated.

Floats decide only what the population is; what comes out is integers. How the fit works:

1. Sizes, leverages, entries and modes are drawn. With its leverage each position has a
   liquidation price of its own.
2. The positions of a symbol and side are sorted by how near that price is to the mark, and
   dealt to the stated bands, the nearest first, until each has its share; the rest, those of
   least leverage, belong to no band.
3. Within each band, and within the rest, sizes are scaled to the stated total, exactly.
4. A position of a band gets a liquidation price within it, evenly drawn, and the deposit that
   has it there. One of the rest whose price would fall into a band is given more margin, until
   it lies beyond all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.errors import InputError
from engine.messages import MONEY_MAX, RATE_SCALE, ContractKind
from engine.populations.accounts import Accounts, Ints
from engine.populations.plan import Band, Plan, SymbolPlan

if TYPE_CHECKING:
    from engine.exchange import Exchange
    from engine.instruments import Instrument

Floats = npt.NDArray[np.float64]

#: A position begins with a margin ratio of this at most.
_FIRST_RATIO_MAX = 0.9


class _Market:
    """An instrument's numbers as floats and mark ticks."""

    def __init__(self, exchange: Exchange, symbol: str) -> None:
        instrument: Instrument = exchange.instrument(symbol)
        self.is_inverse = instrument.kind is ContractKind.INVERSE
        answer = exchange.query({"query": "instrument", "symbol": symbol})
        mark = answer.get("mark_price")
        if mark is None:
            raise InputError(f"{symbol}: has no mark yet, which entries lie around")
        self.symbol, self.index, self.instrument = symbol, instrument.index, instrument
        self.mark = instrument.mark.units(mark)
        self.unit = float(instrument.unit_value)
        self.lot_worth = (
            self.unit / self.mark if self.is_inverse else self.unit * self.mark)
        tiers: list[dict[str, Any]] = exchange.query({"query": "tiers", "symbol": symbol})["tiers"]
        minor = 10.0**instrument.settle.decimals
        self.minor = minor
        self._floors = np.array([float(tier["min_notional"]) for tier in tiers]) * minor
        self._rates = np.array([float(tier["maintenance_margin_rate"]) for tier in tiers])
        is_marginal = instrument.terms.get("tier_rule", "marginal") == "marginal"
        self._amounts = np.array(
            [float(tier["maintenance_amount"]) * is_marginal for tier in tiers]) * minor
        self._leverages = np.array([float(tier["max_leverage"]) for tier in tiers])

    def _tier(self, notional: Floats) -> npt.NDArray[np.int64]:
        return np.maximum(np.searchsorted(self._floors, notional, "left") - 1, 0)

    def worth(self, lots: Ints, price: Floats | float) -> Floats:
        if self.is_inverse:
            return np.asarray(lots * self.unit / price, np.float64)
        return np.asarray(lots * self.unit * price, np.float64)

    def loss(self, lots: Ints, entry: Floats, price: Floats | float) -> Floats:
        """What a long position has lost at a price; a short one has won it."""
        if self.is_inverse:
            return self.worth(lots, price) - self.worth(lots, entry)
        return self.worth(lots, entry - price)

    def empty_at(self, entry: Floats, sign: float, leverage: Floats) -> Floats:
        """The price at which a margin of so much leverage is lost."""
        if self.is_inverse:
            return np.asarray(entry / np.maximum(1.0 + sign / leverage, 1e-9), np.float64)
        return np.asarray(entry * (1.0 - sign / leverage), np.float64)

    def maintenance(self, lots: Ints, price: Floats | float) -> Floats:
        notional = self.worth(lots, price)
        tier = self._tier(notional)
        return np.asarray(notional * self._rates[tier] - self._amounts[tier], np.float64)

    def max_leverage(self, notional: Floats) -> Floats:
        return np.asarray(self._leverages[self._tier(notional)], np.float64)

    def lots_of(self, text: str, where: str) -> int:
        lots = self.instrument.lot.nearest(text)
        if not 0 <= lots < MONEY_MAX:
            raise InputError(f"{self.symbol}: {where} is out of range: {text}")
        return lots


@dataclass
class _Band:
    """A stated band in the engine's units."""

    low: int
    high: int
    lots: int


def draw_population(exchange: Exchange, plan: Plan) -> Accounts:
    """Draw a population for the instruments of an exchange, at their current marks.

    Parameters
    ----------
    exchange : engine.Exchange
        Not changed.
    plan : Plan

    Returns
    -------
    Accounts
        Account ids from `plan.first_account` on. The same plan, marks and tiers give the same.

    Raises
    ------
    InputError
        An instrument that is missing or has no mark, or totals that cannot be met.

    Notes
    -----
    Complexity: O(accounts x log accounts).
    """
    stated = dict(plan.symbols) or {name: SymbolPlan() for name in exchange.symbols}
    for name in stated:
        if name not in exchange.symbols:
            raise InputError(f"{name}: no such instrument (there are: {exchange.symbols})")
    markets = [_Market(exchange, name) for name in stated]
    weights = np.array([one.weight for one in stated.values()])
    if not markets or weights.sum() <= 0:
        raise InputError("the population has no symbol to hold")
    rng = np.random.default_rng(plan.seed)
    held = rng.choice(len(markets), plan.account_count, p=weights / weights.sum())
    is_long = rng.random(plan.account_count) < plan.long_share
    columns = _Columns(plan, rng)
    for k, (market, one) in enumerate(zip(markets, stated.values(), strict=True)):
        for side in (True, False):
            at = np.flatnonzero((held == k) & (is_long == side))
            if len(at) or one.open_interest is not None:
                _fit_side(columns, market, one, at, side, rng)
    return columns.accounts(np.array([market.index for market in markets])[held])


class _Columns:
    """What was drawn, and what the fit makes of it."""

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        n = plan.account_count
        self.plan = plan
        self.leverage = np.maximum(plan.leverage.draw(n, rng), 1.0)
        self.notional = np.maximum(plan.notional.draw(n, rng), 0.0)
        self.distance = np.maximum(plan.entry.draw(n, rng), -0.9)
        self.is_isolated = rng.random(n) < plan.isolated_share
        self.quantity = np.zeros(n, np.int64)
        self.value = np.zeros(n)
        self.deposit = np.zeros(n)
        self.set_leverage = np.zeros(n, np.int64)

    def accounts(self, symbol: Ints) -> Accounts:
        first = self.plan.first_account
        for column in (self.value, self.deposit):
            if (column >= MONEY_MAX).any():
                raise InputError("the population holds more than the engine's integers")
        return Accounts(
            np.arange(first, first + len(symbol), dtype=np.int64), symbol.astype(np.int64),
            self.quantity, self.value.astype(np.int64), self.deposit.astype(np.int64),
            self.set_leverage, self.is_isolated)


def _fit_side(
    columns: _Columns, market: _Market, stated: SymbolPlan, at: Ints, is_long: bool,
    rng: np.random.Generator,
) -> None:
    side = "long" if is_long else "short"
    sign = 1.0 if is_long else -1.0
    lots = np.maximum(
        columns.notional[at] * market.minor / market.lot_worth, 1.0).astype(np.int64)
    entry = np.maximum(market.mark * (1.0 + columns.distance[at]), 1.0)
    leverage = np.minimum(
        columns.leverage[at], market.max_leverage(market.worth(lots, market.mark)))
    # Where it would be due with its drawn leverage, tiers left aside: near enough to sort by.
    natural = market.empty_at(entry, sign, leverage)
    bands = _bands(market, stated, side)
    group = np.full(len(at), len(bands))
    if stated.open_interest is not None:
        total = market.lots_of(stated.open_interest, "open_interest")
        group = _deal(market, side, lots, np.abs(natural - market.mark), bands, total)
        for k, target in enumerate(_targets(market, side, bands, total)):
            chosen = np.flatnonzero(group == k)
            lots[chosen] = _apportion(lots[chosen], target, f"{market.symbol} {side}")
    leverage = np.minimum(leverage, market.max_leverage(market.worth(lots, market.mark)))
    due = np.zeros(len(at))
    for k, band in enumerate(bands):
        chosen = np.flatnonzero(group == k)
        # Not at the edges, so that rounding keeps it inside.
        margin = min(2, (band.high - band.low - 1) // 2)
        due[chosen] = rng.integers(band.low + margin, band.high - margin, len(chosen))
    _settle(columns, market, at, sign, lots, entry, leverage, due, bands)


def _settle(
    columns: _Columns, market: _Market, at: Ints, sign: float, lots: Ints, entry: Floats,
    leverage: Floats, due: Floats, bands: list[_Band],
) -> None:
    """Find the deposits: those that are due at a stated price, and those by leverage."""
    is_banded = due > 0
    due = np.where(is_banded, due, market.mark)
    by_leverage = market.worth(lots, entry) / leverage
    healthy = (
        market.maintenance(lots, market.mark) / _FIRST_RATIO_MAX
        + sign * market.loss(lots, entry, market.mark))
    deposit = np.maximum(by_leverage, healthy)
    if bands:
        # What is stated is all that lies there: the others lie beyond. Twice, because less
        # leverage never brings a price nearer.
        edge = min(band.low for band in bands) if sign > 0 else max(band.high for band in bands)
        beyond = edge * (0.98 if sign > 0 else 1.02)
        needed = market.maintenance(lots, beyond) + sign * market.loss(lots, entry, beyond)
        deposit = np.maximum(deposit, needed)
    needed = market.maintenance(lots, due) + sign * market.loss(lots, entry, due)
    # An entry with so much profit that no deposit would be due there: it entered at the mark.
    is_rich = is_banded & (needed * 200 < market.worth(lots, entry))
    entry = np.where(is_rich, float(market.mark), np.rint(entry))
    needed = market.maintenance(lots, due) + sign * market.loss(lots, entry, due)
    deposit = np.where(is_banded, np.floor(needed), np.ceil(deposit))
    value = np.rint(market.worth(lots, entry))
    ratio = np.floor(value * RATE_SCALE / np.maximum(deposit, 1.0))
    most = market.max_leverage(np.maximum(value, market.worth(lots, market.mark))) * RATE_SCALE
    # A leverage that no setting can have is a cross account's: the deposit alone decides there.
    can_isolate = (ratio >= RATE_SCALE) & (ratio <= most)
    columns.is_isolated[at] &= can_isolate
    columns.quantity[at] = np.where(sign > 0, lots, -lots)
    columns.value[at], columns.deposit[at] = value, np.maximum(deposit, 1.0)
    isolated = columns.is_isolated[at]
    columns.set_leverage[at] = np.where(isolated, ratio, 0).astype(np.int64)
    # The margin is rounded up from the leverage: a little more than the deposit may be taken.
    columns.deposit[at] += np.where(isolated, np.ceil(deposit / ratio * 2) + 2, 0)


def _bands(market: _Market, stated: SymbolPlan, side: str) -> list[_Band]:
    """Return the bands of a side, the nearest to the mark first."""
    bands = [_units(market, band) for band in stated.bands if band.side == side]
    bands.sort(key=lambda band: abs((band.low + band.high) // 2 - market.mark))
    ordered = sorted(bands, key=lambda band: band.low)
    for before, after in pairwise(ordered):
        if after.low < before.high:
            raise InputError(f"{market.symbol}: two {side} bands overlap at {after.low} mark ticks")
    return bands


def _units(market: _Market, band: Band) -> _Band:
    grid = market.instrument.mark
    low, high = grid.nearest(band.low), grid.nearest(band.high)
    where = f"{market.symbol}: the {band.side} band from {band.low} to {band.high}"
    if not 0 < low < high:
        raise InputError(f"{where} is empty")
    if (high > market.mark) if band.side == "long" else (low <= market.mark):
        name = grid.text(market.mark)
        raise InputError(f"{where} is not on the losing side of the mark, {name}")
    if band.quantity is not None:
        lots = market.lots_of(band.quantity, "quantity")
    else:
        assert band.notional is not None
        unit = Fraction(market.instrument.unit_value)
        per_lot = unit / market.mark if market.is_inverse else unit * market.mark
        minor = market.instrument.settle.minor.nearest(band.notional)
        lots = round(Fraction(minor, per_lot))
    return _Band(low, high, lots)


def _targets(market: _Market, side: str, bands: list[_Band], total: int) -> list[int]:
    rest = total - sum(band.lots for band in bands)
    if rest < 0:
        raise InputError(
            f"{market.symbol}: the {side} bands hold more than the open interest by {-rest} lots")
    return [*(band.lots for band in bands), rest]


def _deal(
    market: _Market, side: str, lots: Ints, distance: Floats, bands: list[_Band], total: int
) -> Ints:
    """Return the band of each position, the number of bands for the rest.

    Bands get their share of the drawn sizes, the nearest the positions nearest to the mark;
    each total above zero gets at least one position.
    """
    targets = _targets(market, side, bands, total)
    wanted = [k for k, target in enumerate(targets) if target]
    if len(lots) < len(wanted):
        raise InputError(
            f"{market.symbol}: {len(lots)} accounts are {side}, too few for {len(wanted)} totals")
    group = np.full(len(lots), len(bands))
    if total == 0 or not len(lots):
        if len(lots):
            raise InputError(
                f"{market.symbol}: {len(lots)} accounts are {side}, but nothing is open")
        return group
    order = np.argsort(distance, kind="stable")
    done = np.cumsum(lots[order]) / lots.sum()
    # The places in the order at which each total ends, moved so that none is left empty.
    ends = np.searchsorted(done, np.cumsum([targets[k] for k in wanted]) / total - 1e-12) + 1
    start = 0
    for turn, k in enumerate(wanted):
        left = len(wanted) - turn - 1
        end = len(lots) if left == 0 else min(max(int(ends[turn]), start + 1), len(lots) - left)
        group[order[start:end]] = k
        start = end
    return group


def _apportion(lots: Ints, total: int, what: str) -> Ints:
    """Scale sizes so that they sum to the total, each at least one lot."""
    if not len(lots):
        return lots
    if total < len(lots):
        raise InputError(f"{what}: {total} lots are too few for {len(lots)} accounts")
    spare = total - len(lots)
    exact = lots / lots.sum() * spare
    scaled: Ints = np.floor(exact).astype(np.int64)
    missing = int(spare - scaled.sum())
    if missing > 0:
        # The largest remainders first; a total beyond a float's digits goes round again.
        order = np.argsort(scaled - exact, kind="stable")
        scaled += missing // len(lots)
        scaled[order[: missing % len(lots)]] += 1
    elif missing < 0:
        scaled[np.argmax(scaled)] += missing
    scaled += 1
    return scaled
