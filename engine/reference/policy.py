"""What a profile asks for, as pure functions: how much to close, how to rank, how to divide."""

from __future__ import annotations

from collections.abc import Sequence

from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    AdlAllocation,
    AdlScore,
    AfterCooldown,
    ClosePolicy,
    LiquidateAt,
    OrderBound,
    Profile,
    RampOf,
    Side,
)
from engine.reference.margin import (
    Schedule,
    bound_price,
    ceil_div,
    floor_div,
    inverse_bound_price,
)
from engine.reference.state import Instrument


def is_due(equity: int, maintenance: int, profile: Profile) -> bool:
    """Whether a pool is to be liquidated; spent equity counts as beyond every ratio."""
    if profile.liquidate_at == LiquidateAt.EQUITY_BELOW_MAINTENANCE:
        return equity < maintenance
    return equity <= maintenance


def is_healthy(equity: int, maintenance: int, profile: Profile) -> bool:
    """Whether a pool in liquidation may leave it: margin_ratio under 1 by the exit buffer."""
    return maintenance * RATE_SCALE < (RATE_SCALE - profile.exit_buffer) * equity


def closing_fee(profile: Profile, taker_fee: int) -> int:
    """What every margin reserves of the notional for its close, in 1e-8 units."""
    return max(0, taker_fee) if profile.closing_fee_reserve else 0


def close_quantity(
    instrument: Instrument, schedule: Schedule, held: int, equity: int, others: int,
    ruling: Profile, *, is_cooled: bool, due: int = RATE_SCALE, closed: int = 0,
) -> int:
    """Lots that the next step closes of a position of `held` lots; a ramp may ask for none yet.

    `schedule` is that of the position's owner, `others` the maintenance margin of the pool's
    other positions, `ruling` the profile that decides when the pool may leave the queue. Of
    a ramp so much is `due`, and so many lots were closed before.
    """
    profile = instrument.profile
    if profile.close_policy == ClosePolicy.RAMP:
        wanted = held
        if profile.ramp_of == RampOf.TARGET:
            wanted -= target_keep(instrument, schedule, held, equity, others, ruling)
        lots = ramp_lots(wanted, due, closed)
        keep = held - lots
        if lots == 0:
            return 0
    elif profile.close_policy == ClosePolicy.TIER_STEP:
        keep = tier_keep(instrument, schedule, held)
    elif profile.close_policy == ClosePolicy.TO_TARGET:
        keep = target_keep(instrument, schedule, held, equity, others, ruling)
    elif profile.close_policy == ClosePolicy.FRACTION:
        keep = fraction_keep(instrument, held, is_cooled=is_cooled)
    else:
        keep = 0
    if instrument.notional(keep, instrument.mark) < profile.min_remainder_notional:
        keep = 0
    return held - keep


def tier_keep(instrument: Instrument, schedule: Schedule, held: int) -> int:
    """Lots that fit under the cap of the tier so many tiers lower; none below the lowest."""
    tiers = schedule.tiers
    lowest = schedule.tier_index(instrument.notional(held, instrument.mark))
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
    instrument: Instrument, schedule: Schedule, held: int, equity: int, others: int,
    ruling: Profile,
) -> int:
    """Most lots below `held` with which the margin ratio is at its target and the pool healthy.

    Closing at mark leaves the equity as it is, but for rounding. The requirement never
    falls with the notional, so it is found by bisection.
    """

    def fits(keep: int) -> bool:
        needed = others
        if keep:
            needed += schedule.maintenance_margin(
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


def ramp_steps_done(profile: Profile, passed: int) -> int:
    """Steps of a ramp that lie behind it `passed` ns after its start; floor."""
    return min(profile.ramp_steps, floor_div(passed * profile.ramp_steps, profile.ramp_ns))


def ramp_share(profile: Profile, passed: int) -> int:
    """What a ramp has due, in 1e-8: from its fraction on in equal steps, floor; at last all."""
    done = ramp_steps_done(profile, passed)
    return profile.fraction + floor_div(
        (RATE_SCALE - profile.fraction) * done, profile.ramp_steps)


def ramp_next(profile: Profile, since: int, now: int) -> int:
    """When a ramp's next step comes, up to the ns; NONE after its last."""
    done = ramp_steps_done(profile, now - since)
    if done == profile.ramp_steps:
        return NONE
    return min(MONEY_MAX, since + ceil_div((done + 1) * profile.ramp_ns, profile.ramp_steps))


def ramp_lots(wanted: int, due: int, closed: int) -> int:
    """Lots that are missing to the due part of all there was; floor, but at least one lot in all.

    All is what is wanted now and what the ramp has closed before.
    """
    target = max(1, floor_div((wanted + closed) * due, RATE_SCALE))
    return min(wanted, max(0, target - closed))


def order_limit(
    instrument: Instrument, schedule: Schedule, side: Side, held: int, equity: int,
    maintenance: int, bound: int,
) -> int:
    """The worst price that a step takes in the book, in ticks; never beyond its bound.

    `maintenance` is the pool's. A sell is rounded up to the tick, a buy down. Where the
    equity is spent it is the bound.
    """
    profile = instrument.profile
    if profile.order_bound == OrderBound.BANKRUPTCY or equity <= 0:
        return bound
    if profile.order_bound == OrderBound.FILLABLE:
        own = schedule.maintenance_margin(
            instrument.notional(held, instrument.mark))
        solve = inverse_bound_price if instrument.is_inverse else bound_price
        price = solve(
            side, held, instrument.mark, spread(profile, own, equity, maintenance),
            instrument.unit_value, instrument.marks_per_tick)
    elif side is Side.SELL:
        price = ceil_div(
            instrument.mark * (RATE_SCALE - profile.bound_band),
            RATE_SCALE * instrument.marks_per_tick)
    else:
        price = max(1, floor_div(
            instrument.mark * (RATE_SCALE + profile.bound_band),
            RATE_SCALE * instrument.marks_per_tick))
    return max(price, bound) if side is Side.SELL else min(price, bound)


def spread(profile: Profile, own: int, equity: int, maintenance: int) -> int:
    """What a fillable price gives away for a whole position, in minor units.

    From nothing at equity = maintenance margin to a part of the position's own requirement
    when the equity is spent, or before. Each division rounds down: against the taker.
    """
    rating = floor_div(
        profile.bankruptcy_adjustment * (maintenance - equity), maintenance)
    rating = max(0, min(RATE_SCALE, rating))
    most = floor_div(own * profile.spread_to_maintenance, RATE_SCALE)
    return min(MONEY_MAX, floor_div(most * rating, RATE_SCALE))


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
