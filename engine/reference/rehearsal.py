"""The rehearsal of a sweep: what an order would trade now, with nothing changed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from engine.messages import NONE, HaltMode, Side, StpMode
from engine.reference.book import within_limit
from engine.reference.maker_check import Holdings
from engine.reference.matching import Matching
from engine.reference.sides import opposite, reducible, signed
from engine.reference.state import Group, Instrument, Order, Position

#: A trade that would be made: the maker and the lots.
Fill = tuple[Order, int]
#: Takers of these modes stop at the first order of their own.
STOPS_AT_OWN = (StpMode.CANCEL_TAKER, StpMode.CANCEL_BOTH)


@dataclass
class Course:
    """How far a rehearsal has come."""

    wanted: int  # lots
    lots: int = 0
    value: int = 0
    loss: int = 0  # against mark
    held: dict[Position, int] = field(default_factory=dict)  # positions as they would be
    filled: dict[Order | Group, int] = field(default_factory=dict)  # lots that came from each
    gone: set[Order | Group] = field(default_factory=set)
    fills: list[Fill] = field(default_factory=list)
    #: By account, where makers are checked: what the fills so far would leave of it.
    holdings: dict[int, Holdings] = field(default_factory=dict)

    def left(self, maker: Order) -> int:
        """Open lots of a maker by now: less what it, or its group, has filled."""
        source = maker.group or maker
        return 0 if source in self.gone else max(0, maker.leaves - self.filled.get(source, 0))

    def take_off(self, maker: Order, lots: int, left: int) -> None:
        """Note lots that a maker has lost; with none left, its group is dissolved."""
        source = maker.group or maker
        self.filled[source] = self.filled.get(source, 0) + lots
        if lots == left:
            self.gone.add(source)


class Rehearsals(Matching):
    """Matching, and matching for show."""

    def rehearse(
        self, taker: Order, limit: int, *, skip_own: bool = False,
        fills: list[Fill] | None = None,
    ) -> tuple[int, int, int]:
        """What a sweep of this order would do now: lots, value, and loss against mark.

        Own orders are stepped over under `cancel_maker`, taken off the quantity under
        `decrement`, end the sweep under `cancel_taker` and `cancel_both`, and count like
        any other under `none`, unless `skip_own` has those of the same position stepped
        over, or one of the two is reduce-only. Reduce-only makers count for what their
        positions, as they would be by then, let them trade; members of a group for what its
        fills have left of them; none that the check at match time would cancel. `fills` gets
        the trades one by one.
        """
        instrument = self.instruments[taker.symbol]
        if instrument.halt is HaltMode.AUCTION:
            return 0, 0, 0
        course = Course(taker.leaves)
        for price, makers in instrument.book.level_orders(opposite(taker.side)):
            if course.wanted == 0 or not within_limit(taker.side, price, limit):
                break
            self.rehearse_level(instrument, taker, course, makers, skip_own)
        if fills is not None:
            fills += course.fills
        return course.lots, course.value, course.loss

    def rehearse_level(
        self, instrument: Instrument, taker: Order, course: Course, makers: list[Order],
        skip_own: bool,
    ) -> None:
        """Trade through one level: parts on show in queue order, further parts at the back."""
        queue = deque((maker, maker.displayed) for maker in makers)
        while queue and course.wanted:
            maker, shown = queue.popleft()
            left = course.left(maker)
            if taker.stp is StpMode.NONE and self.would_reduce_nothing(taker, maker):
                if taker.reduce_only:  # cancelled there
                    course.wanted = 0
                continue
            position = self.position_of(maker)
            if skip_own and position is self.position_of(taker):
                continue
            if taker.stp is not StpMode.NONE and self.is_one_owner(taker, maker):
                self.rehearse_own(taker, course, maker, left)
                continue
            fill = min(course.wanted, shown, left)
            held = course.held.setdefault(position, position.quantity)
            if maker.reduce_only:
                fill = min(fill, reducible(held, maker.side))
            if fill == 0:
                continue
            if instrument.profile.maker_check and maker.account and not self.can_carry(
                    self.rehearsed(course, maker), maker, fill):
                course.gone.add(maker.group or maker)  # cancelled there
                continue
            self.rehearse_fill(instrument, taker, course, maker, fill)
            course.take_off(maker, fill, left)
            if fill == shown and left > fill:
                queue.append((maker, min(maker.display_quantity, left - fill)))

    def rehearse_own(self, taker: Order, course: Course, maker: Order, left: int) -> None:
        """What self-trade prevention does to a sweep that meets an order of its owner."""
        if left == 0:
            return
        if taker.stp in STOPS_AT_OWN:
            course.wanted = 0
        elif taker.stp is StpMode.DECREMENT:
            lots = min(course.wanted, left)
            course.wanted -= lots
            course.take_off(maker, lots, left)

    def rehearse_fill(
        self, instrument: Instrument, taker: Order, course: Course, maker: Order, lots: int
    ) -> None:
        course.held[self.position_of(maker)] += signed(maker.side, lots)
        if instrument.profile.maker_check:
            for order, rate in ((maker, instrument.maker_fee), (taker, instrument.taker_fee)):
                if not order.account:
                    continue
                self.try_fill(self.rehearsed(course, order), order, lots, maker.price, rate)
        course.fills.append((maker, lots))
        course.lots += lots
        course.value += instrument.worth_at_tick(lots, maker.price)
        course.loss += instrument.loss(taker.side, lots, maker.price)
        course.wanted -= lots

    def rehearsed(self, course: Course, order: Order) -> Holdings:
        """What the owner of an order would hold by now."""
        if order.account not in course.holdings:
            course.holdings[order.account] = self.holdings_of(self.position_of(order))
        return course.holdings[order.account]

    def can_fill_whole(self, taker: Order, limit: int) -> bool:
        """Whether a fill-or-kill order would fill; under `decrement` own orders end the count."""
        probe = taker
        if taker.stp is StpMode.DECREMENT:
            probe = replace(taker, stp=StpMode.CANCEL_TAKER)
        return self.rehearse(probe, limit)[0] == taker.leaves

    def band_limit(self, instrument: Instrument, side: Side) -> int:
        """Worst price in ticks that the band allows a side, NONE without a band.

        Rounding: down for a buy, up for a sell, so the band is never exceeded.
        """
        if instrument.price_band == NONE:
            return NONE
        scale = 10**8
        if side is Side.BUY:
            top = instrument.mark * (scale + instrument.price_band)
            return top // (scale * instrument.marks_per_tick)
        bottom = instrument.mark * (scale - instrument.price_band)
        return max(1, -(-bottom // (scale * instrument.marks_per_tick)))
