"""One method a command."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport realloc
from libc.string cimport memset

from engine.core.external cimport leg_named
from engine.core.fixed cimport abs64, add, i128, max64, min64, sub, wide
from engine.core.forms cimport has_no_terms, request_t
from engine.core.ledger cimport asset_t, instrument_t, position_t, workoff_t
from engine.core.matching cimport as_amount
from engine.core.profiles cimport closing_fee, profile_load, profile_t
from engine.core.risk cimport CALL_LEVELS_MAX, call_set_t
from engine.core.tiers cimport schedule_fits, schedule_load, schedule_scale, schedule_t, tier_index
from engine.core.timers cimport TIMER_CONTRACT
from engine.core.types cimport (
    ACCEPTED, CANCEL_WITHDRAWN, CMD_ACCOUNT, CMD_AMEND, CMD_ASSET, CMD_CANCEL, CMD_CANCEL_ALL,
    CMD_CANCEL_ALL_AFTER, CMD_DEPOSIT, CMD_INSTRUMENT, CMD_INSURANCE, CMD_ISOLATED_MARGIN,
    CMD_LEVERAGE, CMD_MARGIN_MODE, CMD_ORDER, CMD_PROFILE, CMD_PROTECTION, CMD_TIERS,
    CMD_WITHDRAW, EVENT_ACCOUNT_OPENED, EVENT_ASSET_ADDED, EVENT_INSTRUMENT_ADDED,
    EVENT_LEVERAGE_CHANGED, EVENT_MARGIN_CALL_LEVELS_SET, EVENT_MARGIN_MODE_CHANGED,
    EVENT_PROFILE_CHANGED, EVENT_TIERS_CHANGED, INSURANCE_COMMAND, KIND_INVERSE, KIND_LINEAR,
    MODE_ISOLATED, MONEY_MAX, NIL, NONE, OFF_GRID, POSITIONS_HEDGE, POSITIONS_ONE_WAY,
    RATE_SCALE, REJECT_ACCOUNT_LIQUIDATING, REJECT_ALREADY_EXISTS, REJECT_BAD_PROFILE,
    REJECT_BAD_TIERS, REJECT_EXPIRED, REJECT_INSUFFICIENT_BALANCE, REJECT_INSUFFICIENT_MARGIN,
    REJECT_LEVERAGE, REJECT_MALFORMED, REJECT_NO_POSITION, REJECT_OVERFLOW, REJECT_POSITION_OPEN,
    REJECT_UNKNOWN_ACCOUNT, REJECT_UNKNOWN_ASSET, REJECT_UNKNOWN_FUND, REJECT_UNKNOWN_SYMBOL,
    SIDE_BUY, TOO_LARGE,
)


cdef class Commands(External):
    """Every command as a method: ints in, event records out."""

    def reject(
        self, int command, int reason, int64_t account=NONE, int64_t symbol=NONE,
        int64_t order_id=NONE, int64_t ts=NONE,
    ):
        """Record a rejection that the edge has already decided."""
        self.end(
            command, reason if self.begin(ts) else REJECT_MALFORMED, account, NONE, symbol,
            order_id)

    # --- set-up -----------------------------------------------------------------------

    def add_asset(self, int64_t ts=NONE):
        """Declare the next asset."""
        cdef asset_t *assets
        cdef int64_t *out
        cdef int reason = REJECT_MALFORMED
        if self.begin(ts):
            assets = <asset_t *>realloc(
                self.assets, (self.asset_count + 1) * sizeof(asset_t))
            if assets == NULL:
                raise MemoryError("assets")
            self.assets = assets
            memset(&assets[self.asset_count], 0, sizeof(asset_t))
            assets[self.asset_count].pooled = self.new_fund(self.asset_count, NONE)
            assets[self.asset_count].collateral = NIL
            out = self.emit(EVENT_ASSET_ADDED)
            out[0] = self.asset_count
            self.asset_count += 1
            reason = ACCEPTED
        self.end(CMD_ASSET, reason, NONE, NONE, NONE, NONE)

    def add_instrument(
        self, int32_t settle, int64_t marks_per_tick, int64_t unit_value, int64_t maker_fee,
        int64_t taker_fee, int64_t liquidation_fee, int64_t price_band,
        int64_t max_order_quantity, int64_t max_open_orders, int tier_rule, list tiers,
        int64_t ts=NONE, int64_t min_order_quantity=NONE, int64_t min_order_notional=NONE,
        int64_t max_order_notional=NONE, int kind=KIND_LINEAR,
        int64_t expiry_ts=NONE, tuple profile=(), int64_t fund=NONE,
        int64_t mark_max_age=NONE, int64_t mark_band=NONE,
        list call_levels=None, int64_t call_hysteresis=NONE,
    ):
        """Declare the next instrument; terms are checked by `engine.instruments`."""
        cdef schedule_t schedule
        cdef profile_t policy
        cdef instrument_t *row
        cdef int64_t *out
        cdef int reason = REJECT_MALFORMED
        cdef tuple calls = self.chosen_calls(call_levels, call_hysteresis)
        profile_load(&policy, profile)
        schedule_load(&schedule, tier_rule, tiers, closing_fee(&policy, taker_fee))
        if not (0 <= settle < self.asset_count and marks_per_tick > 0 and unit_value > 0
                and KIND_LINEAR <= kind <= KIND_INVERSE):
            raise ValueError("settle, marks_per_tick, unit_value or kind out of range")
        if calls is None:
            raise ValueError("margin-call levels out of range")
        if self.begin(ts):
            row = <instrument_t *>realloc(
                self.instruments, (self.instrument_count + 1) * sizeof(instrument_t))
            if row == NULL:
                raise MemoryError("instruments")
            self.instruments = row
            row = &self.instruments[self.instrument_count]
            memset(row, 0, sizeof(instrument_t))
            row.settle = settle
            row.insurer = self.find_fund(settle, fund)
            if row.insurer < 0:  # its first mention
                row.insurer = self.new_fund(settle, fund)
            row.marks_per_tick = marks_per_tick
            row.contract.unit_value, row.contract.kind = unit_value, kind
            row.maker_fee, row.taker_fee = maker_fee, taker_fee
            row.liquidation_fee = liquidation_fee
            row.price_band = price_band
            row.expiry_ts = expiry_ts
            row.mark_max_age, row.mark_band, row.mark_ts = mark_max_age, mark_band, NONE
            self.has_mark_rules = self.has_mark_rules or (
                mark_max_age != NONE or mark_band != NONE)
            row.max_order_quantity, row.max_open_orders = max_order_quantity, max_open_orders
            row.min_order_quantity = min_order_quantity
            row.min_order_notional = min_order_notional
            row.max_order_notional = max_order_notional
            row.schedule = schedule
            row.profile = policy
            self.put_profile_calls(row, calls)
            row.mark = row.index_price = row.feed_seq = row.announced_ts = NONE
            row.offer = NIL
            self.new_book()
            self.books[self.instrument_count].checks_makers = policy.maker_check
            self.add_triggers()
            self.add_conditions()
            out = self.emit(EVENT_INSTRUMENT_ADDED)
            out[0] = self.instrument_count
            out[1] = settle
            self.instrument_count += 1
            if expiry_ts != NONE:
                self.schedule(
                    TIMER_CONTRACT, expiry_ts, self.instrument_count - 1,
                    self.instrument_count - 1)
            self.prune_history(row.insurer)
            reason = ACCEPTED
        self.end(CMD_INSTRUMENT, reason, NONE, NONE, NONE, NONE)

    def set_tiers(self, int64_t symbol, list tiers, int64_t ts=NONE):
        """Replace a symbol's schedule; every holder is evaluated anew. O(holders)."""
        cdef schedule_t schedule
        schedule_load(&schedule, 0, tiers, 0)
        self.end(
            CMD_TIERS,
            self.do_set_tiers(symbol, tiers) if self.begin(ts) else REJECT_MALFORMED,
            NONE, NONE, symbol, NONE)

    cdef int do_set_tiers(self, int64_t symbol, list tiers) except -2:
        cdef schedule_t schedule
        cdef instrument_t *instrument
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        instrument = &self.instruments[symbol]
        schedule_load(
            &schedule, instrument.schedule.rule, tiers, instrument.schedule.closing_fee)
        if not self.is_bearable(instrument, &schedule):
            return REJECT_BAD_TIERS
        if instrument.is_over:
            return REJECT_EXPIRED
        schedule_scale(
            &schedule, instrument.schedule.maintenance_multiplier,
            instrument.schedule.initial_multiplier)
        instrument.schedule = schedule
        self.multiply_schedules(<int32_t>symbol)
        self.emit(EVENT_TIERS_CHANGED)[0] = symbol
        self.reevaluate_holders(<int32_t>symbol)
        return ACCEPTED

    # Whether no rate of a schedule exceeds 1 under the multipliers of an instrument, nor will
    # under those that were announced.
    cdef bint is_bearable(
        self, const instrument_t *instrument, const schedule_t *schedule
    ) noexcept nogil:
        return schedule_fits(schedule, instrument.schedule.maintenance_multiplier) and (
            instrument.announced_ts == NONE
            or schedule_fits(schedule, instrument.announced_maintenance))

    def set_profile(
        self, int64_t symbol, tuple profile, int64_t ts=NONE, list call_levels=None,
        int64_t call_hysteresis=NONE,
    ):
        """Replace the way in which a symbol's pools are liquidated. O(holders)."""
        self.end(
            CMD_PROFILE,
            self.do_set_profile(symbol, profile, call_levels, call_hysteresis)
            if self.begin(ts) else REJECT_MALFORMED,
            NONE, NONE, symbol, NONE)

    cdef int do_set_profile(
        self, int64_t symbol, tuple profile, list call_levels, int64_t call_hysteresis
    ) except -2:
        cdef tuple calls = self.chosen_calls(call_levels, call_hysteresis)
        cdef instrument_t *instrument
        cdef schedule_t schedule
        cdef profile_t policy
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        instrument = &self.instruments[symbol]
        profile_load(&policy, profile)
        schedule = instrument.schedule
        schedule.closing_fee = closing_fee(&policy, instrument.taker_fee)
        if not self.is_bearable(instrument, &schedule) or calls is None:
            return REJECT_BAD_PROFILE
        if instrument.is_over:
            return REJECT_EXPIRED
        schedule_scale(&schedule, schedule.maintenance_multiplier, schedule.initial_multiplier)
        instrument.profile, instrument.schedule = policy, schedule
        self.put_profile_calls(instrument, calls)
        memset(&instrument.workoff, 0, sizeof(workoff_t))
        self.multiply_schedules(<int32_t>symbol)
        self.books[symbol].checks_makers = policy.maker_check
        self.prune_history(instrument.insurer)
        self.emit(EVENT_PROFILE_CHANGED)[0] = symbol
        self.withdraw_offer(<int32_t>symbol, CANCEL_WITHDRAWN)
        self.reevaluate_holders(<int32_t>symbol)
        return ACCEPTED

    cdef int put_profile_calls(self, instrument_t *instrument, tuple calls) except -1:
        instrument.call_set = self.call_set_row(calls)
        self.has_profile_calls = self.has_profile_calls or instrument.call_set != 0
        return 0

    def open_account(
        self, int64_t account, int margin_mode, int64_t ts=NONE, int64_t stp_group=NONE,
        list levels=None, int64_t hysteresis=NONE, int64_t parent=NONE,
        int position_mode=POSITIONS_ONE_WAY,
    ):
        """Open an account; `margin_mode` is the default of its symbols."""
        self.end(
            CMD_ACCOUNT,
            self.do_open_account(
                account, margin_mode, stp_group, levels, hysteresis, parent, position_mode)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, NONE, NONE)

    cdef int do_open_account(
        self, int64_t account, int margin_mode, int64_t stp_group, list levels,
        int64_t hysteresis, int64_t parent, int64_t position_mode
    ) except -2:
        cdef int32_t call_set, row
        cdef int32_t head = NIL
        cdef tuple calls
        cdef int64_t *out
        if account <= 0 or not (
                0 <= margin_mode <= MODE_ISOLATED and 0 <= position_mode <= POSITIONS_HEDGE):
            return REJECT_MALFORMED
        if stp_group <= 0 and stp_group != NONE:
            return REJECT_MALFORMED
        calls = self.chosen_calls(levels, hysteresis)
        if calls is None or (parent != NONE and (parent <= 0 or parent == account)):
            return REJECT_MALFORMED
        if self.find_account(account) >= 0:
            return REJECT_ALREADY_EXISTS
        if parent != NONE:
            head = self.find_account(parent)
            if head < 0:
                return REJECT_UNKNOWN_ACCOUNT
            if head in self.parents:
                return REJECT_MALFORMED
        call_set = self.call_set_row(calls)
        row = self.new_account(account, margin_mode, stp_group, <int>position_mode)
        self.accounts[row].call_set = call_set
        if head >= 0:
            self.parents[row] = head
            self.sub_accounts.setdefault(head, []).append(account)
        out = self.emit(EVENT_ACCOUNT_OPENED)
        out[0] = account
        out[1] = margin_mode
        out[2] = stp_group
        out[3] = parent
        out[4] = position_mode
        if levels is not None or hysteresis != NONE:
            self.accounts[row].owns_calls = 1
            self.emit_call_set(account, call_set)
        return ACCEPTED

    # The margin-call levels that were asked for (None, NONE: the default), as (hysteresis,
    # levels ...), or nothing where they make no sense.
    cdef tuple chosen_calls(self, list levels, int64_t hysteresis):
        cdef tuple default = next(iter(self.call_set_rows))
        cdef tuple chosen = default[1:] if levels is None else tuple(levels)
        cdef int64_t width = default[0] if hysteresis == NONE else hysteresis
        cdef int64_t before = 0, level
        if len(chosen) > CALL_LEVELS_MAX or width < 0:
            return None
        for level in chosen:
            if level <= before or level >= RATE_SCALE or width >= level:
                return None
            before = level
        return (width if chosen else 0, *chosen)

    cdef int emit_call_set(self, int64_t account, int32_t call_set) except -1 nogil:
        cdef const call_set_t *row = &self.call_sets[call_set]
        cdef int64_t *out = self.emit(EVENT_MARGIN_CALL_LEVELS_SET)
        cdef int i
        out[0] = account
        for i in range(CALL_LEVELS_MAX):
            out[1 + i] = row.levels[i] if i < row.count else NONE
        out[1 + CALL_LEVELS_MAX] = row.hysteresis
        return 0

    # --- money ------------------------------------------------------------------------

    def deposit(self, int64_t account, int64_t asset, int64_t amount, int64_t ts=NONE):
        """Credit a wallet from outside."""
        self.end(
            CMD_DEPOSIT,
            self.do_deposit(account, asset, amount) if self.begin(ts) else REJECT_MALFORMED,
            account, asset, NONE, NONE)

    cdef int do_deposit(self, int64_t account, int64_t asset, int64_t amount) except -2 nogil:
        cdef int32_t owner, wallet
        if amount <= 0 and amount != TOO_LARGE:
            return REJECT_MALFORMED
        if not 0 <= asset < self.asset_count:
            return REJECT_UNKNOWN_ASSET
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        wallet = self.wallet_of(owner, <int32_t>asset)
        if amount == TOO_LARGE:
            return REJECT_OVERFLOW
        if (add(wide(self.assets[asset].deposits), wide(amount)) > wide(MONEY_MAX)
                or add(wide(self.pools[wallet].balance), wide(amount)) > wide(MONEY_MAX)
                or not self.collateral_fits(<int32_t>asset, amount, NONE)):
            return REJECT_OVERFLOW
        self.assets[asset].deposits += amount
        self.pools[wallet].balance += amount
        self.touch(wallet)
        self.look_at_debtor(wallet)
        return ACCEPTED

    def withdraw(self, int64_t account, int64_t asset, int64_t amount, int64_t ts=NONE):
        """Debit a wallet, at most what is withdrawable."""
        self.end(
            CMD_WITHDRAW,
            self.do_withdraw(account, asset, amount) if self.begin(ts) else REJECT_MALFORMED,
            account, asset, NONE, NONE)

    cdef int do_withdraw(self, int64_t account, int64_t asset, int64_t amount) except -2 nogil:
        cdef int32_t owner, wallet
        cdef int64_t available
        if amount <= 0 and amount != TOO_LARGE:
            return REJECT_MALFORMED
        if not 0 <= asset < self.asset_count:
            return REJECT_UNKNOWN_ASSET
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        wallet = self.wallet_of(owner, <int32_t>asset)
        if self.is_locked(wallet):
            return REJECT_ACCOUNT_LIQUIDATING
        available = self.withdrawable(wallet)
        if amount == TOO_LARGE or amount > available:
            return self.refuse(REJECT_INSUFFICIENT_BALANCE, amount, available)
        if add(wide(self.assets[asset].withdrawals), wide(amount)) > wide(MONEY_MAX):
            return REJECT_OVERFLOW
        self.assets[asset].withdrawals += amount
        self.pools[wallet].balance -= amount
        self.touch(wallet)
        self.look_at_debtor(wallet)
        return ACCEPTED

    def fund_insurance(
        self, int64_t asset, int64_t amount, int64_t ts=NONE, int64_t fund=NONE
    ):
        """Fund an insurance fund (NONE: the pooled one), or drain what it does not need."""
        self.end(
            CMD_INSURANCE,
            self.do_fund_insurance(asset, amount, fund)
            if self.begin(ts) else REJECT_MALFORMED,
            NONE, asset, NONE, NONE)

    cdef int do_fund_insurance(self, int64_t asset, int64_t amount, int64_t fund) except -2 nogil:
        cdef asset_t *books
        cdef int64_t available
        cdef int32_t chosen
        if amount == 0 or amount == OFF_GRID:
            return REJECT_MALFORMED
        if not 0 <= asset < self.asset_count:
            return REJECT_UNKNOWN_ASSET
        books = &self.assets[asset]
        chosen = self.find_fund(<int32_t>asset, fund)
        if chosen < 0:
            return REJECT_UNKNOWN_FUND
        if amount < 0 and amount != TOO_LARGE:
            available = max64(0, min64(
                self.funds[chosen].balance, self.fund_free(chosen, NIL, 0, 0)))
            if -amount > available:
                return self.refuse(REJECT_INSUFFICIENT_BALANCE, -amount, available)
        if amount == TOO_LARGE:
            return REJECT_OVERFLOW
        if (add(wide(books.deposits), wide(max64(0, amount))) > wide(MONEY_MAX)
                or add(wide(books.withdrawals), wide(max64(0, -amount))) > wide(MONEY_MAX)):
            return REJECT_OVERFLOW
        if amount > 0:
            books.deposits += amount
        else:
            books.withdrawals -= amount
        self.change_insurance(chosen, amount, INSURANCE_COMMAND, NONE)
        self.retry_all()
        return ACCEPTED

    # --- margin settings --------------------------------------------------------------

    def set_leverage(self, int64_t account, int64_t symbol, int64_t leverage, int64_t ts=NONE):
        """Set an account's leverage on a symbol (1e-8 units)."""
        self.end(
            CMD_LEVERAGE,
            self.do_set_leverage(account, symbol, leverage)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, NONE)

    cdef int do_set_leverage(
        self, int64_t account, int64_t symbol, int64_t leverage
    ) except -2 nogil:
        cdef int32_t owner, position, twin, row
        cdef const schedule_t *schedule
        cdef int64_t exposure, allowed, kept, equity, maintenance
        cdef i128 before, after
        cdef int64_t needed[2]
        cdef int32_t legs[2]
        cdef int64_t *out
        cdef int i
        if leverage <= 0 and leverage != TOO_LARGE:
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        position = self.position_at(owner, <int32_t>symbol, self.first_leg(owner))
        twin = self.twin_of(position)
        legs[:] = [position, twin]
        if self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        if self.pools[self.pool_of(position)].in_queue or (
                twin >= 0 and self.pools[self.pool_of(twin)].in_queue):
            return REJECT_ACCOUNT_LIQUIDATING
        schedule = self.schedule_of(&self.positions[position])
        exposure = self.exposure(position, SIDE_BUY, NULL, NIL)
        if twin >= 0:
            exposure = max64(exposure, self.exposure(twin, SIDE_BUY, NULL, NIL))
        allowed = schedule.tiers[tier_index(
            schedule, exposure)].max_leverage
        if leverage == TOO_LARGE or not RATE_SCALE <= leverage <= allowed:
            return self.refuse(REJECT_LEVERAGE, leverage, allowed)
        # Measured with the new leverage in place, which is taken back before deciding.
        kept = self.custom_of(&self.positions[position]).leverage
        before = self.free_for(position, NIL, 0)
        self.put_leverages(position, leverage)
        after = self.free_for(position, NIL, 0)
        for i in range(2):
            needed[i] = self.initial(legs[i]) if legs[i] >= 0 else 0
        self.put_leverages(position, kept)
        if after < wide(0) and after < before:
            return self.refuse(
                REJECT_INSUFFICIENT_MARGIN, as_amount(sub(before, after)), as_amount(before))
        for i in range(2):
            row = legs[i]
            if row >= 0 and self.positions[row].quantity and (
                    self.positions[row].margin_mode == MODE_ISOLATED):
                self.measure(self.pool_of(row), &equity, &maintenance)
                if equity < needed[i]:
                    return self.refuse(
                        REJECT_INSUFFICIENT_MARGIN, needed[i], max64(0, equity))
        self.put_leverages(position, leverage)
        out = self.emit(EVENT_LEVERAGE_CHANGED)
        out[0] = account
        out[1] = symbol
        out[2] = leverage
        return ACCEPTED

    # Set the leverage of a position and of its twin.
    cdef int put_leverages(self, int32_t position, int64_t leverage) except -1 nogil:
        self.put_leverage(position, leverage)
        if self.twin_of(position) >= 0:
            self.put_leverage(self.twin_of(position), leverage)
        return 0

    def set_margin_mode(self, int64_t account, int64_t symbol, int mode, int64_t ts=NONE):
        """Set an account's margin mode on a symbol; not with a position or orders open."""
        self.end(
            CMD_MARGIN_MODE,
            self.do_set_margin_mode(account, symbol, mode)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, NONE)

    cdef int do_set_margin_mode(self, int64_t account, int64_t symbol, int mode) except -2 nogil:
        cdef int32_t owner, position, twin
        cdef int64_t *out
        if not 0 <= mode <= MODE_ISOLATED:
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        owner = self.find_account(account)
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        position = self.position_at(owner, <int32_t>symbol, self.first_leg(owner))
        twin = self.twin_of(position)
        if not self.is_idle(position) or not (twin < 0 or self.is_idle(twin)):
            return REJECT_POSITION_OPEN
        if self.instruments[symbol].is_over:
            return REJECT_EXPIRED
        self.positions[position].margin_mode = mode
        if twin >= 0:
            self.positions[twin].margin_mode = mode
        out = self.emit(EVENT_MARGIN_MODE_CHANGED)
        out[0] = account
        out[1] = symbol
        out[2] = mode
        return ACCEPTED

    # Whether nothing is open on a position, no order and no unpaid deficit either.
    cdef bint is_idle(self, int32_t position) noexcept nogil:
        cdef const position_t *row = &self.positions[position]
        return not (row.quantity or self.orders_of(position).count or (
            row.isolated >= 0 and self.pools[row.isolated].balance))

    def adjust_isolated_margin(
        self, int64_t account, int64_t symbol, int64_t amount, int64_t ts=NONE,
        int64_t position_side=NONE,
    ):
        """Move money between the wallet and an isolated position (negative: out of it)."""
        self.end(
            CMD_ISOLATED_MARGIN,
            self.do_isolated_margin(account, symbol, amount, leg_named(position_side))
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, NONE)

    cdef int do_isolated_margin(
        self, int64_t account, int64_t symbol, int64_t amount, int64_t leg
    ) except -2 nogil:
        cdef int32_t owner, position, isolated, wallet
        cdef int64_t available, equity, maintenance, needed
        cdef bint is_adding = amount > 0 or amount == TOO_LARGE
        owner = self.find_account(account)
        if amount == 0 or amount == OFF_GRID or not self.has_leg(owner, leg):
            return REJECT_MALFORMED
        if not 0 <= symbol < self.instrument_count:
            return REJECT_UNKNOWN_SYMBOL
        if owner < 0:
            return REJECT_UNKNOWN_ACCOUNT
        position = self.position_at(owner, <int32_t>symbol, <int>leg)
        wallet = self.positions[position].wallet
        isolated = self.pool_of(position)
        if self.positions[position].margin_mode != MODE_ISOLATED or (
                self.positions[position].quantity == 0 and self.pools[isolated].balance >= 0):
            return REJECT_NO_POSITION
        if self.pools[wallet if is_adding else isolated].in_queue:
            return REJECT_ACCOUNT_LIQUIDATING
        available = self.withdrawable(wallet) if is_adding else self.pools[isolated].balance
        if amount == TOO_LARGE or abs64(amount) > available:
            return self.refuse(
                REJECT_INSUFFICIENT_BALANCE, amount if amount == TOO_LARGE else abs64(amount),
                max64(0, available))
        if not is_adding:
            self.measure(isolated, &equity, &maintenance)
            needed = self.initial(position)
            if equity + amount < needed:
                return self.refuse(
                    REJECT_INSUFFICIENT_MARGIN, -amount, max64(0, equity - needed))
        self.move_to_isolated(position, amount)
        return ACCEPTED

    # --- orders -----------------------------------------------------------------------

    def place_order(
        self, int64_t account, int64_t symbol, int64_t order_id, int64_t side,
        int64_t order_type, int64_t quantity, int64_t price, int64_t time_in_force,
        bint post_only, bint reduce_only, int64_t stp, int64_t ts=NONE,
        int64_t trigger_price=NONE, int64_t trigger_by=NONE, int64_t callback_rate=NONE,
        int64_t display_quantity=NONE, int64_t expire_ts=NONE, bint close_position=False,
        int64_t oco=NONE, tuple take_profit=None, tuple stop_loss=None,
        int64_t position_side=NONE,
    ):
        """Enter an order, or let it wait for its price; O(orders it trades with) plus O(1)."""
        cdef request_t form
        form.account, form.symbol, form.order_id = account, symbol, order_id
        form.side, form.kind, form.time_in_force, form.stp = side, order_type, time_in_force, stp
        form.quantity, form.price = quantity, price
        form.leg = leg_named(position_side)
        form.post_only, form.reduce_only = post_only, reduce_only
        form.close_position = close_position
        form.trigger_price, form.trigger_by = trigger_price, trigger_by
        form.callback_rate, form.display = callback_rate, display_quantity
        form.expire_ts, form.oco = expire_ts, oco
        form.child_id[0] = form.child_id[1] = NONE
        if take_profit is not None:
            attach(&form, 0, take_profit)
        if stop_loss is not None:
            attach(&form, 1, stop_loss)
        form.is_plain = has_no_terms(&form)
        self.end(
            CMD_ORDER, self.do_place(&form) if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, order_id)

    def amend_order(
        self, int64_t account, int64_t symbol, int64_t order_id, int64_t price=NONE,
        int64_t quantity=NONE, int64_t leaves=NONE, int64_t ts=NONE,
        int64_t trigger_price=NONE,
    ):
        """Change price, total or open quantity, or the trigger of an order that waits."""
        self.end(
            CMD_AMEND,
            self.do_amend(account, symbol, order_id, price, quantity, leaves, trigger_price)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, order_id)

    def cancel(self, int64_t account, int64_t symbol, int64_t order_id, int64_t ts=NONE):
        """Cancel a live order."""
        self.end(
            CMD_CANCEL,
            self.do_cancel(account, symbol, order_id) if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, order_id)

    def cancel_all(
        self, int64_t account=NONE, int64_t symbol=NONE, int64_t ts=NONE, int64_t side=NONE
    ):
        """Cancel by account, symbol and side (NONE: all)."""
        self.end(
            CMD_CANCEL_ALL,
            self.do_cancel_all(account, symbol, side) if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, NONE)

    def cancel_all_after(self, int64_t account, int64_t timeout, int64_t ts=NONE):
        """Cancel all orders of an account after `timeout` ns, unless called again; 0: never."""
        self.end(
            CMD_CANCEL_ALL_AFTER,
            self.do_cancel_all_after(account, timeout) if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, NONE, NONE)

    def set_protection(
        self, int64_t account, int64_t symbol, int64_t window, int64_t quantity, int64_t count,
        int64_t freeze, int64_t ts=NONE,
    ):
        """Set, reset or (quantity and count NONE) drop market-maker protection."""
        self.end(
            CMD_PROTECTION,
            self.do_set_protection(account, symbol, window, quantity, count, freeze)
            if self.begin(ts) else REJECT_MALFORMED,
            account, NONE, symbol, NONE)


# A child's (order id, trigger price, TriggerBy or NONE, price or NONE).
cdef int attach(request_t *form, int which, tuple row) except -1:
    form.child_id[which], form.child_trigger[which] = row[0], row[1]
    form.child_by[which], form.child_price[which] = row[2], row[3]
    return 0
