"""The hash table's cold half: allocation, growth, insertion, removal."""

from engine.core.fixed cimport max64
from engine.core.memory cimport use_huge_pages
from libc.stdlib cimport free, malloc


cdef int table_init(table_t *table, uint64_t capacity) except -1 nogil:
    cdef uint64_t i
    table.slots = <slot_t *>malloc(capacity * sizeof(slot_t))
    if table.slots == NULL:
        raise MemoryError("hash table")
    use_huge_pages(table.slots, capacity * sizeof(slot_t))
    table.capacity = capacity
    table.count = 0
    table.limit = 5 * (capacity // 8)
    for i in range(capacity):
        table.slots[i].row = -1
    return 0


cdef void table_free(table_t *table) noexcept nogil:
    free(table.slots)
    table.slots = NULL


cdef void table_place(table_t *table, slot_t slot) noexcept nogil:
    cdef uint64_t i = table_home(table, slot.tag)
    while table.slots[i].row >= 0:
        i = slot_after(table, i)
    table.slots[i] = slot


cdef int table_grow(table_t *table, uint64_t capacity) except -1 nogil:
    cdef table_t larger
    cdef uint64_t i
    table_init(&larger, capacity)
    for i in range(table.capacity):
        if table.slots[i].row >= 0:
            table_place(&larger, table.slots[i])
    larger.count = table.count
    table_free(table)
    table[0] = larger
    return 0


# Room for so many keys in all. Not a power of two, which could be twice as much; but half as
# much again as there is, lest many small reservations copy the table each time.
cdef int table_reserve(table_t *table, int64_t wanted) except -1 nogil:
    if wanted > table.limit:
        wanted = max64(wanted, table.limit + table.limit // 2)
        table_grow(table, <uint64_t>(wanted + wanted // 3 + 8))
        table.limit = wanted
    return 0


# Insert a row that is not there yet.
cdef int table_put(table_t *table, uint32_t tag, int32_t row) except -1 nogil:
    cdef slot_t slot
    if table.count == table.limit:
        table_grow(table, 2 * table.capacity)
    slot.tag = tag
    slot.row = row
    table_place(table, slot)
    table.count += 1
    return 0


# Slots from one to another, going round.
cdef inline uint64_t cyclic(uint64_t first, uint64_t last, uint64_t capacity) noexcept nogil:
    return last - first if last >= first else capacity - (first - last)


# Remove a row if it is there. Later slots of the same run move up, so no tombstones.
cdef void table_remove(table_t *table, uint32_t tag, int32_t row) noexcept nogil:
    cdef uint64_t i = table_home(table, tag)
    cdef uint64_t j, home
    while table.slots[i].row >= 0 and table.slots[i].row != row:
        i = slot_after(table, i)
    if table.slots[i].row < 0:
        return
    j = i
    while True:
        j = slot_after(table, j)
        if table.slots[j].row < 0:
            break
        home = table_home(table, table.slots[j].tag)
        # Move slot j into the hole unless its home lies cyclically in (i, j].
        if cyclic(home, j, table.capacity) >= cyclic(i, j, table.capacity):
            table.slots[i] = table.slots[j]
            i = j
    table.slots[i].row = -1
    table.count -= 1
