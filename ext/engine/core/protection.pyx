"""Market-maker protection: counting fills, cancelling, freezing."""

from libc.stdlib cimport free
from libc.string cimport memset

from engine.core.fixed cimport add, min64, wide
from engine.core.memory cimport larger
from engine.core.types cimport (
    CANCEL_PROTECTION, EVENT_PROTECTION_TRIGGERED, LEG_SHORT, MONEY_MAX, NIL, NONE,
)


cdef class Protection(Conditional):
    """Accounts whose quotes are protected."""

    def __dealloc__(self):
        free(self.protections)
        free(self.tripped)

    # A position's protection, made when first asked for; the legs of a symbol share it.
    cdef protection_t *protection_at(self, int32_t position) except NULL nogil:
        cdef int32_t row = self.custom_of(&self.positions[position]).protection
        if row < 0:
            row = self.protection_count
            if row == self.protection_capacity:
                self.protections = <protection_t *>larger(
                    self.protections, &self.protection_capacity, row + 1, sizeof(protection_t))
            self.protection_count += 1
            memset(&self.protections[row], 0, sizeof(protection_t))
            self.put_protection(position, row)
            if self.twin_of(position) >= 0:
                self.put_protection(self.twin_of(position), row)
        return &self.protections[row]

    cdef bint is_frozen(self, int32_t position) noexcept nogil:
        cdef int32_t row = self.custom_of(&self.positions[position]).protection
        cdef int64_t until
        if row < 0 or not self.protections[row].is_on:
            return False
        until = self.protections[row].frozen_until
        return until == MONEY_MAX or until > self.ts

    # Count a trade of a resting order. The window begins with the first trade in it.
    cdef int count_maker_fill(self, int32_t position, int64_t lots) except -1 nogil:
        cdef protection_t *row = &self.protections[
            self.custom_of(&self.positions[position]).protection]
        if not row.is_on:
            return 0
        if row.start == NONE or self.ts - row.start >= row.window:
            row.start = self.ts
            row.lots = row.trades = 0
        row.lots += min64(lots, MONEY_MAX - row.lots)  # no limit is higher
        row.trades += 1
        if row.is_tripped or self.is_frozen(position):
            return 0
        if ((row.quantity != NONE and row.lots >= row.quantity)
                or (row.count != NONE and row.trades >= row.count)):
            if self.tripped_count == self.tripped_capacity:
                self.tripped = <int32_t *>larger(
                    self.tripped, &self.tripped_capacity, self.tripped_count + 1,
                    sizeof(int32_t))
            row.is_tripped = 1
            self.tripped[self.tripped_count] = position
            self.tripped_count += 1
        return 0

    # Freeze and cancel once the sweep that tripped it is done: a fill-or-kill taker has
    # been promised what stood in the book.
    cdef int carry_out_protection(self) except -1 nogil:
        cdef int32_t i = 0
        while i < self.tripped_count:
            self.hold()
            self.trip(self.tripped[i])
            i += 1
        self.tripped_count = 0
        return 0

    cdef int trip(self, int32_t position) except -1 with gil:
        cdef protection_t *row = &self.protections[
            self.custom_of(&self.positions[position]).protection]
        cdef int64_t *out
        cdef int32_t order
        cdef list quotes
        row.is_tripped = 0
        row.start = NONE
        row.lots = row.trades = 0
        row.frozen_until = MONEY_MAX
        if row.freeze and add(wide(self.ts), wide(row.freeze)) < wide(MONEY_MAX):
            row.frozen_until = self.ts + row.freeze
        out = self.emit(EVENT_PROTECTION_TRIGGERED)
        out[0] = self.accounts[self.positions[position].account].id
        out[1] = self.positions[position].symbol
        out[2] = NONE if row.frozen_until == MONEY_MAX else row.frozen_until
        if self.positions[position].leg == LEG_SHORT:
            position = self.twin_of(position)
        while position >= 0:
            order = self.orders_of(position).first
            quotes = []
            while order >= 0:
                if not self.orders[order].is_reduce_only:
                    quotes.append((order, self.tickets[order].arrival))
                order = self.tickets[order].own_next
            self.cancel_each(quotes, CANCEL_PROTECTION)
            position = NIL if self.positions[position].leg == LEG_SHORT else (
                self.twin_of(position))
        return 0
