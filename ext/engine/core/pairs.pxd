# When a cross pool is due that holds both legs of a symbol, which move together.

from libc.stdint cimport int64_t

from engine.core.contracts cimport contract_t
from engine.core.fixed cimport i128
from engine.core.tiers cimport schedule_t

# With each leg in one tier the pool's health is a line in the mark (an inverse one's in
# 1 / mark), but for the roundings: each requirement is rounded up, an inverse notional up and
# an inverse worth toward zero, by less than one unit each.
cdef struct pair_t:
    const contract_t *contract
    const schedule_t *schedule
    int64_t lots[2]              # long, short; positive
    i128 rest                    # equity without the legs, less the maintenance of others

cdef int64_t pair_first_mark(
    const pair_t *pair, int64_t origin, int step, bint wanted) except? -1 nogil
