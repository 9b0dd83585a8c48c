"""Marks at which a pool with both legs of a symbol is due, or is not."""

from engine.core.contracts cimport notional_at, worth_at
from engine.core.fixed cimport (
    add, ceil_div, floor_div, max64, min64, mul, mul_wide, narrow, sub, wide,
)
from engine.core.tiers cimport inverse_tier_marks, maintenance_margin, tier_index, tier_t
from engine.core.types cimport KIND_INVERSE, MONEY_MAX, NONE, RATE_SCALE

# Marks that are tried one after the other where the roundings of the two legs decide.
cdef enum:
    TRIED_MOST = 10000

# One piece: health before rounding, in rate units, is level + what the legs weigh times their
# size. At 0 the pool is due for sure, at `safe` it is not.
cdef struct piece_t:
    i128 level, safe
    int64_t weight[2]
    int64_t end                  # the last mark in the direction in which it holds
    int step
    bint wanted


# First mark from `origin` in direction `step` at which being due equals `wanted`; where
# TRIED_MOST different values in a row depend on the roundings, the next mark that does not;
# NONE where there is none at which both notionals are within the engine's range.
cdef int64_t pair_first_mark(
    const pair_t *pair, int64_t origin, int step, bint wanted
) except? -1 nogil:
    cdef i128 largest = mul(max64(pair.lots[0], pair.lots[1]), pair.contract.unit_value)
    cdef int64_t lowest = 1
    cdef int64_t highest = MONEY_MAX - 1
    cdef int64_t start = origin
    cdef int64_t found
    cdef piece_t piece
    piece.step, piece.wanted = step, wanted
    if pair.contract.kind == KIND_INVERSE:
        lowest = narrow(ceil_div(largest, wide(MONEY_MAX)))
    else:
        highest = narrow(floor_div(wide(MONEY_MAX), largest))
    while lowest <= start <= highest:
        piece.end = highest if step > 0 else lowest
        take_piece(pair, start, &piece)
        found = first_in_piece(pair, &piece, start)
        if found != NONE:
            return found
        start = piece.end + step
    return NONE


# The piece that begins at a mark; it ends where the first leg leaves its tier.
cdef int take_piece(const pair_t *pair, int64_t start, piece_t *piece) except -1 nogil:
    cdef const tier_t *tier
    cdef int64_t per_mark, low, high
    cdef bint is_inverse = pair.contract.kind == KIND_INVERSE
    cdef int leg, k
    piece.level = mul_wide(pair.rest, RATE_SCALE)
    piece.safe = wide((3 if is_inverse else 2) * RATE_SCALE - 1)
    for leg in range(2):
        k = tier_index(pair.schedule, notional_at(pair.contract, pair.lots[leg], start))
        tier = &pair.schedule.tiers[k]
        # A linear long and an inverse short gain by their size, the others owe it.
        piece.weight[leg] = (1 if is_inverse == leg else -1) * RATE_SCALE - tier.rate
        piece.level = add(piece.level, tier.deduction)
        if is_inverse:
            piece.safe = add(piece.safe, wide(tier.rate))
            inverse_tier_marks(
                pair.schedule, k, mul(pair.lots[leg], pair.contract.unit_value), &low, &high)
        else:
            per_mark = narrow(mul(pair.lots[leg], pair.contract.unit_value))
            low = tier.min_notional // per_mark + 1
            high = MONEY_MAX
            if k < pair.schedule.count - 1:
                high = tier.max_notional // per_mark
        piece.end = min64(piece.end, high) if piece.step > 0 else max64(piece.end, low)
    return 0


cdef int64_t first_in_piece(
    const pair_t *pair, const piece_t *piece, int64_t start
) except? -1 nogil:
    cdef int64_t mark = first_at_most(pair, piece, sub(piece.safe, wide(1)), start)
    for _ in range(TRIED_MOST):
        if mark == NONE or (piece.end - mark) * piece.step < 0:
            return NONE
        if nearness(pair, piece, mark) >= piece.safe:
            return NONE
        if is_pair_due(pair, mark) == piece.wanted:
            return mark
        mark = next_change(pair, mark, piece.step)
    if (piece.end - mark) * piece.step < 0:
        return NONE
    return first_at_most(pair, piece, wide(0), mark)


cdef bint is_pair_due(const pair_t *pair, int64_t mark) except -1 nogil:
    cdef const contract_t *contract = pair.contract
    cdef i128 value = sub(
        wide(worth_at(contract, pair.lots[0], mark)),
        wide(worth_at(contract, pair.lots[1], mark)))
    cdef i128 needed = wide(0)
    cdef int leg
    for leg in range(2):
        needed = add(needed, wide(maintenance_margin(
            pair.schedule, notional_at(contract, pair.lots[leg], mark))))
    if contract.kind == KIND_INVERSE:
        return sub(pair.rest, value) <= needed
    return add(pair.rest, value) <= needed


# Health before rounding, in rate units, up to the next whole one. Turned round where safety
# is looked for, so that less is always nearer to what is wanted.
cdef i128 nearness(const pair_t *pair, const piece_t *piece, int64_t mark) except? -1 nogil:
    cdef i128 health = piece.level
    cdef i128 fraction = wide(0)
    cdef int64_t worth, left
    cdef int leg
    for leg in range(2):
        worth = worth_at(pair.contract, pair.lots[leg], mark)
        health = add(health, mul(worth, piece.weight[leg]))
        if pair.contract.kind == KIND_INVERSE:
            left = narrow(sub(
                mul(pair.lots[leg], pair.contract.unit_value), mul(worth, mark)))
            fraction = add(fraction, mul(left, piece.weight[leg]))
    health = add(health, ceil_div(fraction, wide(mark)))
    return health if piece.wanted else sub(piece.safe, health)


# First mark of a piece, from one on, at which the nearness is at most `most`; it is monotone.
cdef int64_t first_at_most(
    const pair_t *pair, const piece_t *piece, i128 most, int64_t start
) except? -1 nogil:
    cdef int64_t near = piece.end
    cdef int64_t far = start
    cdef int64_t middle
    if nearness(pair, piece, start) <= most:
        return start
    if nearness(pair, piece, near) > most:
        return NONE
    while (near - far) * piece.step > 1:
        middle = far + (near - far) // 2
        if nearness(pair, piece, middle) <= most:
            near = middle
        else:
            far = middle
    return near


# The next mark in a direction at which a leg has another value or notional.
cdef int64_t next_change(const pair_t *pair, int64_t mark, int step) except? -1 nogil:
    cdef int64_t found = 0 if step < 0 else MONEY_MAX
    cdef int64_t worth, notional
    cdef i128 total
    cdef int leg
    if pair.contract.kind != KIND_INVERSE:
        return mark + step
    for leg in range(2):
        total = mul(pair.lots[leg], pair.contract.unit_value)
        worth = worth_at(pair.contract, pair.lots[leg], mark)
        notional = notional_at(pair.contract, pair.lots[leg], mark)
        if step < 0:
            found = max64(found, narrow(floor_div(total, wide(worth + 1))))
            found = max64(found, narrow(floor_div(sub(total, wide(1)), wide(notional))))
            continue
        if worth > 0:
            found = lesser(found, add(floor_div(total, wide(worth)), wide(1)))
        if notional > 1:
            found = lesser(found, ceil_div(total, wide(notional - 1)))
    return found


cdef inline int64_t lesser(int64_t a, i128 b) except? -1 nogil:
    return narrow(b) if b < wide(a) else a
