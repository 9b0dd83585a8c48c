# An order as it was asked for, and whether that makes sense in itself.

from libc.stdint cimport int64_t

from engine.core.types cimport (
    NONE, OFF_GRID, TIF_FOK, TIF_GTC, TIF_GTD, TIF_IOC, TOO_LARGE, TYPE_LIMIT, TYPE_MARKET,
    TYPE_STOP_LIMIT, TYPE_TAKE_PROFIT_LIMIT,
)

cdef struct request_t:
    int64_t account, symbol, order_id
    int64_t quantity, price
    int64_t trigger_price, callback_rate, display, expire_ts, oco  # NONE where absent
    int64_t child_id[2]          # take-profit and stop-loss, NONE where absent
    int64_t child_trigger[2]
    int64_t child_by[2]          # TriggerBy or NONE
    int64_t child_price[2]       # NONE: a market order
    int64_t trigger_by           # TriggerBy or NONE
    int64_t side, kind, time_in_force, stp
    int64_t leg                  # PositionSide
    bint post_only, reduce_only, close_position
    bint is_plain                # has none of the terms that may be absent but its price


# A number that counts as positive until its grid or its size is looked at.
cdef inline bint positive(int64_t value) noexcept nogil:
    return value > 0 or value == OFF_GRID or value == TOO_LARGE


cdef inline bint is_proper(int64_t value) noexcept nogil:
    return value != OFF_GRID and value != TOO_LARGE


cdef inline bint is_market(int kind) noexcept nogil:
    return not (kind == TYPE_LIMIT or kind == TYPE_STOP_LIMIT or kind == TYPE_TAKE_PROFIT_LIMIT)


cdef inline bint is_conditional(int kind) noexcept nogil:
    return kind != TYPE_LIMIT and kind != TYPE_MARKET


cdef inline bint may_rest(int kind, int time_in_force) noexcept nogil:
    return not is_market(kind) and (time_in_force == TIF_GTC or time_in_force == TIF_GTD)


# What `is_plain` has to say.
cdef inline bint has_no_terms(const request_t *form) noexcept nogil:
    return (form.trigger_price == NONE and form.trigger_by == NONE
            and form.callback_rate == NONE and form.display == NONE and form.expire_ts == NONE
            and form.oco == NONE and form.child_id[0] == NONE and form.child_id[1] == NONE
            and not form.close_position)

cdef int check_form(const request_t *form, int64_t now) noexcept nogil
