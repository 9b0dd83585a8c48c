"""Market makers: ladders around a centre that follows the index and gives way to flow.

For each symbol, with D the calm depth of one side in lots (all makers), h a half-life:

- Flow: F <- F 2^(-step/h_impact) + taker buys - taker sells. Centre = index x
  exp(impact x F / D): forced flow carries no news, so its effect fades.
- Refill: what was traded off a maker's side is missing from it, M <- M 2^(-step/h_refill).
- Withdrawal on volatility: share shown = 1 / (1 + (v / volatility_half)^2), v the moving
  standard deviation of the centre per square root of a second (half-life 30 s).
- Withdrawal on inventory: the side that adds to it shows (1 - |I| / (limit D / makers))+,
  I fading like F, as inventory is laid off elsewhere.
- Levels lie between half-spread and reach, geometrically; the spread widens as 1 / share
  shown, at most tenfold; a level's size goes with the square root of its distance.

F is linear in the trades, so the part that forced trades have in the displacement is known
exactly: that is what causes are found with (`engine.lab.causes`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.batches import Packed, empty_commands
from engine.lab.agents import FIRST_MAKER, View, open_deep_pockets
from engine.lab.market import MARKS_PER_TICK, Floats, in_force
from engine.lab.scenario import Scenario
from engine.messages import Command, EventKind, OrderType, Side, TimeInForce
from engine.tally import field_at

TRADE_SYMBOL = field_at(EventKind.TRADE, "symbol")
TRADE_PRICE = field_at(EventKind.TRADE, "price")
TRADE_LOTS = field_at(EventKind.TRADE, "quantity")
TRADE_MAKER = field_at(EventKind.TRADE, "maker_account")
TRADE_TAKER = field_at(EventKind.TRADE, "taker_account")
TRADE_SIDE = field_at(EventKind.TRADE, "taker_side")
TRADE_FORCED = field_at(EventKind.TRADE, "liquidation")

_VOLATILITY_HALF_LIFE_S = 30.0
_DISPLACEMENT_MAX = 0.5
_SPREAD_FACTOR_MAX = 10.0


class Makers:
    """All makers of all symbols.

    Parameters
    ----------
    scenario : Scenario
    depth_lots : array of float
        Calm depth of one side of each symbol, all makers together.

    Attributes
    ----------
    forced_displacement : array of float
        Part that forced trades have in the log displacement of the quotes now in the book.
    """

    def __init__(self, scenario: Scenario, depth_lots: Floats) -> None:
        spec, count, step_s = scenario.makers, len(depth_lots), scenario.step_s
        self.latency_ns = int(spec.latency_s * 1e9)
        self._spec, self._depth, self._step_s = spec, depth_lots, step_s
        self._withdrawal = in_force(scenario, "maker_withdrawal")
        self._keep_flow = 0.5 ** (step_s / spec.impact_half_life_s)
        self._keep_missing = 0.5 ** (step_s / spec.refill_half_life_s)
        self._keep_variance = 0.5 ** (step_s / _VOLATILITY_HALF_LIFE_S)
        self._flow = np.zeros(count)
        self._forced = np.zeros(count)
        self._missing = np.zeros((spec.count, count, 2))
        self._inventory = np.zeros((spec.count, count))
        self._variance = np.zeros(count)
        self._centre: Floats | None = None
        self.forced_displacement = np.zeros(count)
        self._reach = np.geomspace(max(spec.half_spread, 1e-5), spec.reach, spec.levels)
        weights = np.sqrt(self._reach)
        self._weights = weights / weights.sum()
        self._next_id = 1

    def opening_commands(self) -> Iterator[Packed]:
        """Open an account for each maker and symbol."""
        makers = np.arange(self._inventory.size)
        return open_deep_pockets(makers + FIRST_MAKER, makers % len(self._depth))

    def act(self, view: View) -> Packed | None:
        """Take the last trades in, and return new ladders of the makers whose turn it is."""
        self._take_trades(view)
        spec = self._spec
        displacement = np.clip(
            spec.impact * self._flow / self._depth, -_DISPLACEMENT_MAX, _DISPLACEMENT_MAX)
        centre = view.index * np.exp(displacement)
        shown = self._share_shown(centre, view.step)
        every = max(spec.interval_s // self._step_s, 1)
        due = [maker for maker in range(spec.count) if (view.step + maker) % every == 0
               or view.step == 0]
        if not due:
            return None
        self.forced_displacement = np.clip(
            spec.impact * self._forced / self._depth, -_DISPLACEMENT_MAX, _DISPLACEMENT_MAX)
        return np.concatenate([self._ladder(maker, centre, shown) for maker in due])

    def _take_trades(self, view: View) -> None:
        for state, keep in ((self._flow, self._keep_flow), (self._forced, self._keep_flow),
                            (self._inventory, self._keep_flow),
                            (self._missing, self._keep_missing)):
            state *= keep
        trades = view.events(EventKind.TRADE)
        if not len(trades):
            return
        count = len(self._depth)
        symbol = trades[:, TRADE_SYMBOL]
        lots = np.where(trades[:, TRADE_SIDE] == Side.BUY, 1, -1) * trades[:, TRADE_LOTS]
        outside = trades[:, TRADE_TAKER] < FIRST_MAKER
        self._flow += np.bincount(symbol, lots * outside, count)
        self._forced += np.bincount(symbol, lots * trades[:, TRADE_FORCED], count)
        for column, sign in ((TRADE_MAKER, -1), (TRADE_TAKER, 1)):
            mine = trades[:, column] >= FIRST_MAKER
            at = trades[mine, column] - FIRST_MAKER
            np.add.at(self._inventory.reshape(-1), at, sign * lots[mine])
            if column == TRADE_MAKER:
                # Of a buy the maker's ask is gone, and the other way round.
                side = np.where(lots[mine] > 0, Side.SELL, Side.BUY)
                np.add.at(self._missing.reshape(-1), at * 2 + side, np.abs(lots[mine]))

    def _share_shown(self, centre: Floats, step: int) -> Floats:
        if self._centre is not None:
            square = np.log(centre / self._centre) ** 2 / self._step_s
            self._variance *= self._keep_variance
            self._variance += (1 - self._keep_variance) * square
        self._centre = centre
        share = 1 / (1 + self._variance / self._spec.volatility_half**2)
        forced = self._withdrawal[step]
        return np.where(np.isnan(forced), share, share * forced)

    def _ladder(self, maker: int, centre: Floats, shown: Floats) -> Packed:
        spec, count = self._spec, len(centre)
        own = self._depth / spec.count
        held = self._inventory[maker] / (spec.inventory_limit * own)
        room = np.stack([np.clip(1 - held, 0, 1), np.clip(1 + held, 0, 1)], axis=1)
        left = np.clip(1 - self._missing[maker] / own[:, None], 0, 1)
        size = own[:, None] * shown[:, None] * np.minimum(room, left)
        lots = (size[:, :, None] * self._weights).astype(np.int64)  # symbol, side, level
        widen = np.minimum(1 / np.maximum(shown, 1e-9), _SPREAD_FACTOR_MAX)
        distance = np.maximum(self._reach, self._reach[0] * widen[:, None])
        ticks = centre[:, None] / MARKS_PER_TICK
        prices = np.stack(
            [np.floor(ticks * (1 - distance)), np.ceil(ticks * (1 + distance))], axis=1)
        wanted = np.flatnonzero((lots.reshape(-1) > 0) & (prices.reshape(-1) > 0))
        symbols = np.arange(count)
        rows = empty_commands(count + len(wanted))
        rows["account"][:count] = FIRST_MAKER + maker * count + symbols
        rows["cmd"][:count], rows["symbol"][:count] = Command.CANCEL_ALL, symbols
        orders = rows[count:]
        per_symbol = 2 * spec.levels
        of = wanted // per_symbol
        orders["cmd"], orders["symbol"] = Command.ORDER, of
        orders["account"] = FIRST_MAKER + maker * count + of
        orders["order_id"] = self._next_id + np.arange(len(wanted))
        orders["side"] = wanted % per_symbol // spec.levels
        orders["type"], orders["time_in_force"] = OrderType.LIMIT, TimeInForce.GTC
        orders["quantity"] = lots.reshape(-1)[wanted]
        orders["price"] = prices.reshape(-1)[wanted].astype(np.int64)
        self._next_id += len(wanted)
        return rows
