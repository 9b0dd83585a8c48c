# Orders that wait for a price: the trigger index, trailing stops, and the turns of those
# that have been triggered.
#
# Stops and take-profits of a symbol wait in a stop book for each reference price: a book of
# its own whose levels are trigger prices in mark ticks, so a move of the reference touches
# only the levels it crosses. Trailing stops move with every new extreme; they are looked at
# one by one, O(trailing stops of the symbol and reference).

from libc.stdint cimport int32_t, int64_t

from engine.core.levels cimport book_t
from engine.core.linked cimport Linked, special_t

cdef enum:
    REFERENCES = 3               # mark, last, index

cdef struct trail_t:
    int32_t *rows                # orders
    int32_t count, capacity

cdef struct turn_t:
    int64_t arrival
    int32_t order                # NIL: cancelled meanwhile

cdef class Conditional(Linked):
    cdef book_t *stops           # symbol x 3 + TriggerBy
    cdef trail_t *trails         # the same
    cdef int32_t stop_count      # symbols that have them
    cdef turn_t *turns           # [turn_head, turn_sorted) in their order, then new ones
    cdef int32_t turn_count, turn_capacity, turn_head, turn_sorted

    cdef int add_conditions(self) except -1 nogil
    cdef int64_t reference(self, int32_t symbol, int by) except? -1 nogil
    cdef bint is_asleep(self, int32_t symbol) noexcept nogil
    cdef bint is_rising(self, int32_t order) noexcept nogil
    cdef bint is_satisfied(self, int32_t order, int64_t price) noexcept nogil
    cdef int file_stop(self, int32_t order) except -1 nogil
    cdef int unfile_stop(self, int32_t order) except -1 nogil
    cdef int collect(self, int32_t order) except -1 nogil
    cdef int evaluate_reference(self, int32_t symbol, int by) except -1 nogil
    cdef int collect_level(self, book_t *book, int side) except -1 nogil
    cdef int evaluate_trails(self, int32_t symbol, int by, int64_t price) except -1 nogil
    cdef bint trail(self, int32_t order, int64_t price) except -1 nogil
    cdef int wake(self, int32_t symbol) except -1 nogil
    cdef int32_t next_turn(self) except -2 nogil
