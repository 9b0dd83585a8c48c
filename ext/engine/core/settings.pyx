"""Settings of accounts and instruments beyond the plain ones."""

from libc.stdint cimport int32_t, int64_t

from engine.core.fixed cimport add, wide
from engine.core.ledger cimport custom_t, instrument_t, position_t, set_top_up, tops_up
from engine.core.tiers cimport schedule_fits
from engine.core.timers cimport TIMER_MULTIPLIER
from engine.core.types cimport (
    ACCEPTED, CMD_ACCOUNT_MULTIPLIER, CMD_AUTO_TOP_UP, CMD_BACKSTOP, CMD_MARGIN_CALL_LEVELS,
    CMD_MARGIN_MULTIPLIER, CMD_POSITION_MODE, CMD_TRANSFER, EVENT_ACCOUNT_MULTIPLIER_CHANGED,
    EVENT_AUTO_TOP_UP_SET, EVENT_BACKSTOP_SET, EVENT_MULTIPLIER_ANNOUNCED,
    EVENT_POSITION_MODE_CHANGED, EVENT_TRANSFER, MONEY_MAX, NIL, NONE, POSITIONS_HEDGE, RATE_SCALE,
    REJECT_ACCOUNT_LIQUIDATING, REJECT_BAD_TIERS, REJECT_EXPIRED, REJECT_INSUFFICIENT_BALANCE,
    REJECT_MALFORMED, REJECT_NOT_RELATED, REJECT_OVERFLOW, REJECT_POSITION_OPEN,
    REJECT_UNKNOWN_ACCOUNT, REJECT_UNKNOWN_ASSET, REJECT_UNKNOWN_SYMBOL, TOO_LARGE,
)

# Largest multiplier of a requirement.
cdef int64_t MULTIPLIER_MAX = 100 * RATE_SCALE


cdef class Settings(Commands):
    """How accounts are margined and warned."""

    # --- margin calls -----------------------------------------------------------------

    def set_margin_call_levels(
        self, int64_t account, list levels, int64_t hysteresis=NONE, int64_t ts=NONE
    ):
        """Set at which margin ratios an account is called; its pools are looked at at once."""
        self.end(
            CMD_MARGIN_CALL_LEVELS,
            self.do_set_call_levels(account, levels, hysteresis)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, NONE, NONE)

    cdef int do_set_call_levels(
        self, int64_t account, list levels, int64_t hysteresis
    ) except -2:
        cdef tuple calls = self.chosen_calls(levels, hysteresis)
        cdef int32_t owner, call_set
        if calls is None:
            return REJECT_MALFORMED
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        call_set = self.call_set_row(calls)
        self.emit_call_set(account, call_set)
        self.replace_call_levels(owner, call_set)
        return ACCEPTED

    # --- multipliers ------------------------------------------------------------------

    def set_margin_multiplier(
        self, int64_t symbol, int64_t maintenance, int64_t initial, int64_t effective_ts=NONE,
        int64_t ts=NONE,
    ):
        """Scale a symbol's requirements, now or at a time to come. O(holders)."""
        self.end(
            CMD_MARGIN_MULTIPLIER,
            self.do_set_multiplier(symbol, maintenance, initial, effective_ts)
            if self.begin(ts) else REJECT_MALFORMED,
            NONE, NONE, symbol, NONE)

    cdef int do_set_multiplier(
        self, int64_t symbol, int64_t maintenance, int64_t initial, int64_t effective_ts
    ) except -2 nogil:
        cdef instrument_t *instrument
        cdef int64_t *out
        if not (0 < maintenance <= MULTIPLIER_MAX and RATE_SCALE <= initial <= MULTIPLIER_MAX):
            return REJECT_MALFORMED
        if effective_ts != NONE and not 0 <= effective_ts <= MONEY_MAX:
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        instrument = &self.instruments[symbol]
        if not schedule_fits(&instrument.schedule, maintenance):
            return REJECT_BAD_TIERS
        if instrument.is_over:
            return REJECT_EXPIRED
        if effective_ts <= self.ts:
            self.change_multipliers(<int32_t>symbol, maintenance, initial)
            return ACCEPTED
        if instrument.announced_ts != effective_ts:
            self.schedule(TIMER_MULTIPLIER, effective_ts, symbol, <int32_t>symbol)
        instrument.announced_ts = effective_ts
        instrument.announced_maintenance = maintenance
        instrument.announced_initial = initial
        out = self.emit(EVENT_MULTIPLIER_ANNOUNCED)
        out[0] = symbol
        out[1] = maintenance
        out[2] = initial
        out[3] = effective_ts
        return ACCEPTED

    def set_account_multiplier(self, int64_t account, int64_t multiplier, int64_t ts=NONE):
        """Multiply what an account must have, beside its symbols' multipliers. O(positions)."""
        self.end(
            CMD_ACCOUNT_MULTIPLIER,
            self.do_set_account_multiplier(account, multiplier)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, NONE, NONE)

    cdef int do_set_account_multiplier(
        self, int64_t account, int64_t multiplier
    ) except -2 with gil:
        cdef int32_t owner, row
        cdef int64_t *out
        if not RATE_SCALE <= multiplier <= MULTIPLIER_MAX:
            return REJECT_MALFORMED
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        if multiplier == RATE_SCALE:
            self.multipliers.pop(owner, None)
        else:
            self.multipliers[owner] = multiplier
        self.accounts[owner].has_multiplier = multiplier != RATE_SCALE
        row = self.accounts[owner].first_position
        while row >= 0:
            self.put_schedule(row, self.own_schedule_row(multiplier, self.positions[row].symbol))
            if self.positions[row].quantity:
                self.note_pending(self.pool_of(row))
            row = self.positions[row].next_in_account
        out = self.emit(EVENT_ACCOUNT_MULTIPLIER_CHANGED)
        out[0] = account
        out[1] = multiplier
        self.retry_all()
        return ACCEPTED

    # --- transfers and top-up ---------------------------------------------------------

    def transfer(
        self, int64_t account, int64_t to, int64_t asset, int64_t amount, int64_t ts=NONE
    ):
        """Move money between the wallets of a family: an account and its sub-accounts."""
        self.end(
            CMD_TRANSFER,
            self.do_transfer(account, to, asset, amount)
            if self.begin(ts) else REJECT_MALFORMED,
            account, asset, NONE, NONE)

    cdef int do_transfer(
        self, int64_t account, int64_t to, int64_t asset, int64_t amount
    ) except -2 with gil:
        cdef int32_t giver, taker, source, target
        cdef int64_t available
        cdef int64_t *out
        if (amount <= 0 and amount != TOO_LARGE) or account == to:
            return REJECT_MALFORMED
        if not 0 <= asset < self.asset_count:
            return REJECT_UNKNOWN_ASSET
        giver, taker = self.find_account(account), self.find_account(to)
        if giver < 0 or taker < 0:
            return REJECT_UNKNOWN_ACCOUNT
        if self.parents.get(giver, giver) != self.parents.get(taker, taker):
            return REJECT_NOT_RELATED
        source = self.wallet_of(giver, <int32_t>asset)
        target = self.wallet_of(taker, <int32_t>asset)
        if self.is_locked(source):
            return REJECT_ACCOUNT_LIQUIDATING
        available = self.withdrawable(source)
        if amount == TOO_LARGE or amount > available:
            return self.refuse(REJECT_INSUFFICIENT_BALANCE, amount, available)
        if add(wide(self.pools[target].balance), wide(amount)) > wide(MONEY_MAX):
            return REJECT_OVERFLOW
        self.pools[source].balance -= amount
        self.pools[target].balance += amount
        self.touch(source)
        self.touch(target)
        self.look_at_debtor(source)
        self.look_at_debtor(target)
        out = self.emit(EVENT_TRANSFER)
        out[0] = account
        out[1] = to
        out[2] = asset
        out[3] = amount
        return ACCEPTED

    def set_auto_top_up(self, int64_t account, int64_t symbol, bint enabled, int64_t ts=NONE):
        """Whether the wallet saves the account's isolated position of a symbol."""
        self.end(
            CMD_AUTO_TOP_UP,
            self.do_set_auto_top_up(account, symbol, enabled)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, NONE)

    cdef int do_set_auto_top_up(
        self, int64_t account, int64_t symbol, bint enabled
    ) except -2 nogil:
        cdef int32_t owner, position
        cdef int64_t *out
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        position = self.position_at(owner, <int32_t>symbol, self.first_leg(owner))
        if self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        set_top_up(&self.positions[position], enabled)
        if self.twin_of(position) >= 0:
            set_top_up(&self.positions[self.twin_of(position)], enabled)
        out = self.emit(EVENT_AUTO_TOP_UP_SET)
        out[0] = account
        out[1] = symbol
        out[2] = enabled
        return ACCEPTED

    def set_position_mode(self, int64_t account, int mode, int64_t ts=NONE):
        """Change between one position a symbol and two legs; with nothing open anywhere."""
        self.end(
            CMD_POSITION_MODE,
            self.do_set_position_mode(account, mode) if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, NONE, NONE)

    cdef int do_set_position_mode(self, int64_t account, int mode) except -2 nogil:
        cdef int32_t owner, position
        cdef int64_t *out
        cdef int old
        if not 0 <= mode <= POSITIONS_HEDGE:
            return REJECT_MALFORMED
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        position = self.accounts[owner].first_position
        while position >= 0:
            if not self.is_idle(position):
                return REJECT_POSITION_OPEN
            position = self.positions[position].next_in_account
        if mode != self.accounts[owner].position_mode:
            old = self.first_leg(owner)
            self.accounts[owner].position_mode = mode
            position = self.accounts[owner].first_position
            while position >= 0:
                if self.positions[position].leg == old:
                    self.hand_over(position)
                position = self.positions[position].next_in_account
        out = self.emit(EVENT_POSITION_MODE_CHANGED)
        out[0] = account
        out[1] = mode
        return ACCEPTED

    # --- backstops --------------------------------------------------------------------

    def set_backstop(
        self, int64_t account, int64_t asset, int64_t symbol, int64_t commitment,
        int64_t discount=NONE, int64_t ts=NONE,
    ):
        """Let an account promise to take over what a symbol's, or an asset's, books leave."""
        self.end(
            CMD_BACKSTOP,
            self.do_set_backstop(account, asset, symbol, commitment, discount)
            if self.begin(ts) else REJECT_MALFORMED,
            account, asset, symbol, NONE)

    cdef int do_set_backstop(
        self, int64_t account, int64_t asset, int64_t symbol, int64_t commitment,
        int64_t discount
    ) except -2 with gil:
        cdef int32_t owner
        cdef int64_t *out
        if (commitment < 0 and commitment != TOO_LARGE) or (asset == NONE) == (symbol == NONE):
            return REJECT_MALFORMED
        if discount != NONE and not 0 <= discount < RATE_SCALE:
            return REJECT_MALFORMED
        if asset != NONE and not 0 <= asset < self.asset_count:
            return REJECT_UNKNOWN_ASSET
        if symbol != NONE and not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        if symbol != NONE and self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        if commitment == TOO_LARGE or commitment > MONEY_MAX:
            return REJECT_OVERFLOW
        self.backstops.pop((owner, asset, symbol), None)
        if commitment:
            self.backstops[owner, asset, symbol] = (commitment, discount, 0)
        out = self.emit(EVENT_BACKSTOP_SET)
        out[0] = account
        out[1] = asset
        out[2] = symbol
        out[3] = commitment
        out[4] = discount
        self.retry_all()
        return ACCEPTED

    # Give what is set for a symbol to the legs of the account's new mode; the old rows, this
    # one and its twin, are left with nothing.
    cdef int hand_over(self, int32_t position) except -1 with gil:
        cdef int32_t owner = self.positions[position].account
        cdef int32_t symbol = self.positions[position].symbol
        cdef int leg = self.first_leg(owner)
        # Not `find_position`: the first row may still be one of the old mode.
        cdef int32_t made = self.find_leg(owner, symbol, leg)
        cdef int32_t row
        cdef position_t old
        cdef custom_t custom
        if made < 0:
            made = self.new_position(owner, symbol, leg)
        old = self.positions[position]
        custom = self.custom_of(&old)[0]
        for row in (made, self.twin_of(made)):
            if row >= 0:
                self.put_leverage(row, custom.leverage)
                self.positions[row].margin_mode = old.margin_mode
                self.put_protection(row, custom.protection)
                set_top_up(&self.positions[row], tops_up(&old))
        for row in (position, self.twin_of(position)):
            if row >= 0:
                self.put_leverage(row, 0)
                self.positions[row].margin_mode = self.accounts[owner].margin_mode
                self.put_protection(row, NIL)
                set_top_up(&self.positions[row], False)
        return 0
