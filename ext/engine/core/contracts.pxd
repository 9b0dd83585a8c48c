# What lots of a contract are worth at a price, in minor units. Linear: lots x price x unit
# value, exact. Inverse: lots x unit value / price, rounded toward zero where it is valued
# or traded (worth), and up where something is required of it (notional).

from libc.stdint cimport int64_t

from engine.core.fixed cimport (
    abs64, add, ceil_div, floor_div, i128, mul, mul3, mul_div_floor, mul_wide, narrow, overflows,
    wide,
)
from engine.core.types cimport KIND_INVERSE, MONEY_MAX, NONE, SIDE_BUY, SIDE_SELL

cdef struct contract_t:
    int64_t unit_value           # minor units of one lot at one mark tick
    int64_t kind                 # ContractKind


cdef inline int64_t worth_at(
    const contract_t *contract, int64_t lots, int64_t mark
) except? -1 nogil:
    if contract.kind == KIND_INVERSE:
        return narrow(floor_div(mul(lots, contract.unit_value), wide(mark)))
    return mul3(lots, mark, contract.unit_value)


cdef inline int64_t notional_at(
    const contract_t *contract, int64_t lots, int64_t mark
) except? -1 nogil:
    if contract.kind == KIND_INVERSE:
        return narrow(ceil_div(mul(lots, contract.unit_value), wide(mark)))
    return mul3(lots, mark, contract.unit_value)


# Whether a notional stays in the money range.
cdef inline bint notional_fits(
    const contract_t *contract, int64_t lots, int64_t mark
) noexcept nogil:
    cdef int64_t out
    if contract.kind == KIND_INVERSE:
        return ceil_div(mul(lots, contract.unit_value), wide(mark)) <= wide(MONEY_MAX)
    return not overflows(lots, mark, contract.unit_value, &out) and out <= MONEY_MAX


# Value of a signed position: an inverse long owes its worth, an inverse short has it.
cdef inline int64_t value_at(
    const contract_t *contract, int64_t quantity, int64_t mark
) except? -1 nogil:
    if contract.kind == KIND_INVERSE:
        return (-1 if quantity > 0 else 1) * worth_at(contract, abs64(quantity), mark)
    return mul3(quantity, mark, contract.unit_value)


# Notional of a position whose value is at hand.
cdef inline int64_t notional_of_value(
    const contract_t *contract, int64_t quantity, int64_t value, int64_t mark
) except? -1 nogil:
    if contract.kind == KIND_INVERSE:
        return notional_at(contract, abs64(quantity), mark)
    return abs64(value)


# The side whose trades add value to a position: a linear long's, an inverse short's.
cdef inline int value_side(const contract_t *contract) noexcept nogil:
    return SIDE_SELL if contract.kind == KIND_INVERSE else SIDE_BUY


# What the worth of a trade of a side adds to a position's value: 1 or -1 times that.
cdef inline int value_sign(const contract_t *contract, int side) noexcept nogil:
    return 1 if side == value_side(contract) else -1


# Worst price at which closing an inverse position costs (a sell) or brings (a buy) `worth`;
# `total` is its worth times the mark, prices are in units of `per` mark ticks. At or beyond
# it a trade, rounded toward zero, leaves nothing short. NONE where no price is high enough
# for a sale, or any will do for a purchase; 0 where none is low enough for it.
cdef inline int64_t inverse_limit(int side, i128 total, i128 worth, int64_t per) except? -1 nogil:
    cdef i128 price
    if side == SIDE_SELL:
        if worth < wide(0):
            return NONE
        price = add(floor_div(total, mul_wide(add(worth, wide(1)), per)), wide(1))
    elif worth <= wide(0):
        return NONE
    else:
        price = floor_div(total, mul_wide(worth, per))
    return narrow(price) if price <= wide(MONEY_MAX) else MONEY_MAX + 1


# Value of a part of a fill of so many lots, toward zero; the rest has what is left.
cdef inline int64_t split_value(int64_t value, int64_t part, int64_t lots) except? -1 nogil:
    if part == lots:
        return value
    return (1 if value > 0 else -1) * mul_div_floor(abs64(value), part, lots)
