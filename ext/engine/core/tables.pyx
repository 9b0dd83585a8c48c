"""The hash table's cold half: allocation, growth, insertion, removal."""

from engine.core.memory cimport use_huge_pages
from libc.stdlib cimport free, malloc


cdef int table_init(table_t *table, uint64_t capacity) except -1 nogil:
    cdef uint64_t i
    table.slots = <slot_t *>malloc(capacity * sizeof(slot_t))
    if table.slots == NULL:
        raise MemoryError("hash table")
    use_huge_pages(table.slots, capacity * sizeof(slot_t))
    table.mask = capacity - 1
    table.count = 0
    for i in range(capacity):
        table.slots[i].row = -1
    return 0


cdef void table_free(table_t *table) noexcept nogil:
    free(table.slots)
    table.slots = NULL


cdef void table_place(table_t *table, slot_t slot) noexcept nogil:
    cdef uint64_t i = table_home(table, slot.scope, slot.key)
    while table.slots[i].row >= 0:
        i = (i + 1) & table.mask
    table.slots[i] = slot


cdef int table_grow(table_t *table, uint64_t capacity) except -1 nogil:
    cdef table_t larger
    cdef uint64_t i
    table_init(&larger, capacity)
    for i in range(table.mask + 1):
        if table.slots[i].row >= 0:
            table_place(&larger, table.slots[i])
    larger.count = table.count
    table_free(table)
    table[0] = larger
    return 0


# Room for so many keys in all.
cdef int table_reserve(table_t *table, int64_t wanted) except -1 nogil:
    cdef uint64_t capacity = table.mask + 1
    while 5 * capacity < 8 * <uint64_t>wanted:
        capacity *= 2
    return table_grow(table, capacity) if capacity > table.mask + 1 else 0


# Insert a key that is not there yet.
cdef int table_put(table_t *table, int32_t scope, int64_t key, int32_t row) except -1 nogil:
    cdef slot_t slot
    if 8 * (<uint64_t>table.count + 1) > 5 * (table.mask + 1):
        table_grow(table, 2 * (table.mask + 1))
    slot.key = key
    slot.scope = scope
    slot.row = row
    table_place(table, slot)
    table.count += 1
    return 0


# Slots from one to another, going round.
cdef inline uint64_t cyclic(uint64_t first, uint64_t last, uint64_t mask) noexcept nogil:
    return last - first if last >= first else mask + 1 - (first - last)


# Remove a key that is there. Later slots of the same run move up, so no tombstones.
cdef void table_remove(table_t *table, int32_t scope, int64_t key) noexcept nogil:
    cdef uint64_t i = table_home(table, scope, key)
    cdef uint64_t j, home
    while table.slots[i].row >= 0 and not (
        table.slots[i].key == key and table.slots[i].scope == scope
    ):
        i = (i + 1) & table.mask
    if table.slots[i].row < 0:
        return
    j = i
    while True:
        j = (j + 1) & table.mask
        if table.slots[j].row < 0:
            break
        home = table_home(table, table.slots[j].scope, table.slots[j].key)
        # Move slot j into the hole unless its home lies cyclically in (i, j].
        if cyclic(home, j, table.mask) >= cyclic(i, j, table.mask):
            table.slots[i] = table.slots[j]
            i = j
    table.slots[i].row = -1
    table.count -= 1
