"""Snapshots and forks of the whole core."""

from collections import deque

from engine.errors import InvariantViolation

from libc.stdint cimport int32_t, int64_t

from engine.core.collateral cimport collateral_t
from engine.core.conditional cimport REFERENCES, trail_t
from engine.core.ledger cimport (
    account_t, asset_t, custom_t, fund_t, instrument_t, open_orders_t, pool_t, position_t,
)
from engine.core.book cimport order_t, ticket_t
from engine.core.levels cimport level_t, levels_reserve, node_t
from engine.core.linked cimport bracket_t, group_t, special_t
from engine.core.protection cimport protection_t
from engine.core.risk cimport call_set_t
from engine.core.timers cimport timer_t
from engine.core.tiers cimport schedule_t
from engine.core.triggers cimport trigger_carry

# A hash of the declarations of the core; setup.py computes it.
cdef extern from *:
    const char *ENGINE_LAYOUT

cdef bytes LAYOUT = ENGINE_LAYOUT


cdef class Snapshots(Bulk):
    """The state as a whole: saved, restored, copied.

    Only what outlives a command is carried. What a command collects while it is under way is
    empty between commands, and events that nobody has drained yet belong to the past, not to
    the state: `tests/tidy` has the list of both.
    """

    def snapshot(self, write):
        """Hand the state to a function, piece by piece.

        Parameters
        ----------
        write : callable
            Called with each piece, bytes or a memoryview that is valid during the call; it
            must not call the engine.

        Raises
        ------
        InvariantViolation
            A command failed half way earlier.

        Notes
        -----
        Complexity: O(state), one copy of memory at most. The bytes fit this build only; they
        have no checksum.
        """
        self.require_idle()
        self.image().write(write, LAYOUT)

    def restore(self, const unsigned char[::1] data not None):
        """Take over the state of a snapshot; only a core without any state may.

        Raises
        ------
        ValueError
            The core has a state, or these are not the bytes of a whole snapshot of this build.
            The core is of no use then.
        """
        if self.seq:
            raise ValueError("only a new core can be restored")
        self.load(Image.read(data, LAYOUT))

    def fork(self):
        """Return a core of its own with the same state, without events to drain.

        Notes
        -----
        Complexity: O(state), one copy of memory.
        """
        cdef Image image
        cdef Snapshots copy
        self.require_idle()
        image = self.image()
        copy = type(self)()
        image.rewind()
        copy.load(image)
        return copy

    cdef Image image(self):
        cdef Image image = Image()
        if self.is_busy:
            raise InvariantViolation("the engine stopped at an earlier failure")
        self.carry(image)
        return image

    cdef int load(self, Image image) except -1:
        # Half a state is none: unless all goes well, every command is refused.
        self.is_busy = True
        self.carry(image)
        if image.next_section != image.count:
            raise ValueError("the snapshot has more sections than the engine's state")
        self.is_busy = False
        return 0

    # --- the walk ---------------------------------------------------------------------

    cdef int carry(self, Image image) except -1:
        image.scalar(&self.seq, sizeof(self.seq))
        image.scalar(&self.ts, sizeof(self.ts))
        image.scalar(&self.rejected_seq, sizeof(self.rejected_seq))
        image.scalar(&self.trade_id, sizeof(self.trade_id))
        image.scalar(&self.arrivals, sizeof(self.arrivals))
        self.carry_orders(image)
        self.carry_terms(image)
        self.carry_accounts(image)
        self.carry_instruments(image)
        self.carry_pledges(image)
        self.carry_multipliers(image)
        self.carry_triggers(image)
        return self.carry_liquidation(image)

    cdef int carry_orders(self, Image image) except -1:
        cdef int32_t tickets = self.order_count
        image.rows(<void **>&self.orders, &self.order_count, &self.order_capacity, sizeof(order_t))
        image.rows(<void **>&self.tickets, &tickets, NULL, sizeof(ticket_t))
        image.scalar(&self.free_order, sizeof(self.free_order))
        image.scalar(&self.offer_count, sizeof(self.offer_count))
        image.table(&self.order_table)
        return carry_books(image, &self.books, &self.book_count, &self.book_capacity)

    # What only some orders have.
    cdef int carry_terms(self, Image image) except -1:
        cdef int32_t i, stops = self.stop_count * REFERENCES, trails = stops
        image.rows(<void **>&self.specials, &self.special_count, &self.special_capacity,
                   sizeof(special_t))
        image.scalar(&self.free_special, sizeof(self.free_special))
        image.rows(<void **>&self.groups, &self.group_count, &self.group_capacity, sizeof(group_t))
        image.scalar(&self.free_group, sizeof(self.free_group))
        image.table(&self.group_table)
        image.rows(<void **>&self.brackets, &self.bracket_count, &self.bracket_capacity,
                   sizeof(bracket_t))
        image.scalar(&self.free_bracket, sizeof(self.free_bracket))
        image.rows(<void **>&self.protections, &self.protection_count, &self.protection_capacity,
                   sizeof(protection_t))
        image.rows(<void **>&self.timers, &self.timer_count, &self.timer_capacity, sizeof(timer_t))
        image.scalar(&self.timer_limit, sizeof(self.timer_limit))
        image.rows(<void **>&self.trails, &trails, NULL, sizeof(trail_t))
        if image.is_loading:
            for i in range(trails):
                self.trails[i].rows = NULL
        carry_books(image, &self.stops, &stops, NULL)
        self.stop_count = stops // REFERENCES
        for i in range(trails):
            image.rows(<void **>&self.trails[i].rows, &self.trails[i].count,
                       &self.trails[i].capacity, sizeof(int32_t))
        return 0

    cdef int carry_accounts(self, Image image) except -1:
        cdef int32_t sets = <int32_t>len(self.call_set_rows)
        image.rows(<void **>&self.accounts, &self.account_count, &self.account_capacity,
                   sizeof(account_t))
        image.table(&self.account_table)
        image.rows(<void **>&self.pools, &self.pool_count, &self.pool_capacity, sizeof(pool_t))
        image.rows(<void **>&self.positions, &self.position_count, &self.position_capacity,
                   sizeof(position_t))
        image.rows(<void **>&self.open_orders, &self.open_orders_count,
                   &self.open_orders_capacity, sizeof(open_orders_t))
        image.rows(<void **>&self.customs, &self.custom_count, &self.custom_capacity,
                   sizeof(custom_t))
        image.table(&self.position_table)
        self.parents = image.value(self.parents)
        self.sub_accounts = image.value(self.sub_accounts)
        self.call_set_rows = image.value(self.call_set_rows)
        image.scalar(&self.has_profile_calls, sizeof(self.has_profile_calls))
        return image.rows(<void **>&self.call_sets, &sets, NULL, sizeof(call_set_t))

    cdef int carry_instruments(self, Image image) except -1:
        cdef int32_t i
        image.rows(<void **>&self.assets, &self.asset_count, NULL, sizeof(asset_t))
        image.scalar(&self.has_mark_rules, sizeof(self.has_mark_rules))
        image.rows(<void **>&self.instruments, &self.instrument_count, NULL, sizeof(instrument_t))
        if image.is_loading:
            for i in range(self.instrument_count):
                self.instruments[i].holders = NULL
        for i in range(self.instrument_count):
            image.rows(
                <void **>&self.instruments[i].holders, &self.instruments[i].holder_count,
                &self.instruments[i].holder_capacity, sizeof(int32_t))
        image.rows(<void **>&self.funds, &self.fund_count, &self.fund_capacity, sizeof(fund_t))
        history = image.value({
            fund: list(balances) for fund, balances in self.fund_history.items()})
        if image.is_loading:
            self.fund_history = {fund: deque(balances) for fund, balances in history.items()}
        self.backstops = image.value(self.backstops)
        return 0

    cdef int carry_pledges(self, Image image) except -1:
        cdef int32_t i
        image.rows(<void **>&self.collaterals, &self.collateral_count, NULL, sizeof(collateral_t))
        image.rows(<void **>&self.pledges, &self.pledge_count, &self.pledge_capacity,
                   sizeof(position_t))
        while self.pledge_symbols < self.collateral_count:
            self.add_pledge_triggers()
        for i in range(2 * self.pledge_symbols):
            trigger_carry(image, &self.pledge_sides[i])
        return 0

    # Of accounts, and the schedules that follow; those are made anew before they are filled.
    cdef int carry_multipliers(self, Image image) except -1:
        cdef int32_t row
        self.multipliers = image.value(self.multipliers)
        for multiplier, symbol in image.value(list(self.own_schedule_rows)):
            self.own_schedule_row(multiplier, symbol)
        for row in range(1, self.own_schedule_count):
            image.scalar(self.own_schedules[row], sizeof(schedule_t))
        return 0

    cdef int carry_triggers(self, Image image) except -1:
        cdef int32_t i
        cdef int64_t symbols = image.number(self.trigger_symbols)
        while self.trigger_symbols < symbols:
            self.add_triggers()
        for i in range(2 * self.trigger_symbols):
            trigger_carry(image, &self.trigger_sides[i])
        image.scalar(self.unfiled, sizeof(self.unfiled))
        image.scalar(&self.unfiled_count, sizeof(self.unfiled_count))
        return image.scalar(&self.evaluation_count, sizeof(self.evaluation_count))

    # Pools in the queue that wait; between commands there are no others.
    cdef int carry_liquidation(self, Image image) except -1:
        self.waiting = image.value(self.waiting)
        self.cooling = image.value(self.cooling)
        self.pausing = image.value(self.pausing)
        self.ramp_since = image.value(self.ramp_since)
        self.ramped = image.value(self.ramped)
        self.postponed = image.value(self.postponed)
        self.turn_of = image.value(self.turn_of)
        image.scalar(&self.bounded_steps, sizeof(self.bounded_steps))
        return image.scalar(&self.has_bounded_steps, sizeof(self.has_bounded_steps))


# Books with their levels and tries.
cdef int carry_books(Image image, book_t **books, int32_t *count, int32_t *capacity) except -1:
    cdef int32_t i
    cdef int side
    cdef book_t *book
    image.rows(<void **>books, count, capacity, sizeof(book_t))
    if image.is_loading:
        for i in range(count[0]):
            books[0][i].levels = NULL
            books[0][i].sides[0].nodes = books[0][i].sides[1].nodes = NULL
            # Whoever wants market data of the copy will say so.
            books[0][i].is_published = 0
    for i in range(count[0]):
        book = &books[0][i]
        image.rows(<void **>&book.levels, &book.level_count, &book.level_capacity,
                   sizeof(level_t))
        for side in range(2):
            image.rows(
                <void **>&book.sides[side].nodes, &book.sides[side].node_count,
                &book.sides[side].node_capacity, sizeof(node_t))
        # A level may be found through the first node, whether or not it is in use.
        if image.is_loading and book.level_live and levels_reserve(book, 1) < 0:
            raise MemoryError("price levels")
    return 0
