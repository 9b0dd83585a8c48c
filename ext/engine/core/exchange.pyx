"""The compiled core: the seam that `engine.exchange` calls."""

cimport cython

from engine.messages import COMMAND_COLUMNS, SPECIAL_COLUMNS

from engine.core.book cimport PyGILState_Release
from engine.core.snapshots cimport Snapshots
from engine.core.forms cimport request_t
from engine.core.memory cimport prefetch
from engine.core.tables cimport table_guess, table_home, table_t, table_tag
from engine.core.types cimport (
    ACCEPTED, CMD_ACCOUNT, CMD_ACCOUNT_MULTIPLIER, CMD_AMEND, CMD_CANCEL, CMD_CANCEL_ALL,
    CMD_CANCEL_ALL_AFTER, CMD_DEPOSIT, CMD_FILL, CMD_FUNDING, CMD_INSURANCE,
    CMD_ISOLATED_MARGIN, CMD_LEVERAGE, CMD_MARGIN_MODE, CMD_MARK, CMD_ORDER, CMD_TIME,
    CMD_WITHDRAW, MODE_CROSS, MODE_ISOLATED, NIL, NONE, POSITIONS_ONE_WAY,
    REJECT_MALFORMED, REJECT_UNSUPPORTED, SIDE_BUY, SIDE_SELL,
)
from libc.stdint cimport int32_t, int64_t

# Columns of a packed command; `engine.messages` names and explains them.
cdef enum:
    COMMAND_WIDTH = 12
    SPECIAL_WIDTH = 14
    FLAG_POST_ONLY = 1
    FLAG_REDUCE_ONLY = 2
    FLAG_CLOSE_POSITION = 4
    STP_SHIFT = 4
    STP_MASK = 7
    LEG_SHIFT = 7

# How many commands ahead what they touch is fetched into the cache.
cdef enum:
    FAR_AHEAD = 12
    AHEAD = 9
    NEAR = 6
    NEXT = 3

# A column, or what stands for it where it is absent.
cdef inline int64_t or_else(int64_t value, int64_t otherwise) noexcept nogil:
    return otherwise if value == NONE else value


cdef inline const void *table_slot(const table_t *table, int32_t scope, int64_t key) noexcept nogil:
    return &table.slots[table_home(table, table_tag(scope, key))]


cdef class ExchangeCore(Snapshots):
    """The whole engine behind the seam, compiled.

    Every command takes ints (`engine.messages` has the sentinels), advances `seq` by one
    and appends event records to be drained; a rejected command appends one `REJECTED`
    record and changes nothing else. Same methods, records and digests as
    `engine.reference.ReferenceCore`.
    """

    def __cinit__(self):
        assert len(COMMAND_COLUMNS) == COMMAND_WIDTH, "packed commands have another width"
        assert len(SPECIAL_COLUMNS) == SPECIAL_WIDTH, "packed terms have another width"

    def is_running(self):
        """Tell whether some thread is in the middle of a batch."""
        return self.in_batch

    def require_idle(self):
        """Raise a RuntimeError while another thread is in the middle of a batch."""
        if self.in_batch:
            raise RuntimeError("another thread is in the middle of a batch on this exchange")

    def drain(self):
        """Return the records since the last drain and forget them."""
        self.require_idle()
        return self.records.drain()

    def discard_records(self):
        """Forget the records since the last drain; return how many there were."""
        cdef Py_ssize_t count = self.records.count
        self.require_idle()
        self.records.count = 0
        return count

    def drain_bytes(self):
        """Return the same as rows of native int64 (`engine.messages.RECORD_WIDTH` each)."""
        self.require_idle()
        return self.records.drain_bytes()

    def run(self, const int64_t[:, ::1] commands, const int64_t[:, ::1] specials=None):
        """Apply packed commands in one crossing; each as its own method would.

        Parameters
        ----------
        commands : buffer of int64, shape (n, 12)
            Columns as `engine.messages.COMMAND_COLUMNS`.
        specials : buffer of int64, shape (m, 14), optional
            Terms beyond the plain ones, which commands name by their row.

        Returns
        -------
        int
            Commands refused. Each has its `REJECTED` record, and the rest goes on.

        Raises
        ------
        ValueError
            A buffer has another shape; nothing was applied.
        RuntimeError
            Another thread is in the middle of a batch on this exchange; nothing was applied.
        InvariantViolation
            A command failed half way, now or earlier.

        Complexity
            That of the commands; no Python object is made for any of them.
        """
        cdef Py_ssize_t count = commands.shape[0]
        cdef int64_t refused = 0
        cdef int64_t room = 0
        cdef const int64_t *terms = NULL
        if commands.shape[1] != COMMAND_WIDTH:
            raise ValueError(
                f"commands must have {COMMAND_WIDTH} columns, not {commands.shape[1]}")
        if specials is not None:
            if specials.shape[1] != SPECIAL_WIDTH:
                raise ValueError(
                    f"specials must have {SPECIAL_WIDTH} columns, not {specials.shape[1]}")
            room = specials.shape[0]
            if room:
                terms = &specials[0, 0]
        if count == 0:
            return 0
        self.require_idle()
        self.records.reserve(2 * count)  # two a command, roughly
        self.in_batch = self.is_unlocked = True
        try:
            with nogil:
                try:
                    refused = self.run_rows(&commands[0, 0], count, terms, room)
                finally:
                    if not self.is_unlocked:
                        self.is_unlocked = True
                        PyGILState_Release(self.taken_back)
        finally:
            self.in_batch = self.is_unlocked = False
        return refused

    @cython.final
    cdef int64_t run_rows(
        self, const int64_t *first, Py_ssize_t count, const int64_t *terms, int64_t room
    ) except -1 nogil:
        cdef Py_ssize_t i
        cdef int64_t refused = 0
        cdef int64_t at
        cdef const int64_t *row
        cdef const int64_t *special
        for i in range(LOOKED_UP):
            self.ahead_owner[i] = self.ahead_order[i] = NIL
        for i in range(count):
            row = first + i * COMMAND_WIDTH
            if i < count - FAR_AHEAD:
                self.fetch_account(row + FAR_AHEAD * COMMAND_WIDTH)
                self.fetch_order(row + AHEAD * COMMAND_WIDTH, i + AHEAD)
                self.fetch_rows(row + NEAR * COMMAND_WIDTH, i + NEAR)
                self.fetch_neighbours(row + NEXT * COMMAND_WIDTH, i + NEXT)
            at = row[11]
            special = NULL
            if 0 <= at < room:
                special = terms + at * SPECIAL_WIDTH
            self.run_one(row, special)
            refused += self.rejected_seq == self.seq
        return refused

    # Commands ahead are known: what they will read is asked for while earlier ones are still
    # applied, in four stages, since one address is found in what another holds. Only hints:
    # what has changed by then costs a wait, no more.
    @cython.final
    cdef void fetch_account(self, const int64_t *row) noexcept nogil:
        prefetch(table_slot(&self.account_table, 0, row[2]))

    @cython.final
    cdef void fetch_order(self, const int64_t *row, Py_ssize_t number) noexcept nogil:
        cdef int32_t owner = table_guess(&self.account_table, 0, row[2])
        self.ahead_owner[number & (LOOKED_UP - 1)] = owner
        if owner >= 0:
            prefetch(&self.accounts[owner])
            prefetch(table_slot(&self.order_table, owner, row[4]))

    @cython.final
    cdef void fetch_rows(self, const int64_t *row, Py_ssize_t number) noexcept nogil:
        cdef int32_t owner = self.ahead_owner[number & (LOOKED_UP - 1)]
        cdef int32_t at
        if owner < 0:
            return
        at = self.accounts[owner].first_position
        if at >= 0:
            prefetch(&self.positions[at])
            prefetch(&self.positions[at].leg)
        if row[0] == CMD_FILL:
            prefetch(table_slot(&self.position_table, owner, row[3]))
            if self.accounts[owner].first_wallet >= 0:
                prefetch(&self.pools[self.accounts[owner].first_wallet])
        elif row[0] == CMD_CANCEL or row[0] == CMD_AMEND:
            at = table_guess(&self.order_table, owner, row[4])
            self.ahead_order[number & (LOOKED_UP - 1)] = at
            if at >= 0:
                prefetch(&self.orders[at])
                prefetch(&self.orders[at].side)
                prefetch(&self.tickets[at])
                prefetch(&self.tickets[at].kind)

    # What an account holds often lies together; where not, too much is asked for.
    @cython.final
    cdef void fetch_open(self, int32_t first) noexcept nogil:
        cdef int i
        for i in range(8):
            prefetch(<const char *>&self.positions[first] + 64 * i)

    @cython.final
    cdef void fetch_neighbours(self, const int64_t *row, Py_ssize_t number) noexcept nogil:
        cdef int32_t owner = self.ahead_owner[number & (LOOKED_UP - 1)]
        cdef int32_t at
        if owner < 0:
            return
        if row[0] == CMD_ORDER:
            at = self.accounts[owner].first_position
            if at >= 0 and self.orders_of(at).last >= 0:
                prefetch(&self.orders_of(at).extreme_price)
                prefetch(&self.tickets[self.orders_of(at).last].own_next)
        elif row[0] == CMD_FILL:
            at = table_guess(&self.position_table, owner, row[3])
            if at >= 0:
                prefetch(&self.positions[at])
                prefetch(&self.positions[at].leg)
            at = self.accounts[owner].first_wallet
            if at >= 0 and self.pools[at].first_open >= 0:
                self.fetch_open(self.pools[at].first_open)
        elif row[0] == CMD_CANCEL or row[0] == CMD_AMEND:
            at = self.ahead_order[number & (LOOKED_UP - 1)]
            if at >= 0:
                # A neighbour that is not there is an address beside the array: never read.
                prefetch(&self.orders[self.orders[at].prev].next)
                prefetch(&self.orders[self.orders[at].next].prev)
                prefetch(&self.tickets[self.tickets[at].own_prev].own_next)
                prefetch(&self.tickets[self.tickets[at].own_next].own_prev)
                prefetch(&self.books[self.orders[at].symbol].levels[self.orders[at].level])

    @cython.final
    cdef int run_one(self, const int64_t *row, const int64_t *special) except -1 nogil:
        cdef int64_t op = row[0]
        cdef int reason = REJECT_MALFORMED
        cdef bint is_timely = self.begin(row[1])
        if special == NULL and row[11] != NONE:
            is_timely = False  # names terms that are not there: malformed like a time gone by
        if op == CMD_ORDER:
            return self.run_order(row, special, is_timely)
        if op == CMD_CANCEL:
            if is_timely:
                reason = self.do_cancel(row[2], row[3], row[4])
            return self.end(CMD_CANCEL, reason, row[2], NONE, row[3], row[4])
        if op == CMD_AMEND:
            if is_timely:
                reason = self.do_amend(
                    row[2], row[3], row[4], row[8], row[7], row[6],
                    NONE if special == NULL else special[0])
            return self.end(CMD_AMEND, reason, row[2], NONE, row[3], row[4])
        if op == CMD_MARK:
            if is_timely:
                reason = self.do_mark(row[3], row[8], row[7], row[4], row[2])
            return self.end(CMD_MARK, reason, NONE, NONE, row[3], NONE)
        return self.run_rare(row, is_timely)

    @cython.final
    cdef int run_order(
        self, const int64_t *row, const int64_t *special, bint is_timely
    ) except -1 nogil:
        cdef request_t form
        cdef int which
        form.account, form.symbol, form.order_id = row[2], row[3], row[4]
        form.side, form.kind = row[5], row[6]
        form.quantity, form.price, form.time_in_force = row[7], row[8], row[9]
        form.post_only = (row[10] & FLAG_POST_ONLY) != 0
        form.reduce_only = (row[10] & FLAG_REDUCE_ONLY) != 0
        form.close_position = (row[10] & FLAG_CLOSE_POSITION) != 0
        form.stp = row[10] >> STP_SHIFT & STP_MASK
        form.leg = row[10] >> LEG_SHIFT
        form.is_plain = special == NULL and not form.close_position
        form.trigger_price = form.trigger_by = form.callback_rate = NONE
        form.display = form.expire_ts = form.oco = NONE
        form.child_id[0] = form.child_id[1] = NONE
        if special != NULL:
            form.trigger_price, form.trigger_by = special[0], special[1]
            form.callback_rate, form.display = special[2], special[3]
            form.expire_ts, form.oco = special[4], special[5]
            for which in range(2):
                form.child_id[which] = special[6 + 4 * which]
                form.child_trigger[which] = special[7 + 4 * which]
                form.child_by[which] = special[8 + 4 * which]
                form.child_price[which] = special[9 + 4 * which]
        return self.end(
            CMD_ORDER, self.do_place(&form) if is_timely else REJECT_MALFORMED,
            form.account, NONE, form.symbol, form.order_id)

    cdef int run_rare(self, const int64_t *row, bint is_timely) except -1 nogil:
        cdef int64_t op = row[0]
        cdef int reason = REJECT_MALFORMED
        if op == CMD_CANCEL_ALL:
            if is_timely:
                self.hold()
                reason = self.do_cancel_all(row[2], row[3], row[5])
            return self.end(CMD_CANCEL_ALL, reason, row[2], NONE, row[3], NONE)
        if op == CMD_DEPOSIT or op == CMD_WITHDRAW:
            if is_timely and op == CMD_DEPOSIT:
                reason = self.do_deposit(row[2], row[3], row[7])
            elif is_timely:
                reason = self.do_withdraw(row[2], row[3], row[7])
            return self.end(<int>op, reason, row[2], row[3], NONE, NONE)
        if op == CMD_LEVERAGE:
            if is_timely:
                reason = self.do_set_leverage(row[2], row[3], row[7])
            return self.end(CMD_LEVERAGE, reason, row[2], NONE, row[3], NONE)
        if op == CMD_CANCEL_ALL_AFTER:
            if is_timely:
                reason = self.do_cancel_all_after(row[2], row[7])
            return self.end(CMD_CANCEL_ALL_AFTER, reason, row[2], NONE, NONE, NONE)
        if op == CMD_TIME:
            return self.end(
                CMD_TIME, ACCEPTED if is_timely else REJECT_MALFORMED, NONE, NONE, NONE, NONE)
        return self.run_loading(row, is_timely)

    cdef int run_loading(self, const int64_t *row, bint is_timely) except -1 nogil:
        cdef int64_t op = row[0]
        cdef int64_t mode = or_else(row[6], MODE_CROSS) if op == CMD_ACCOUNT else row[6]
        cdef bint has_mode = MODE_CROSS <= mode <= MODE_ISOLATED
        cdef int reason = REJECT_MALFORMED
        if op == CMD_FILL:
            if is_timely and SIDE_BUY <= row[5] <= SIDE_SELL:
                reason = self.do_fill(
                    row[2], row[3], <int>row[5], row[7], row[8], or_else(row[4], 0),
                    row[10] >> LEG_SHIFT)
            return self.end(CMD_FILL, reason, row[2], NONE, row[3], NONE)
        if op == CMD_ACCOUNT:
            if is_timely and has_mode:
                self.hold()
                with gil:
                    reason = self.do_open_account(
                        row[2], <int>mode, row[4], None, NONE, NONE,
                        or_else(row[5], POSITIONS_ONE_WAY))
            return self.end(CMD_ACCOUNT, reason, row[2], NONE, NONE, NONE)
        if op == CMD_MARGIN_MODE:
            if is_timely and has_mode:
                reason = self.do_set_margin_mode(row[2], row[3], <int>mode)
            return self.end(CMD_MARGIN_MODE, reason, row[2], NONE, row[3], NONE)
        if op == CMD_ISOLATED_MARGIN:
            if is_timely:
                reason = self.do_isolated_margin(
                    row[2], row[3], or_else(row[7], 0), row[10] >> LEG_SHIFT)
            return self.end(CMD_ISOLATED_MARGIN, reason, row[2], NONE, row[3], NONE)
        if op == CMD_FUNDING:
            if is_timely:
                self.hold()
                reason = self.do_funding(row[3], row[7])
            return self.end(CMD_FUNDING, reason, NONE, NONE, row[3], NONE)
        if op == CMD_INSURANCE:
            if is_timely:
                reason = self.do_fund_insurance(row[3], or_else(row[7], 0), row[4])
            return self.end(CMD_INSURANCE, reason, NONE, row[3], NONE, NONE)
        # Known commands that do not come packed, and codes of none.
        return self.end(
            op if 0 <= op <= CMD_ACCOUNT_MULTIPLIER else NONE,
            REJECT_UNSUPPORTED if is_timely else REJECT_MALFORMED, NONE, NONE, NONE, NONE)
