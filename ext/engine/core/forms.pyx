"""What an order's fields must be like before anything else is asked about it."""

from engine.core.types cimport (
    ACCEPTED, BY_INDEX, BY_MARK, RATE_SCALE, REJECT_MALFORMED, REJECT_UNSUPPORTED, SIDE_BUY,
    SIDE_SELL, STP_DECREMENT, STP_NONE, TYPE_TRAILING_STOP_MARKET,
)


# ACCEPTED, MALFORMED, or UNSUPPORTED for a kind or a time in force that does not exist.
cdef int check_form(const request_t *form, int64_t now) noexcept nogil:
    if not (form.order_id > 0 and (form.close_position or positive(form.quantity))
            and SIDE_BUY <= form.side <= SIDE_SELL and STP_NONE <= form.stp <= STP_DECREMENT
            and is_reference(form.trigger_by)):
        return REJECT_MALFORMED
    if not (TYPE_LIMIT <= form.kind <= TYPE_TRAILING_STOP_MARKET
            and TIF_GTC <= form.time_in_force <= TIF_GTD):
        return REJECT_UNSUPPORTED
    if not (has_sensible_price(form) and has_sensible_time(form, now)):
        return REJECT_MALFORMED
    if form.is_plain and not is_conditional(<int>form.kind):
        return ACCEPTED  # the rest is about terms that it has not
    if (has_sensible_trigger(form) and has_sensible_size(form) and has_sensible_links(form)):
        return ACCEPTED
    return REJECT_MALFORMED


cdef bint is_reference(int64_t trigger_by) noexcept nogil:
    return trigger_by == NONE or BY_MARK <= trigger_by <= BY_INDEX


cdef bint has_sensible_price(const request_t *form) noexcept nogil:
    if is_market(<int>form.kind):
        return form.price == NONE and not form.post_only
    return positive(form.price) and not (form.post_only and (
        form.time_in_force == TIF_IOC or form.time_in_force == TIF_FOK))


cdef bint has_sensible_time(const request_t *form, int64_t now) noexcept nogil:
    if form.kind == TYPE_MARKET:
        return form.expire_ts == NONE and (
            form.time_in_force == TIF_IOC or form.time_in_force == TIF_FOK)
    if form.time_in_force == TIF_GTD:
        return form.expire_ts > now
    return form.expire_ts == NONE


cdef bint has_sensible_trigger(const request_t *form) noexcept nogil:
    if not is_conditional(<int>form.kind):
        return (form.trigger_price == NONE and form.trigger_by == NONE
                and form.callback_rate == NONE)
    if form.kind == TYPE_TRAILING_STOP_MARKET:
        return 0 < form.callback_rate < RATE_SCALE and (
            form.trigger_price == NONE or positive(form.trigger_price))
    return positive(form.trigger_price) and form.callback_rate == NONE


cdef bint has_sensible_size(const request_t *form) noexcept nogil:
    if form.close_position:
        return (is_market(<int>form.kind) and form.time_in_force != TIF_FOK
                and form.display == NONE)
    if form.display == NONE:
        return True
    if not (may_rest(<int>form.kind, <int>form.time_in_force) and positive(form.display)):
        return False
    return (form.display <= form.quantity or not is_proper(form.display)
            or not is_proper(form.quantity))


cdef bint has_sensible_links(const request_t *form) noexcept nogil:
    cdef int which
    if form.oco != NONE and (form.oco <= 0 or not (
            is_conditional(<int>form.kind)
            or may_rest(<int>form.kind, <int>form.time_in_force))):
        return False
    for which in range(2):
        if form.child_id[which] == NONE:
            continue
        if form.reduce_only or form.close_position or form.child_id[which] <= 0 or (
                form.child_id[which] == form.order_id):
            return False
        if not (positive(form.child_trigger[which]) and is_reference(form.child_by[which])
                and (form.child_price[which] == NONE or positive(form.child_price[which]))):
            return False
    return form.child_id[0] == NONE or form.child_id[0] != form.child_id[1]
