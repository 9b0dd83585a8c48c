# What ties orders together, and what some have beyond the plain ones: special terms,
# one-cancels-other groups, and brackets (a take-profit and a stop-loss attached to an
# entry). Plain orders have no row here.

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t

from engine.core.matching cimport Matching
from engine.core.tables cimport table_home, table_next, table_t, table_tag

cdef struct special_t:
    int64_t trigger_price        # mark ticks; NONE: none
    int64_t callback_rate        # of a trailing stop, else NONE
    int64_t peak                 # best reference seen by an active trailing stop, else NONE
    int64_t display              # lots an iceberg displays, else NONE
    int64_t expire_ts            # NONE: never
    int64_t parent_id            # order id of a bracket child's entry, else NONE
    int32_t group                # group row, NIL: none; also links free rows
    int32_t group_prev, group_next  # neighbours in the group, in order of arrival
    int32_t bracket              # of an entry or of its children, NIL: none
    int32_t slot                 # place among trailing stops or among turns
    int8_t trigger_by            # TriggerBy, -1: not conditional
    uint8_t close_position
    uint8_t is_bound             # dies with the position even while it waits

cdef struct group_t:
    int64_t oco                  # the client's number, NONE: a bracket's children
    int32_t position
    int32_t first, last          # members by arrival; first also links free rows

cdef struct bracket_t:
    int64_t filled               # lots the entry has filled
    int64_t armed                # of these, lots the children stand for
    int32_t entry                # order row, NIL: dead
    int32_t child[2]             # take-profit and stop-loss, NIL: none; [0] links free rows
    uint8_t is_noted             # in the list of entries that filled
    uint8_t is_over

cdef class Linked(Matching):
    cdef special_t *specials
    cdef int32_t special_count, special_capacity, free_special
    cdef group_t *groups
    cdef int32_t group_count, group_capacity, free_group
    cdef table_t group_table     # (position row, oco) -> group row
    cdef bracket_t *brackets
    cdef int32_t bracket_count, bracket_capacity, free_bracket
    cdef int32_t *noted          # brackets whose entry filled, in that order
    cdef int32_t noted_count, noted_capacity

    cdef int32_t special_of(self, int32_t order) except -1 nogil
    cdef int set_display(self, int32_t order) except -1 nogil
    cdef int unfile_order(self, int32_t order) except -1 nogil
    cdef int wait(self, int32_t order) except -1 nogil
    cdef int emit_accepted(self, int32_t order) except -1 nogil
    cdef int emit_terms(self, int32_t order) except -1 nogil
    cdef int emit_amended(self, int32_t order) except -1 nogil

    # The group of a client's number at a position, NIL where there is none.
    cdef inline int32_t find_group(self, int32_t position, int64_t oco) noexcept nogil:
        cdef uint32_t tag = table_tag(position, oco)
        cdef uint64_t at = table_home(&self.group_table, tag)
        cdef int32_t row = table_next(&self.group_table, tag, &at)
        while row >= 0 and not (
            self.groups[row].oco == oco and self.groups[row].position == position
        ):
            row = table_next(&self.group_table, tag, &at)
        return row

    cdef int32_t new_group(self, int32_t position, int64_t oco) except -1 nogil
    cdef int join_group(self, int32_t order, int32_t group) except -1 nogil
    cdef int32_t leave_group(self, int32_t order) except -2 nogil
    cdef int dissolve(self, int32_t group) except -1 nogil
    cdef int shrink_group(self, int32_t order, int64_t lots) except -1 nogil
    cdef int shrink(self, int32_t order, int64_t lots) except -1 nogil

    cdef int32_t new_bracket(self, int32_t entry) except -1 nogil
    cdef int32_t new_child(
        self, int32_t entry, int32_t bracket, int which, int64_t order_id,
        int64_t trigger_price, int trigger_by, int64_t price) except -1 nogil
    cdef int note_bracket(self, int32_t bracket) except -1 nogil
    cdef int end_bracket(self, int32_t bracket) except -1 nogil
    cdef int arm_brackets(self) except -1 nogil
    cdef int arm(self, int32_t bracket) except -1 nogil
    cdef int grow(self, int32_t bracket, int64_t lots) except -1 nogil
    cdef int32_t leave_bracket(self, int32_t order) except -2 nogil
