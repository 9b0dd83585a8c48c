# The check at match time: whether a maker's account can still bear the fill that comes. It is
# tried out on what the account holds now, or would hold by then in a rehearsal.

from libc.stdint cimport int32_t, int64_t

from engine.core.fixed cimport i128
from engine.core.pledges cimport Pledges
from engine.core.tiers cimport isolated_t

# An account's money and legs in a symbol, as the fills of a sweep leave them.
cdef struct holdings_t:
    int32_t account              # row
    bint is_isolated
    i128 cash                    # cross: wallet less the entry values of the legs
    int64_t wallet               # isolated
    i128 spare                   # equity less initial margin of what else counts in its cross pool
    isolated_t legs[3]           # by leg; in cross mode only their quantities count

cdef class Makers(Pledges):
    # Of the rehearsal under way, by account row. Kept, for most rehearsals need none.
    cdef holdings_t *holdings
    cdef int32_t holdings_count, holdings_capacity
    cdef dict holdings_rows

    cdef int forget_holdings(self) except -1 nogil
    cdef holdings_t *rehearsed(self, int32_t position) except NULL nogil
    cdef int take_stock(self, int32_t position, holdings_t *held) except -1 nogil
    cdef int try_fill(
        self, holdings_t *held, int32_t position, int side, int64_t lots, int64_t price,
        int64_t rate) except -1 nogil
    cdef bint can_carry(self, const holdings_t *held, int32_t maker, int64_t lots) except -1 nogil
    cdef bint can_open(
        self, const holdings_t *held, int32_t maker, int64_t lots, int64_t closing) except -1 nogil
