"""When a cross pool is due that holds both legs of a symbol, which move together: pure numbers."""

from __future__ import annotations

from dataclasses import dataclass

from engine.messages import MONEY_MAX, NONE, RATE_SCALE
from engine.reference.margin import Schedule, Tier, ceil_div, floor_div

#: Marks that are tried one after the other where the roundings of the two legs decide.
TRIED_MOST = 10_000


@dataclass(frozen=True)
class Pair:
    """Long and short of a symbol, and what else their pool has.

    With each leg in one tier the pool's health is a line in the mark (an inverse one's in
    1 / mark), but for the roundings: each requirement is rounded up, an inverse notional up
    and an inverse worth toward zero, by less than one unit each.
    """

    schedule: Schedule
    long: int  # lots x unit value: what a linear leg is worth per mark tick, an inverse at 1
    short: int  # the same of the short one, positive
    rest: int  # equity without the two legs' value, less the maintenance of other symbols
    is_inverse: bool = False

    @property
    def legs(self) -> tuple[int, int]:
        return self.long, self.short

    @property
    def marks(self) -> tuple[int, int]:
        """The lowest and highest mark at which the notionals are within the engine's range."""
        if self.is_inverse:
            return ceil_div(max(self.legs), MONEY_MAX), MONEY_MAX - 1
        return 1, MONEY_MAX // max(self.legs)

    def value(self, mark: int) -> int:
        """What the two legs add to the pool's equity, their entry values apart."""
        if self.is_inverse:
            return floor_div(self.short, mark) - floor_div(self.long, mark)
        return (self.long - self.short) * mark

    def notional(self, leg: int, mark: int) -> int:
        return ceil_div(leg, mark) if self.is_inverse else leg * mark

    def is_due(self, mark: int) -> bool:
        needed = sum(
            self.schedule.maintenance_margin(self.notional(leg, mark)) for leg in self.legs)
        return self.rest + self.value(mark) <= needed

    def first_mark(self, origin: int, step: int, *, wanted: bool) -> int:
        """First mark from `origin` in direction `step` at which being due equals `wanted`.

        Where 10,000 different values in a row depend on the roundings, the next mark that
        does not; NONE where there is none.
        """
        lowest, highest = self.marks
        start = origin
        while lowest <= start <= highest:
            end = self.piece_end(start, step)
            found = self.first_in_piece(start, end, step, wanted=wanted)
            if found != NONE:
                return found
            start = end + step
        return NONE

    def tier(self, leg: int, mark: int) -> Tier:
        return self.schedule.tiers[self.schedule.tier_index(self.notional(leg, mark))]

    def piece_end(self, mark: int, step: int) -> int:
        """Last mark in a direction at which both legs are still in their tiers."""
        ranges = [self.marks, *(self.tier_marks(leg, self.tier(leg, mark)) for leg in self.legs)]
        if step < 0:
            return max(low for low, _ in ranges)
        return min(high for _, high in ranges)

    def tier_marks(self, leg: int, tier: Tier) -> tuple[int, int]:
        """Lowest and highest mark at which a leg is in a tier, as far as the tier bounds them."""
        low, high = self.marks
        is_last = tier is self.schedule.tiers[-1]
        if not self.is_inverse:
            return tier.min_notional // leg + 1, high if is_last else tier.max_notional // leg
        if not is_last:
            low = ceil_div(leg, tier.max_notional)
        if tier.min_notional:
            high = ceil_div(leg, tier.min_notional) - 1
        return low, high

    def first_in_piece(self, start: int, end: int, step: int, *, wanted: bool) -> int:
        """The same as `first_mark` within one piece, NONE where it is not there."""
        # Health before rounding, in 1e-8 units: at 0 the pool is due for sure, at `safe` it
        # is not. Turned round where safety is looked for, so that less is always nearer to
        # what is wanted.
        long, short = (self.tier(leg, start) for leg in self.legs)
        level = self.rest * RATE_SCALE + long.deduction + short.deduction
        sign = -1 if self.is_inverse else 1
        slope = self.long * (sign * RATE_SCALE - long.maintenance_rate)
        slope += self.short * (-sign * RATE_SCALE - short.maintenance_rate)
        safe = 2 * RATE_SCALE - 1
        if self.is_inverse:
            safe += RATE_SCALE + long.maintenance_rate + short.maintenance_rate

        def nearness(mark: int) -> int:
            line = ceil_div(slope, mark) if self.is_inverse else slope * mark
            return level + line if wanted else safe - level - line

        def first_at_most(most: int, begin: int) -> int:
            if nearness(begin) <= most:
                return begin
            if nearness(end) > most:
                return NONE
            near, far = end, begin
            while (near - far) * step > 1:
                middle = (near + far) // 2
                if nearness(middle) <= most:
                    near = middle
                else:
                    far = middle
            return near

        mark = first_at_most(safe - 1, start)
        for _ in range(TRIED_MOST):
            if mark == NONE or (end - mark) * step < 0 or nearness(mark) >= safe:
                return NONE
            if self.is_due(mark) is wanted:
                return mark
            mark = self.next_change(mark, step)
        return first_at_most(0, mark) if (end - mark) * step >= 0 else NONE

    def next_change(self, mark: int, step: int) -> int:
        """The next mark in a direction at which a leg has another value or notional."""
        if not self.is_inverse:
            return mark + step
        changes = []
        for leg in self.legs:
            worth, notional = floor_div(leg, mark), ceil_div(leg, mark)
            if step < 0:
                changes += [floor_div(leg, worth + 1), floor_div(leg - 1, notional)]
                continue
            if worth > 0:
                changes.append(floor_div(leg, worth) + 1)
            if notional > 1:
                changes.append(ceil_div(leg, notional - 1))
        return max(changes) if step < 0 else min(changes, default=MONEY_MAX)
