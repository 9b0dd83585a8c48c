"""Queries: everything computed from the current marks when asked for."""

cimport cython

from engine.messages import RejectReason

from engine.core.auctions cimport equilibrium_t
from engine.core.book cimport ORDER_LIVE, ORDER_UNARMED, order_t, ticket_t
from engine.core.contracts cimport contract_t, inverse_limit, notional_at, worth_at
from engine.core.fixed cimport (
    abs64, add, ceil_div, floor_div, high_half, i128, low_half, max64, min64, mul, mul_wide,
    narrow, neg, python_int, sub, wide,
)
from engine.core.ledger cimport asset_t, instrument_t, pool_t, position_t, tops_up
from engine.core.linked cimport special_t
from engine.core.liquidation cimport measured_t
from engine.core.matching cimport as_amount
from engine.core.pairs cimport pair_first_mark, pair_t
from engine.core.profiles cimport profile_row
from engine.core.risk cimport bound_t, call_set_t
from engine.core.tiers cimport inverse_tier_marks, schedule_t, tier_index, tier_t
from engine.core.types cimport (
    ACCOUNT_ACTIVE, ACCOUNT_BANKRUPT, ACCOUNT_LIQUIDATING, ACCOUNT_MARGIN_CALL, KIND_INVERSE,
    LEG_BOTH, LIQUIDATE_RATIO_GE_1, MODE_CROSS, MONEY_MAX, NIL, NONE, RATE_SCALE, SIDE_BUY,
    SIDE_SELL, STATUS_OPEN, STATUS_PARTIALLY_FILLED, STATUS_PENDING, WAITS_CHANGE,
    WAITS_COOLDOWN, WAITS_NOTHING, WAITS_PAUSE, WAITS_TURN,
)
from libc.stdint cimport uint64_t


# A pool but for one inverse position, and that position: for asking what another mark makes
# of them.
cdef struct probe_t:
    i128 equity, maintenance     # of the rest
    int64_t quantity
    const contract_t *contract
    const schedule_t *schedule
    i128 total                   # worth times mark


cdef class Views(Auctions):
    """Reads of one exchange. They raise `LookupError` for what is unknown."""

    def has_order(self, int64_t account, int64_t order_id):
        """Whether an account has a live order of this id."""
        cdef int32_t owner = self.find_account(account)
        cdef int32_t row = NIL
        if owner >= 0:
            row = self.find_id(owner, order_id)
        return row >= 0 and self.tickets[row].state != ORDER_UNARMED

    def account_ids(self):
        """Ids of all accounts, ascending."""
        return sorted([self.accounts[i].id for i in range(self.account_count)])

    # --- accounts ---------------------------------------------------------------------

    def account_view(self, int64_t account):
        """Status, wallets and cross pools of an account."""
        cdef int32_t owner = self.find_account(account)
        cdef int32_t wallet, row
        cdef int status = ACCOUNT_ACTIVE
        cdef int64_t reserve
        cdef i128 equity, maintenance, initial, profit
        cdef bint has_orders
        cdef list pools = []
        if owner < 0:
            raise LookupError(RejectReason.UNKNOWN_ACCOUNT)
        row = self.accounts[owner].first_position
        while row >= 0:
            if self.positions[row].isolated >= 0:
                status = max(status, self.pool_status(self.positions[row].isolated))
            row = self.positions[row].next_in_account
        wallet = self.accounts[owner].first_wallet
        while wallet >= 0:
            status = max(status, self.pool_status(wallet))
            reserve = as_amount(self.orders_reserve(wallet, False, NIL, 0))
            has_orders = False
            row = self.accounts[owner].first_position
            while row >= 0:
                if self.positions[row].wallet == wallet and self.orders_of(row).count:
                    has_orders = True
                row = self.positions[row].next_in_account
            if (self.pools[wallet].balance or self.pools[wallet].first_open >= 0 or has_orders
                    or self.has_pledged(wallet)):
                self.measure_wide(wallet, &equity, &maintenance)
                initial = profit = wide(0)
                row = self.pools[wallet].first_open
                while row >= 0:
                    initial = add(initial, wide(self.initial(row)))
                    profit = add(profit, wide(self.unrealized(row)))
                    row = self.positions[row].next_open
                pools.append({
                    "asset": self.pools[wallet].asset,
                    "wallet": self.pools[wallet].balance,
                    "collateral": self.collateral_of(wallet),
                    "equity": python_int(equity),
                    "unrealized_pnl": python_int(profit),
                    "initial_margin": as_amount(initial),
                    "order_margin": reserve,
                    "maintenance_margin": python_int(maintenance),
                    "available_margin": self.free_margin(wallet),
                    "is_open": int(self.pools[wallet].first_open >= 0),
                })
            wallet = self.pools[wallet].next_in_account
        row = self.parents.get(owner, NIL)
        return {
            "status": status, "pools": pools,
            "parent": self.accounts[row].id if row >= 0 else NONE,
            "sub_accounts": sorted(self.sub_accounts.get(owner, ())),
            "multiplier": self.multipliers.get(owner, RATE_SCALE),
        }

    cdef int pool_status(self, int32_t pool) except -1 nogil:
        cdef pool_t *row = &self.pools[pool]
        if row.in_queue:
            return ACCOUNT_LIQUIDATING
        if row.balance < 0 and row.first_open < 0:
            return ACCOUNT_BANKRUPT
        return ACCOUNT_MARGIN_CALL if row.call_level else ACCOUNT_ACTIVE

    def position_views(self, int64_t account, int64_t symbol=NONE):
        """Open positions of an account, by symbol, long before short."""
        cdef int32_t owner = self.find_account(account)
        cdef int32_t row
        if owner < 0:
            raise LookupError(RejectReason.UNKNOWN_ACCOUNT)
        if symbol != NONE and not 0 <= symbol < self.instrument_count:
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)
        views = []
        row = self.accounts[owner].first_position
        while row >= 0:
            if self.positions[row].quantity and (
                    symbol == NONE or self.positions[row].symbol == symbol):
                views.append(self.position_view(row))
            row = self.positions[row].next_in_account
        return views

    cdef dict position_view(self, int32_t position):
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int64_t ranked, margin = 0
        cdef int64_t rank = self.adl_rank(position, &ranked)
        cdef i128 equity, maintenance
        self.measure_wide(self.pool_of(position), &equity, &maintenance)
        if row.isolated >= 0:
            margin = self.pools[row.isolated].balance
        return {
            "symbol": row.symbol,
            "position_side": row.leg,
            "quantity": row.quantity,
            "entry_value": row.entry_value,
            "mark_price": instrument.mark,
            "notional": self.notional(position),
            "unrealized_pnl": self.unrealized(position),
            "leverage": self.leverage_of(position),
            "margin_mode": row.margin_mode,
            "isolated_margin": margin,
            "initial_margin": self.initial(position),
            "maintenance_margin": self.maintenance(position),
            "tier": tier_index(
                self.schedule_of(&self.positions[position]), self.notional(position)) + 1,
            "pool_equity": python_int(equity),
            "pool_maintenance_margin": python_int(maintenance),
            "liquidation_price": self.due_price(position, equity, maintenance),
            "bankruptcy_price": self.spent_price(position, equity),
            "adl_rank": rank,
            "adl_ranked": ranked,
            "auto_top_up": <int>tops_up(row),
        }

    # First mark from the safe side at which the pool is due, all else equal, NONE where
    # there is none, given the measure of the pool. The trigger solver with the whole slack
    # given to this position.
    @cython.final
    cdef int64_t due_price(
        self, int32_t position, i128 equity, i128 maintenance
    ) except? -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef int64_t price
        cdef int step = -1 if row.quantity > 0 else 1
        cdef bound_t bound
        cdef i128 own
        cdef int32_t ruling = self.positions[
            self.ruling_position(self.pool_of(position))].symbol
        if self.instruments[ruling].profile.liquidate_at != LIQUIDATE_RATIO_GE_1:
            equity = add(equity, wide(1))  # due only below its requirement
        if row.leg != LEG_BOTH and row.margin_mode == MODE_CROSS and (
                self.positions[self.twin_of(position)].quantity):
            return self.pair_liquidation_price(position, equity, maintenance)
        if self.instruments[row.symbol].contract.kind == KIND_INVERSE:
            return self.inverse_due_price(position, equity, maintenance)
        own = sub(wide(self.unrealized(position)), wide(self.maintenance(position)))
        # Due while the position contributes at most own - (equity - maintenance).
        own = sub(own, sub(equity, maintenance))
        bound.weight = RATE_SCALE
        if equity > maintenance:
            bound.sense = 1
            bound.limit = mul_wide(add(own, wide(1)), RATE_SCALE)
            price = self.walk(row, &bound, step)
        else:
            # Walk toward safety; the last mark that is still due is the answer.
            price = self.walk_due(position, own, -step)
            if price != (MONEY_MAX if step < 0 else 0):
                price += step
        if price <= 0 or price >= MONEY_MAX:
            return NONE
        return price

    # The same for a leg of a cross pool that holds both: the mark moves both.
    cdef int64_t pair_liquidation_price(
        self, int32_t position, i128 equity, i128 maintenance
    ) except? -1 nogil:
        cdef int32_t legs[2]
        cdef int32_t twin = self.twin_of(position)
        cdef int32_t row
        cdef bint is_long = self.positions[position].quantity > 0
        cdef int step = -1 if is_long else 1
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef int64_t price
        cdef pair_t pair
        legs[0], legs[1] = (position, twin) if is_long else (twin, position)
        pair.contract = &instrument.contract
        pair.schedule = self.schedule_of(&self.positions[legs[0]])
        pair.lots[0] = self.positions[legs[0]].quantity
        pair.lots[1] = -self.positions[legs[1]].quantity
        pair.rest = sub(equity, maintenance)
        for row in legs:
            pair.rest = add(pair.rest, wide(self.maintenance(row)))
            pair.rest = sub(pair.rest, wide(self.value(
                self.positions[row].symbol, self.positions[row].quantity, instrument.mark)))
        if equity > maintenance:
            return pair_first_mark(&pair, instrument.mark, step, True)
        # Walk toward safety; the last mark that is still due is the answer.
        price = pair_first_mark(&pair, instrument.mark, -step, False)
        return NONE if price == NONE or price + step < 1 else price + step

    # First mark in direction `step` at which the position contributes more than `most`.
    # Rounding of the requirement makes it exact only on the strict side, so it is solved
    # as the failure of "at most", tier by tier.
    cdef int64_t walk_due(self, int32_t position, i128 most, int step) except? -1 nogil:
        cdef bound_t bound
        bound.weight = RATE_SCALE
        bound.sense = -1
        # contribution <= most fails where value - requirement, not rounded up, reaches
        # most + 1: value x scale - requirement x scale < (most + 1) x scale.
        bound.limit = sub(mul_wide(add(most, wide(1)), RATE_SCALE), wide(1))
        return self.walk(&self.positions[position], &bound, step)

    # The same for an inverse position, by bisection of each tier with the exact measure. The
    # value of a short is rounded down and its notional up, which are one apart unless the
    # division comes out even: its pool can be due at the marks around such a one and not
    # there. So tiers are bisected as if they always were, and then settled to the unit.
    cdef int64_t inverse_due_price(
        self, int32_t position, i128 equity, i128 maintenance
    ) except? -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef int step = -1 if row.quantity > 0 else 1
        cdef int64_t price, origin = instrument.mark
        cdef probe_t probe
        probe.equity = sub(
            equity, wide(self.value(row.symbol, row.quantity, instrument.mark)))
        probe.maintenance = sub(maintenance, wide(self.maintenance(position)))
        probe.quantity = row.quantity
        probe.contract, probe.schedule = &instrument.contract, self.schedule_of(row)
        probe.total = mul(abs64(row.quantity), instrument.contract.unit_value)
        if probe_is_due(&probe, origin, False):
            # Walk toward safety, and from there come back.
            price = first_mark(&probe, origin, -step, False)
            if price == NONE or price + step < 1:
                return NONE
            origin = price + step
        price = first_mark(&probe, origin, step, True)
        while price != NONE and not probe_is_due(&probe, price, False):
            price = first_mark(&probe, price + step, step, True)
        return price

    # Mark at which the pool's equity is spent, the others at theirs: up for a long, down for
    # a short; NONE where there is none above zero. Given the pool's equity.
    @cython.final
    cdef int64_t spent_price(self, int32_t position, i128 equity) except? -1 nogil:
        cdef position_t *row = &self.positions[position]
        cdef instrument_t *instrument = &self.instruments[row.symbol]
        cdef i128 per_mark = mul(abs64(row.quantity), instrument.contract.unit_value)
        cdef i128 spent, price
        if instrument.contract.kind == KIND_INVERSE:
            # A long owes what the position is worth, a short has it.
            spent = wide(self.marked_worth(row.symbol, abs64(row.quantity)))
            spent = add(spent, equity) if row.quantity > 0 else sub(spent, equity)
            price = wide(inverse_limit(
                SIDE_SELL if row.quantity > 0 else SIDE_BUY, per_mark, spent, 1))
            return narrow(price) if wide(0) < price <= wide(MONEY_MAX) else NONE
        spent = sub(wide(self.value(row.symbol, row.quantity, instrument.mark)), equity)
        if row.quantity > 0:
            price = ceil_div(spent, per_mark)
        else:
            price = floor_div(neg(spent), per_mark)
        if price <= wide(0) or price > wide(MONEY_MAX):
            return NONE
        return narrow(price)

    # Place of a position in its side's deleveraging order, NONE where it is not ranked, and of
    # how many. O(holders of the symbol).
    cdef int64_t adl_rank(self, int32_t position, int64_t *ranked) except? -1 nogil:
        cdef instrument_t *instrument = &self.instruments[self.positions[position].symbol]
        cdef int32_t i, other
        cdef i128 equity, maintenance
        cdef int64_t score, own
        cdef int64_t rank = 1
        cdef int64_t account = self.accounts[self.positions[position].account].id
        ranked[0] = 1
        self.measure_wide(self.pool_of(position), &equity, &maintenance)
        if self.pools[self.pool_of(position)].in_queue or equity <= wide(0):
            return NONE
        own = self.score_of(position, equity)
        for i in range(instrument.holder_count):
            other = instrument.holders[i]
            if other == position or (
                    (self.positions[other].quantity > 0)
                    != (self.positions[position].quantity > 0)):
                continue
            if self.pools[self.pool_of(other)].in_queue:
                continue
            self.measure_wide(self.pool_of(other), &equity, &maintenance)
            if equity <= wide(0):
                continue
            ranked[0] += 1
            score = self.score_of(other, equity)
            if score > own or (
                    score == own
                    and self.accounts[self.positions[other].account].id < account):
                rank += 1
        return rank

    def order_views(self, int64_t account):
        """Live orders of an account, by symbol, leg, then in order of acceptance."""
        cdef int32_t owner = self.find_account(account)
        cdef int32_t row, order
        if owner < 0:
            raise LookupError(RejectReason.UNKNOWN_ACCOUNT)
        views = []
        row = self.accounts[owner].first_position
        while row >= 0:
            order = self.orders_of(row).first
            while order >= 0:
                views.append(self.order_view(order))
                order = self.tickets[order].own_next
            row = self.positions[row].next_in_account
        return views

    cdef dict order_view(self, int32_t row):
        cdef order_t *order = &self.orders[row]
        cdef ticket_t *ticket = &self.tickets[row]
        cdef int status = STATUS_OPEN
        if ticket.state != ORDER_LIVE:
            status = STATUS_PENDING
        elif ticket.quantity > order.leaves:
            status = STATUS_PARTIALLY_FILLED
        return {
            "order_id": order.order_id, "symbol": order.symbol, "side": order.side,
            "type": ticket.kind, "price": order.price, "quantity": ticket.quantity,
            "filled": ticket.quantity - order.leaves, "leaves": order.leaves,
            "status": status, "time_in_force": ticket.time_in_force,
            "post_only": ticket.is_post_only, "reduce_only": order.is_reduce_only,
            "stp": order.stp, "position_side": self.positions[ticket.position].leg,
            "displayed": order.leaves - order.hidden if order.is_resting else 0,
            **self.special_view(row),
        }

    # What an order has beyond the plain ones, NONE for what it has not.
    cdef dict special_view(self, int32_t row):
        cdef int32_t at = self.tickets[row].special
        cdef special_t *special
        cdef int32_t child
        cdef int which
        view = dict.fromkeys((
            "trigger_price", "trigger_by", "callback_rate", "display_quantity", "expire_ts",
            "oco", "parent_order_id", "take_profit", "stop_loss", "trailing_price"), NONE)
        view["close_position"] = 0
        if at < 0:
            return view
        special = &self.specials[at]
        view["trigger_price"] = special.trigger_price
        view["callback_rate"] = special.callback_rate
        view["display_quantity"] = special.display
        view["expire_ts"] = special.expire_ts
        view["parent_order_id"] = special.parent_id
        view["trailing_price"] = special.peak
        view["close_position"] = special.close_position
        if special.trigger_by >= 0:
            view["trigger_by"] = special.trigger_by
        if special.group >= 0:
            view["oco"] = self.groups[special.group].oco
        if special.bracket >= 0 and self.brackets[special.bracket].entry == row:
            for which in range(2):
                child = self.brackets[special.bracket].child[which]
                if child >= 0 and self.tickets[child].state == ORDER_UNARMED:
                    view["stop_loss" if which else "take_profit"] = self.orders[child].order_id
        return view

    # --- markets ----------------------------------------------------------------------

    def require_symbol(self, int64_t symbol, int side=0):
        """Raise for a symbol or a side that does not exist."""
        if not 0 <= symbol < self.instrument_count:
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)
        if not 0 <= side <= 1:
            raise ValueError(f"side must be 0 or 1, not {side}")

    def require_asset(self, int64_t asset):
        """Raise for an asset that does not exist."""
        if not 0 <= asset < self.asset_count:
            raise LookupError(RejectReason.UNKNOWN_ASSET)

    def book_levels(self, int64_t symbol, int side, int64_t depth):
        """Best `depth` levels of a side: (price, [(account, order_id, displayed, leaves), ...])."""
        cdef int32_t level, order
        self.require_symbol(symbol, side)
        level = self.books[symbol].sides[side].best
        levels = []
        while level >= 0 and depth > 0:
            orders = []
            order = self.books[symbol].levels[level].head
            while order >= 0:
                orders.append((
                    self.owner_id(order), self.orders[order].order_id,
                    self.orders[order].leaves - self.orders[order].hidden,
                    self.orders[order].leaves))
                order = self.orders[order].next
            levels.append((self.books[symbol].levels[level].price, orders))
            level = self.books[symbol].levels[level].worse
            depth -= 1
        return levels

    def last_trade_seq(self, int64_t symbol):
        """Number of the command in which a symbol last traded; NONE before the first trade."""
        self.require_symbol(symbol)
        return self.books[symbol].last_trade_seq

    def instrument_view(self, int64_t symbol):
        """Prices, halt, open interest and house positions of a symbol."""
        cdef instrument_t *instrument
        self.require_symbol(symbol)
        instrument = &self.instruments[symbol]
        return {
            "mark_price": instrument.mark, "index_price": instrument.index_price,
            "last_price": self.books[symbol].last_price, "feed_seq": instrument.feed_seq,
            "halt": instrument.halt, "open_interest": instrument.long_lots,
            "fund_quantity": instrument.fund.quantity,
            "fund_entry_value": instrument.fund.entry_value,
            "fund": self.funds[instrument.insurer].number,
            "external_quantity": instrument.external.quantity,
            "external_entry_value": instrument.external.entry_value,
            "maintenance_multiplier": instrument.schedule.maintenance_multiplier,
            "initial_multiplier": instrument.schedule.initial_multiplier,
            "closing_fee": instrument.schedule.closing_fee,
            "announced_ts": instrument.announced_ts,
            "announced_maintenance":
                instrument.announced_maintenance if instrument.announced_ts != NONE else NONE,
            "announced_initial":
                instrument.announced_initial if instrument.announced_ts != NONE else NONE,
            "is_over": instrument.is_over,
            "pause": instrument.pause,
        }

    def auction_view(self, int64_t symbol):
        """Mode of a symbol, and the price, lots and imbalance of an uncrossing now."""
        cdef equilibrium_t found
        self.require_symbol(symbol)
        found.price = found.lots = found.imbalance = NONE
        self.find_equilibrium(<int32_t>symbol, &found)
        return {
            "halt": self.instruments[symbol].halt, "price": found.price,
            "quantity": found.lots, "imbalance": found.imbalance,
            "reference_price": self.auction_reference(<int32_t>symbol),
        }

    def tier_views(self, int64_t symbol):
        """Rows of (min, max, rate, leverage, deduction times 1e8, base rate, base leverage)."""
        cdef int k
        cdef tier_t *tier
        cdef int64_t fee
        self.require_symbol(symbol)
        fee = self.instruments[symbol].schedule.closing_fee
        rows = []
        for k in range(self.instruments[symbol].schedule.count):
            tier = &self.instruments[symbol].schedule.tiers[k]
            rows.append((
                tier.min_notional, tier.max_notional, tier.rate - fee, tier.max_leverage,
                (int(high_half(tier.deduction)) << 64) + int(
                    <uint64_t>low_half(tier.deduction)),
                self.instruments[symbol].schedule.base_rate[k],
                self.instruments[symbol].schedule.base_leverage[k]))
        return rows

    def profile_view(self, int64_t symbol):
        """How a symbol's pools are liquidated: a row as `engine.messages.Profile`."""
        self.require_symbol(symbol)
        return profile_row(&self.instruments[symbol].profile)

    def profile_calls_view(self, int64_t symbol):
        """Margin-call levels of a symbol's profile, and their hysteresis."""
        cdef const call_set_t *calls
        self.require_symbol(symbol)
        calls = &self.call_sets[self.instruments[symbol].call_set]
        return tuple([calls.levels[i] for i in range(calls.count)]), calls.hysteresis

    # What a pool in the queue waits for.
    cdef int waits_for(self, int32_t pool) except -1 with gil:
        if pool in self.postponed:
            return WAITS_TURN
        if self.pools[pool].is_waiting:
            if self.is_cooling(pool):
                return WAITS_COOLDOWN
            if self.pools[pool].is_patient and pool in self.pausing:
                return WAITS_PAUSE
            return WAITS_CHANGE
        return WAITS_NOTHING

    def queue_view(self):
        """Pools in the queue, in the order in which they would be worked on.

        (account, asset, symbol, equity, maintenance margin, steps, what it waits for, end of
        its cooldown, leg).
        """
        cdef int32_t i, pool
        cdef measured_t row
        rows = []
        for i in range(self.queue_count):
            rows.append(self.queue[i].pool)
        rows.extend(self.waiting)
        rows.extend(self.postponed)
        measured = []
        for pool in rows:
            self.measure_row(pool, &row)
            measured.append((UrgencyKey.of(row), (
                row.account, row.asset, row.symbol if row.symbol >= 0 else NONE, row.equity,
                row.maintenance, self.pools[pool].steps, self.waits_for(pool),
                self.cooling[pool] if self.is_cooling(pool) else self.pausing.get(pool, NONE),
                self.leg_shown(&row))))
        return [entry for _, entry in sorted(measured)]

    def adl_view(self, int64_t symbol, int side):
        """(account, score, lots) of the holders of a side, first to be closed first."""
        cdef instrument_t *instrument
        cdef int32_t i, position
        cdef i128 equity, maintenance
        self.require_symbol(symbol, side)
        instrument = &self.instruments[symbol]
        rows = []
        for i in range(instrument.holder_count):
            position = instrument.holders[i]
            if (self.positions[position].quantity > 0) != (side == SIDE_BUY):
                continue
            if self.pools[self.pool_of(position)].in_queue:
                continue
            self.measure_wide(self.pool_of(position), &equity, &maintenance)
            if equity > wide(0):
                rows.append((
                    -self.score_of(position, equity),
                    self.accounts[self.positions[position].account].id,
                    abs64(self.positions[position].quantity)))
        rows.sort()
        return [(account, -score, lots) for score, account, lots in rows]

    # --- totals ------------------------------------------------------------

    def insurance_balance(self, int64_t asset):
        """Balance of all insurance funds of an asset."""
        cdef int32_t i
        self.require_asset(asset)
        return sum([
            self.funds[i].balance for i in range(self.fund_count)
            if self.funds[i].asset == asset])

    def fund_views(self):
        """(asset, number, balance) of the funds: the pooled ones, then those with a name."""
        cdef int32_t i
        rows = [
            (self.funds[i].number, self.funds[i].asset, self.funds[i].balance)
            for i in range(self.fund_count)]
        return [(asset, number, balance) for number, asset, balance in sorted(rows)]

    def backstop_views(self):
        """(account, asset, symbol, commitment, discount, used), by the first three."""
        return sorted([
            (self.accounts[<int32_t>key[0]].id, *key[1:], *promise)
            for key, promise in self.backstops.items()])

    def totals_view(self, int32_t asset):
        """The terms of the conservation identity of one asset, and their drift."""
        cdef int32_t i
        cdef asset_t *books
        self.require_asset(asset)
        books = &self.assets[asset]
        wallets = isolated = entries = 0
        for i in range(self.pool_count):
            if self.pools[i].asset == asset:
                if self.pools[i].symbol < 0:
                    wallets += self.pools[i].balance
                else:
                    isolated += self.pools[i].balance
        for i in range(self.position_count):
            if self.instruments[self.positions[i].symbol].settle == asset:
                entries += self.positions[i].entry_value
        for i in range(self.instrument_count):
            if self.instruments[i].settle == asset:
                entries += self.instruments[i].fund.entry_value
                entries += self.instruments[i].external.entry_value
        insurance = self.insurance_balance(asset)
        total = (wallets + isolated + insurance + books.fees + books.rounding
                 + books.external - entries)
        return {
            "deposits": books.deposits, "withdrawals": books.withdrawals, "wallets": wallets,
            "isolated_margins": isolated, "insurance": insurance, "fees": books.fees,
            "rounding": books.rounding, "external": books.external, "entry_values": entries,
            "drift": books.deposits - books.withdrawals - total,
        }

    def position_totals(self, int64_t symbol):
        """Net lots held by (accounts, fund, external account); they sum to zero."""
        cdef int32_t i
        self.require_symbol(symbol)
        held = 0
        for i in range(self.instruments[symbol].holder_count):
            held += self.positions[self.instruments[symbol].holders[i]].quantity
        return (held, self.instruments[symbol].fund.quantity,
                self.instruments[symbol].external.quantity)


# Whether a pool is due with the mark of its inverse position at `mark`; `is_wary`: or would
# be but for rounding, which is monotone within a tier.
cdef bint probe_is_due(const probe_t *probe, int64_t mark, bint is_wary) except -1 nogil:
    cdef int64_t worth = worth_at(probe.contract, abs64(probe.quantity), mark)
    cdef int64_t notional = notional_at(probe.contract, abs64(probe.quantity), mark)
    cdef const tier_t *tier = &probe.schedule.tiers[tier_index(probe.schedule, notional)]
    cdef i128 equity = add(
        probe.equity, wide(-worth if probe.quantity > 0 else worth))
    cdef i128 needed
    if is_wary and probe.quantity < 0:
        notional = worth + 1
    needed = ceil_div(sub(mul(notional, tier.rate), tier.deduction), wide(RATE_SCALE))
    return equity <= add(probe.maintenance, needed)


# First mark from `origin` in direction `step` at which being due, warily, equals `wanted`.
cdef int64_t first_mark(
    const probe_t *probe, int64_t origin, int step, bint wanted
) except? -1 nogil:
    cdef int64_t least = narrow(ceil_div(probe.total, wide(MONEY_MAX)))
    cdef int64_t low, high, begin, end, middle
    cdef int k = probe.schedule.count - 1 if step > 0 else 0
    while 0 <= k < probe.schedule.count:
        inverse_tier_marks(probe.schedule, k, probe.total, &low, &high)
        low, high = max64(low, least), min64(high, MONEY_MAX - 1)
        begin, end = (low, high) if step > 0 else (high, low)
        k -= step  # a higher mark is a smaller notional
        if low > high or (end - origin) * step < 0:
            continue
        if (begin - origin) * step < 0:
            begin = origin
        if probe_is_due(probe, begin, True) == wanted:
            return begin
        if probe_is_due(probe, end, True) != wanted:
            continue
        while (end - begin) * step > 1:
            middle = begin + (end - begin) // 2
            if probe_is_due(probe, middle, True) == wanted:
                end = middle
            else:
                begin = middle
        return end
    return NONE


class UrgencyKey:
    """Makes rows sortable in the order of the queue."""

    __slots__ = ("row",)

    @staticmethod
    def of(row):
        key = UrgencyKey()
        key.row = row
        return key

    def __lt__(self, other):
        return urgency_less(self.row, other.row)


def urgency_less(dict a, dict b):
    """Whether a measured pool is worked on before another."""
    class_a = 1 if a["maintenance"] else (0 if a["equity"] <= 0 else 2)
    class_b = 1 if b["maintenance"] else (0 if b["equity"] <= 0 else 2)
    if a["turn"] != b["turn"]:
        return a["turn"] < b["turn"]
    if class_a != class_b:
        return class_a < class_b
    left = right = 0
    if class_a == 1:
        left, right = a["equity"] * b["maintenance"], b["equity"] * a["maintenance"]
    return (left, a["account"], a["asset"], a["symbol"], a["leg"]) < (
        right, b["account"], b["asset"], b["symbol"], b["leg"])
