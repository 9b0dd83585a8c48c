"""What a profile asks for, as pure functions: how much to close, how to rank, how to divide."""

from __future__ import annotations

from collections.abc import Sequence

from engine.messages import (
    MONEY_MAX,
    RATE_SCALE,
    AdlAllocation,
    AdlScore,
    AfterCooldown,
    ClosePolicy,
    LiquidateAt,
    Profile,
)
from engine.reference.margin import floor_div
from engine.reference.state import Instrument


def is_due(equity: int, maintenance: int, profile: Profile) -> bool:
    """Whether a pool is to be liquidated; spent equity counts as beyond every ratio."""
    if profile.liquidate_at == LiquidateAt.EQUITY_BELOW_MAINTENANCE:
        return equity < maintenance
    return equity <= maintenance


def is_healthy(equity: int, maintenance: int, profile: Profile) -> bool:
    """Whether a pool in liquidation may leave it: margin_ratio under 1 by the exit buffer."""
    return maintenance * RATE_SCALE < (RATE_SCALE - profile.exit_buffer) * equity


def close_quantity(
    instrument: Instrument, held: int, equity: int, others: int, ruling: Profile, *,
    is_cooled: bool,
) -> int:
    """Lots that the next step closes of a position of `held` lots.

    `others` is the maintenance margin of the pool's other positions, `ruling` the profile
    that decides when the pool may leave the queue.
    """
    profile = instrument.profile
    if profile.close_policy == ClosePolicy.TIER_STEP:
        keep = tier_keep(instrument, held)
    elif profile.close_policy == ClosePolicy.TO_TARGET:
        keep = target_keep(instrument, held, equity, others, ruling)
    elif profile.close_policy == ClosePolicy.FRACTION:
        keep = fraction_keep(instrument, held, is_cooled=is_cooled)
    else:
        keep = 0
    if instrument.notional(keep, instrument.mark) < profile.min_remainder_notional:
        keep = 0
    return held - keep


def tier_keep(instrument: Instrument, held: int) -> int:
    """Lots that fit under the cap of the tier so many tiers lower; none below the lowest."""
    tiers = instrument.schedule.tiers
    lowest = instrument.schedule.tier_index(instrument.notional(held, instrument.mark))
    lowest -= instrument.profile.tiers_per_step - 1
    if lowest <= 0:
        return 0
    if instrument.is_inverse:
        keep = floor_div(tiers[lowest].min_notional * instrument.mark, instrument.unit_value)
    else:
        keep = floor_div(
            tiers[lowest].min_notional, instrument.mark * instrument.unit_value)
    return min(held, keep)


def target_keep(
    instrument: Instrument, held: int, equity: int, others: int, ruling: Profile
) -> int:
    """Most lots below `held` with which the margin ratio is at its target and the pool healthy.

    Closing at mark leaves the equity as it is, but for rounding. The requirement never
    falls with the notional, so it is found by bisection.
    """

    def fits(keep: int) -> bool:
        needed = others
        if keep:
            needed += instrument.schedule.maintenance_margin(
                instrument.notional(keep, instrument.mark))
        return (needed * RATE_SCALE <= instrument.profile.target_ratio * equity
                and is_healthy(equity, needed, ruling))

    low, high = 0, held - 1  # the answer lies between, if there is any
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def fraction_keep(instrument: Instrument, held: int, *, is_cooled: bool) -> int:
    """What a fraction of a position leaves; nothing of a small one, or after the cooldown."""
    profile = instrument.profile
    if instrument.notional(held, instrument.mark) <= profile.fraction_above_notional:
        return 0
    if is_cooled and profile.after_cooldown == AfterCooldown.ALL:
        return 0
    return held - max(1, floor_div(held * profile.fraction, RATE_SCALE))


def capped(value: int) -> int:
    return max(-MONEY_MAX, min(MONEY_MAX, value))


def adl_score(
    kind: int, unrealized_pnl: int, entry_value: int, notional: int, equity: int, lots: int
) -> int:
    """Auto-deleveraging score: the higher, the earlier a holder is closed.

    Profit counts times the leverage, a loss over it. Ratios are in 1e-8 units, profits in
    minor units, sizes in lots; each factor is floored and capped at `MONEY_MAX`. `equity`
    must be positive.
    """
    if kind == AdlScore.SIZE:
        return lots
    ratio = capped(floor_div(unrealized_pnl * RATE_SCALE, max(1, abs(entry_value))))
    if kind == AdlScore.PNL_RATIO:
        return ratio
    leverage = max(1, capped(floor_div(notional * RATE_SCALE, equity)))
    profit = unrealized_pnl if kind == AdlScore.UPNL_X_LEVERAGE else ratio
    if profit >= 0:
        return capped(floor_div(profit * leverage, RATE_SCALE))
    return capped(floor_div(profit * RATE_SCALE, leverage))


def allocate(mode: int, lots: int, held: Sequence[int], equities: Sequence[int]) -> list[int]:
    """Divide `lots` among holders given in order of rank.

    What division leaves goes in that order, one lot to each that has one left.
    """
    total = sum(held)
    lots = min(lots, total)
    if mode == AdlAllocation.CONTRACTS:
        shares = [floor_div(lots * own, total) for own in held]
    elif mode == AdlAllocation.WEALTH:
        shares = wealth_shares(lots, held, equities)
    else:
        shares = level_shares(lots, held)
    left = lots - sum(shares)
    for at, own in enumerate(held):
        more = min(1, left, own - shares[at])
        shares[at] += more
        left -= more
    return shares


def wealth_shares(lots: int, held: Sequence[int], equities: Sequence[int]) -> list[int]:
    """In proportion to the equities, no more than is held; floor.

    Whose position is smaller than its share is closed whole, and the others share the rest.
    """
    shares = [0] * len(held)
    sharing = list(range(len(held)))
    while sharing:
        total = sum(equities[at] for at in sharing)
        wanted = {at: floor_div(lots * equities[at], total) for at in sharing}
        whole = [at for at in sharing if wanted[at] >= held[at]]
        if not whole:
            for at in sharing:
                shares[at] = wanted[at]
            break
        for at in whole:
            shares[at] = held[at]
            lots -= held[at]
        sharing = [at for at in sharing if at not in whole]
    return shares


def level_shares(lots: int, held: Sequence[int]) -> list[int]:
    """The same for all, but for those who hold less: the largest share is as small as can be."""
    low, high = 0, max(held, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(own, middle) for own in held) <= lots:
            low = middle
        else:
            high = middle - 1
    return [min(own, low) for own in held]
