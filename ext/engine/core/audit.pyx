"""The check of every invariant."""

from engine.errors import InvariantViolation

from engine.core.book cimport ORDER_PENDING, ORDER_UNARMED
from engine.core.collateral cimport collateral_t, weighted
from engine.core.conditional cimport REFERENCES
from engine.core.fixed cimport add, fits_int64, i128, low_half, mul, scaled_down, sign_of, wide
from engine.core.ledger cimport closes_leg, instrument_t, position_t, tops_up
from engine.core.levels cimport book_t
from engine.core.linked cimport bracket_t, group_t, special_t
from engine.core.liquidation cimport measured_t
from engine.core.risk cimport bound_t, survey_t
from engine.core.triggers cimport trigger_check
from engine.core.types cimport (
    BY_INDEX, LEG_BOTH, LEG_LONG, LEG_SHORT, MODE_ISOLATED, MONEY_MAX, NIL, NONE, POSITIONS_HEDGE,
    SIDE_SELL, TYPE_TRAILING_STOP_MARKET,
)

from libc.stdint cimport int32_t, int64_t


cdef class Audit(Digest):
    """Recomputes everything and compares."""

    def check(self):
        """Raise unless everything that must hold between commands does; O(everything).

        Recomputes every pool from scratch: one that has reached a threshold which the
        trigger index has not reported is a failure.
        """
        cdef int32_t i, filed = 0
        cdef int by
        for key, (commitment, _, used) in self.backstops.items():
            self.require_row(0 <= used <= commitment, "promise of account row", key[0])
        for i in range(self.asset_count):
            self.require_row(self.totals_view(i)["drift"] == 0, "drift of asset", i)
            self.require_row(self.collateral_fits(i, 0, NONE), "worth of collateral asset", i)
        for i in range(self.instrument_count):
            self.require_row(sum(self.position_totals(i)) == 0, "positions of symbol", i)
            self.check_book(i)
            self.require_row(
                self.instruments[i].announced_ts == NONE
                or self.instruments[i].announced_ts > self.ts, "overdue: multiplier of symbol", i)
            self.check_expiry(i)
            for by in range(BY_INDEX + 1):
                filed += self.check_stops(i, by)
        self.require(filed == self.count_waiting(), "filed orders are those that wait")
        for i in range(2 * self.instrument_count):
            trigger_check(&self.trigger_sides[i], self.positions)
        for i in range(2 * self.pledge_symbols):
            trigger_check(&self.pledge_sides[i], self.pledges)
        self.check_pledges()
        self.check_known_rest()
        self.check_offers()
        for i in range(self.account_count):
            self.require_row(
                self.accounts[i].dead_man == NONE or self.accounts[i].dead_man > self.ts,
                "overdue: timer of account row", i)
            self.check_account(i)
        self.require(
            not (self.pending_count or self.queue_count or self.turn_count or self.noted_count
                 or self.tripped_count), "work left undone")

    # What counts elsewhere settles nothing and owes nothing; its price is short of its triggers.
    # What a pool owes has been paid from it, as far as it goes.
    cdef int check_pledges(self) except -1:
        cdef int32_t row, wallet, pool
        cdef int64_t price
        cdef set pledged = {self.pledges[row].isolated for row in range(self.pledge_count)}
        for row in range(self.pledge_count):
            wallet, pool = self.pledges[row].isolated, self.pledges[row].wallet
            price = self.collaterals[self.pledges[row].symbol].price
            self.require_row(
                self.pools[wallet].balance >= 0 and self.pools[wallet].first_open < 0
                and self.pools[wallet].account == self.pools[pool].account
                and self.find_pledge(pool, wallet) == row, "wallet of pledge", row)
            self.require_row(
                price == NONE or (
                    self.pledges[row].trigger[0] < price < self.pledges[row].trigger[1]),
                "trigger passed unseen: pledge", row)
            self.require_row(
                self.pools[pool].in_queue or not self.is_convertible(pool, row),
                "missed conversion: pledge", row)
        for wallet in range(self.pool_count):
            self.require_row(
                self.assets[self.pools[wallet].asset].collateral < 0
                or self.pools[wallet].balance == 0 or wallet in pledged,
                "pledge of wallet", wallet)
        return 0

    # What is remembered of a fund's inventory is what it comes to now.
    cdef int check_known_rest(self) except -1:
        cdef int32_t i
        cdef int64_t rest = 0
        if self.known_symbol < 0:
            return 0
        for i in range(self.instrument_count):
            if i != self.known_symbol and self.instruments[i].insurer == self.known_fund:
                rest += self.fund_part(i, 0, 0)
        return self.require_row(
            rest == self.known_rest, "remembered inventory but that of symbol",
            self.known_symbol)

    # The fund's resting orders reduce its inventory, at the mark or better.
    cdef int check_offers(self) except -1:
        cdef int32_t symbol, offer, count = 0
        for symbol in range(self.instrument_count):
            offer = self.instruments[symbol].offer
            if offer < 0:
                continue
            count += 1
            self.require_row(
                self.orders[offer].is_resting and self.orders[offer].is_reduce_only
                and self.orders[offer].symbol == symbol and self.orders[offer].account == NIL
                and self.tickets[offer].position == NIL and self.reducible(offer) > 0
                and 0 < self.orders[offer].leaves <= self.tickets[offer].quantity
                and self.may_liquidate(symbol) and not self.is_losing(
                    symbol, self.orders[offer].side, self.orders[offer].price),
                "resting order of the fund in symbol", symbol)
        return self.require(count == self.offer_count, "number of the fund's resting orders")

    # What has expired is over, and nothing of what is over is left.
    cdef int check_expiry(self, int32_t symbol) except -1:
        cdef instrument_t *instrument = &self.instruments[symbol]
        cdef int32_t row
        if not instrument.is_over:
            return self.require_row(
                instrument.expiry_ts == NONE or instrument.expiry_ts > self.ts,
                "overdue: symbol", symbol)
        self.require_row(
            instrument.holder_count == 0 and instrument.long_lots == 0
            and instrument.fund.quantity == 0 and instrument.external.quantity == 0,
            "position in a settled symbol", symbol)
        for row in range(self.position_count):
            self.require_row(
                self.positions[row].symbol != symbol or self.orders_of(row).count == 0,
                "orders in a settled symbol: position row", row)
        return 0

    cdef int require(self, bint condition, str what) except -1:
        if not condition:
            raise InvariantViolation(what)
        return 0

    # The same, with the number of a row; it is put into words only where it has to be.
    cdef int require_row(self, bint condition, str what, int32_t row) except -1:
        if not condition:
            raise InvariantViolation(f"{what} {row}")
        return 0

    cdef int check_account(self, int32_t account) except -1:
        cdef int32_t row = self.accounts[account].first_position
        cdef int32_t pool = self.accounts[account].first_wallet
        cdef int64_t value[2]
        cdef int64_t arrival
        cdef int32_t order
        cdef int side
        while pool >= 0:
            check_pool(self, pool)
            pool = self.pools[pool].next_in_account
        while row >= 0:
            if self.positions[row].isolated >= 0:
                pool = self.positions[row].isolated
                check_pool(self, pool)
                self.require_row(
                    self.positions[row].margin_mode == MODE_ISOLATED
                    or self.pools[pool].balance == 0, "isolated margin of cross position", row)
                self.require_row(
                    self.positions[row].quantity or self.pools[pool].balance <= 0,
                    "isolated margin without a position", row)
            self.check_leg(account, row)
            self.require_row(
                self.positions[row].sign_seen
                == (self.positions[row].quantity > 0) - (self.positions[row].quantity < 0),
                "reduce-only orders not looked at: position row", row)
            self.require_row(
                self.positions[row].quantity or not self.positions[row].entry_value,
                "entry value without a position", row)
            value[0] = value[1] = arrival = 0
            order = self.orders_of(row).first
            while order >= 0:
                self.require_row(
                    arrival < self.tickets[order].arrival, "arrival of order row", order)
                arrival = self.tickets[order].arrival
                self.require_row(
                    0 < self.orders[order].leaves <= self.tickets[order].quantity,
                    "leaves of order row", order)
                self.check_order(order)
                if self.orders[order].is_resting and not self.orders[order].is_reduce_only:
                    value[self.orders[order].side] += self.notional_at_tick(
                        self.orders[order].symbol, self.orders[order].leaves,
                        self.orders[order].price)
                order = self.tickets[order].own_next
            for side in range(2):
                self.require_row(
                    value[side] == self.orders_of(row).side_value[side],
                    "order value of position row", row)
            row = self.positions[row].next_in_account
        return 0

    # Rows of the account's other mode are empty; legs have their sign and equal settings.
    cdef int check_leg(self, int32_t account, int32_t position) except -1:
        cdef position_t *row = &self.positions[position]
        cdef position_t *twin
        cdef bint is_hedge = self.accounts[account].position_mode == POSITIONS_HEDGE
        if (row.leg != LEG_BOTH) != is_hedge:
            return self.require_row(
                not (row.quantity or self.orders_of(position).count
                     or self.custom_of(row).leverage or tops_up(row))
                and row.margin_mode == self.accounts[account].margin_mode
                and self.custom_of(row).protection == NIL, "left over: position row", position)
        if row.leg == LEG_BOTH:
            return 0
        twin = &self.positions[self.twin_of(position)]
        self.require_row(
            twin.account == row.account and twin.symbol == row.symbol
            and twin.leg + row.leg == LEG_LONG + LEG_SHORT
            and self.custom_of(twin).leverage == self.custom_of(row).leverage
            and self.custom_of(twin).protection == self.custom_of(row).protection
            and twin.margin_mode == row.margin_mode
            and tops_up(twin) == tops_up(row),
            "twin of position row", position)
        return self.require_row(
            row.quantity >= 0 if row.leg == LEG_LONG else row.quantity <= 0,
            "sign of position row", position)

    # One in the book shows something, and has something to reduce if it is for that; one that
    # does not rest waits for its price.
    cdef int check_order(self, int32_t order) except -1:
        cdef int32_t special = self.tickets[order].special
        cdef int leg = self.positions[self.tickets[order].position].leg
        self.require_row(
            leg == LEG_BOTH
            or self.orders[order].is_reduce_only == closes_leg(leg, self.orders[order].side),
            "leg of order row", order)
        if special >= 0:
            self.require_row(
                self.specials[special].expire_ts == NONE
                or self.specials[special].expire_ts > self.ts, "overdue: order row", order)
            self.check_group(order)
            self.check_bracket(order)
        if self.orders[order].is_resting:
            self.require_row(
                0 <= self.orders[order].hidden < self.orders[order].leaves,
                "hidden lots of order row", order)
            self.require_row(
                not self.orders[order].is_reduce_only or self.reducible(order) > 0,
                "nothing to reduce: order row", order)
            return 0
        self.require_row(self.tickets[order].state == ORDER_PENDING, "state of order row", order)
        self.require_row(
            not self.is_bound(order) or self.reducible(order) > 0,
            "bound to nothing: order row", order)
        return self.check_wait(order)

    # Filed under what it waits for, and not there yet.
    cdef int check_wait(self, int32_t order) except -1:
        cdef special_t *special = &self.specials[self.tickets[order].special]
        cdef int32_t symbol = self.orders[order].symbol
        cdef int32_t book = symbol * REFERENCES + special.trigger_by
        cdef int64_t price = self.reference(symbol, special.trigger_by)
        if self.tickets[order].kind == TYPE_TRAILING_STOP_MARKET:
            return self.require_row(
                0 <= special.slot < self.trails[book].count
                and self.trails[book].rows[special.slot] == order,
                "slot of trailing stop, order row", order)
        self.require_row(
            self.orders[order].level >= 0 and special.trigger_price
            == self.stops[book].levels[self.orders[order].level].price,
            "level of waiting order row", order)
        return self.require_row(
            price == NONE or self.is_asleep(symbol) or not self.is_satisfied(order, price),
            "missed trigger: order row", order)

    # A member is linked to its neighbours, in order of arrival, and its group can be found.
    cdef int check_group(self, int32_t order) except -1:
        cdef special_t *special = &self.specials[self.tickets[order].special]
        cdef group_t *group
        if special.group < 0:
            return 0
        group = &self.groups[special.group]
        self.require_row(
            group.position == self.tickets[order].position, "group of order row", order)
        self.require_row(
            group.oco == NONE
            or self.find_group(group.position, group.oco) == special.group,
            "number of the group of order row", order)
        if special.group_next < 0:
            self.require_row(group.last == order, "last of a group, order row", order)
        if special.group_prev < 0:
            return self.require_row(group.first == order, "first of a group, order row", order)
        return self.require_row(
            self.group_of(special.group_prev) == special.group
            and self.specials[self.tickets[special.group_prev].special].group_next == order
            and self.tickets[special.group_prev].arrival < self.tickets[order].arrival
            and self.orders[special.group_prev].side == self.orders[order].side,
            "neighbours in a group, order row", order)

    # Entry and children know each other; children wait, or have not come into being.
    cdef int check_bracket(self, int32_t order) except -1:
        cdef int32_t at = self.specials[self.tickets[order].special].bracket
        cdef bracket_t *bracket
        cdef int32_t child
        cdef int which
        if at < 0:
            return 0
        bracket = &self.brackets[at]
        self.require_row(not (bracket.is_over or bracket.is_noted), "left over: bracket row", at)
        self.require_row(
            order == bracket.entry or order == bracket.child[0] or order == bracket.child[1],
            "not of its bracket: order row", order)
        self.require_row(
            bracket.entry >= 0 and bracket.filled == bracket.armed, "fills of bracket row", at)
        for which in range(2):
            child = bracket.child[which]
            if child < 0:
                continue
            self.require_row(
                self.specials[self.tickets[child].special].bracket == at
                and self.tickets[child].state == (
                    ORDER_PENDING if bracket.armed else ORDER_UNARMED)
                and self.is_listed(child), "child of bracket row", at)
        return 0

    # What is filed waits for this price of this symbol, on its side; returns how many.
    cdef int32_t check_stops(self, int32_t symbol, int by) except -1:
        cdef book_t *book = &self.stops[symbol * REFERENCES + by]
        cdef int32_t filed = self.trails[symbol * REFERENCES + by].count
        cdef int32_t level, order, count
        cdef int side
        for side in range(2):
            level = book.sides[side].best
            while level >= 0:
                count = 0
                order = book.levels[level].head
                while order >= 0:
                    self.require_row(
                        self.tickets[order].state == ORDER_PENDING
                        and self.orders[order].symbol == symbol
                        and self.orders[order].level == level
                        and self.is_rising(order) == (side == SIDE_SELL),
                        "filed order row", order)
                    count += 1
                    order = self.orders[order].next
                self.require_row(
                    count > 0 and count == book.levels[level].count,
                    "count of trigger level row", level)
                filed += count
                level = book.levels[level].worse
        return filed

    cdef int32_t count_waiting(self) noexcept:
        cdef int32_t i, order, count = 0
        for i in range(self.position_count):
            order = self.orders_of(i).first
            while order >= 0:
                count += self.tickets[order].state == ORDER_PENDING
                order = self.tickets[order].own_next
        return count

    cdef int check_book(self, int32_t symbol) except -1:
        cdef int side
        cdef int32_t level, order, last
        cdef int64_t lots, hidden, count, long_lots
        cdef int64_t resting = 0, reduce_only = 0
        cdef int32_t best[2]
        for side in range(2):
            level = self.books[symbol].sides[side].best
            best[side] = level
            last = NIL
            while level >= 0:
                lots = hidden = count = 0
                order = self.books[symbol].levels[level].head
                while order >= 0:
                    lots += self.orders[order].leaves - self.orders[order].hidden
                    hidden += self.orders[order].hidden
                    count += 1
                    if self.orders[order].is_reduce_only:
                        reduce_only += self.orders[order].leaves
                    else:
                        resting += self.orders[order].leaves
                    self.require_row(
                        self.orders[order].level == level, "level of order row", order)
                    order = self.orders[order].next
                self.require_row(
                    count == self.books[symbol].levels[level].count
                    and lots == self.books[symbol].levels[level].quantity
                    and hidden == self.books[symbol].levels[level].hidden,
                    "totals of level row", level)
                self.require_row(
                    self.books[symbol].levels[level].better == last, "link of level", level)
                last = level
                level = self.books[symbol].levels[level].worse
        self.require_row(
            resting == self.instruments[symbol].resting_lots
            and reduce_only == self.instruments[symbol].reduce_only_lots, "resting lots of", symbol)
        self.require_row(
            best[0] < 0 or best[1] < 0 or self.is_asleep(symbol)
            or self.books[symbol].levels[best[0]].price < self.books[symbol].levels[best[1]].price,
            "crossed book of symbol", symbol)
        long_lots = max(0, self.instruments[symbol].fund.quantity) + max(
            0, self.instruments[symbol].external.quantity)
        for order in range(self.instruments[symbol].holder_count):
            long_lots += max(
                0, self.positions[self.instruments[symbol].holders[order]].quantity)
        self.require_row(
            long_lots == self.instruments[symbol].long_lots, "open interest of", symbol)
        return 0


# A pool outside the queue is not due, one inside is; and every mark is short of their
# triggers.
cdef int check_pool(Audit core, int32_t pool) except -1:
    cdef i128 equity, maintenance
    cdef int64_t mark
    cdef int32_t row = core.pools[pool].first_open
    core.require_row(
        core.pools[pool].in_queue or not (
            pool in core.cooling or pool in core.turn_of or pool in core.pausing
            or pool in core.ramp_since or pool in core.ramped),
        "left the queue: pool row", pool)
    core.require_row(
        core.pausing.get(pool, MONEY_MAX + 1) > core.ts, "pause is over: pool row", pool)
    if row < 0:
        return 0
    core.measure_wide(pool, &equity, &maintenance)
    if fits_int64(equity) and fits_int64(maintenance):
        check_measure(core, pool, low_half(equity), low_half(maintenance))
    else:  # marks alone led here: no command has evaluated it since
        core.require_row(
            core.pools[pool].in_queue or equity > maintenance, "missed breach: pool row", pool)
    while row >= 0:
        mark = core.instruments[core.positions[row].symbol].mark
        core.require_row(
            core.positions[row].trigger[0] < mark < core.positions[row].trigger[1],
            "trigger passed unseen: position row", row)
        row = core.positions[row].next_open
    return 0


# Whether a pool with positions is where its measure puts it.
cdef int check_measure(Audit core, int32_t pool, int64_t equity, int64_t maintenance) except -1:
    cdef measured_t measured
    if core.pools[pool].in_queue:
        core.measure_row(pool, &measured)
        core.require_row(not core.is_healthy(&measured), "missed release: pool row", pool)
        core.require_row(
            (core.pools[pool].is_waiting and pool in core.waiting)
            != (pool in core.postponed), "left undone: pool row", pool)
        core.require_row(
            equity > 0 or not (core.pools[pool].is_waiting and core.pools[pool].is_patient),
            "patient without equity: pool row", pool)
    else:
        core.require(
            not core.is_due(pool, equity, maintenance),
            f"missed breach: pool row {pool}, equity {equity}, maintenance {maintenance}")
        core.require_row(
            core.call_set_in_force(pool) == core.pools[pool].call_set,
            "others' margin-call levels: pool row", pool)
        core.require_row(
            core.level_of(pool, equity, maintenance)
            == core.pools[pool].call_level, "missed margin call: pool row", pool)
        check_slack(core, pool, equity, maintenance)
    return 0


# What the triggers of a pool let pass together does not use up its slack.
cdef int check_slack(Audit core, int32_t pool, int64_t equity, int64_t maintenance) except -1:
    cdef bound_t down
    cdef survey_t found
    cdef i128 slack = core.slack_of(pool, equity, maintenance, &down)
    if (core.pools[pool].is_unfiled or sign_of(slack) < 0 or core.has_several_calls(pool)
            or not core.survey(pool, &down, &found)):
        return 0
    return core.require_row(
        add(found.used, pledges_used(core, pool, &down)) <= slack,
        "triggers beyond the slack: pool row", pool)


# What the pledges of a pool may fall by, unseen.
cdef i128 pledges_used(Audit core, int32_t pool, const bound_t *down) except? -1:
    cdef int32_t row = core.pools[pool].first_pledge
    cdef const collateral_t *terms
    cdef i128 amount
    cdef int64_t fall = 0
    while row >= 0:
        terms = &core.collaterals[core.pledges[row].symbol]
        amount = weighted(terms, core.pools[core.pledges[row].isolated].balance)
        if terms.price != NONE:
            fall += core.pledge_value(row) - scaled_down(
                amount, core.pledges[row].trigger[0] + 1, terms.divisor)
        row = core.pledges[row].next_open
    return wide(fall) if down.is_whole else mul(down.weight, fall)
