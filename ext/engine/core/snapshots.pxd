# Snapshots and forks: the one list of everything that a core's state consists of.

from libc.stdint cimport int32_t

from engine.core.bulk cimport Bulk
from engine.core.image cimport Image
from engine.core.levels cimport book_t

cdef class Snapshots(Bulk):
    cdef int carry(self, Image image) except -1
    cdef int carry_orders(self, Image image) except -1
    cdef int carry_terms(self, Image image) except -1
    cdef int carry_accounts(self, Image image) except -1
    cdef int carry_instruments(self, Image image) except -1
    cdef int carry_pledges(self, Image image) except -1
    cdef int carry_multipliers(self, Image image) except -1
    cdef int carry_triggers(self, Image image) except -1
    cdef int carry_liquidation(self, Image image) except -1
    cdef Image image(self)
    cdef int load(self, Image image) except -1

cdef int carry_books(Image image, book_t **books, int32_t *count, int32_t *capacity) except -1
