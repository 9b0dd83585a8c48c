# What vouches for the state: one hash of all that is logical in it, walked in one fixed order
# whatever lies where in memory.

from engine.core.ledger cimport position_t
from engine.core.views cimport Views

cdef class Digest(Views):
    cdef bint is_protected(self, const position_t *position) noexcept
