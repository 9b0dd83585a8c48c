"""What can be read: accounts, positions, books, totals.

Reads compute from the current marks, so they are never stale. All ints; see
`engine.render` for how they are shown.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    AccountStatus,
    LiquidateAt,
    RejectReason,
    Side,
    WaitsFor,
)
from engine.reference.auction import Auction
from engine.reference.margin import as_amount, ceil_div, floor_div, inverse_limit
from engine.reference.pair import Pair
from engine.reference.policy import is_due
from engine.reference.state import Account, Attached, Instrument, Order, Pool, Position


class Views(Auction):
    """Queries. They raise `LookupError` for what is unknown."""

    def _account(self, account: int) -> Account:
        if account not in self.accounts:
            raise LookupError(RejectReason.UNKNOWN_ACCOUNT)
        return self.accounts[account]

    def has_order(self, account: int, order_id: int) -> bool:
        """Whether an account has a live order of this id."""
        return account in self.accounts and order_id in self.accounts[account].orders

    def account_ids(self) -> list[int]:
        return sorted(self.accounts)

    def account_view(self, account: int) -> dict[str, Any]:
        """Status, wallets and cross pools of an account."""
        owner = self._account(account)
        status = AccountStatus.ACTIVE
        pools = []
        for pool in [*owner.wallets.values(),
                     *(position.isolated for position in owner.positions.values())]:
            status = max(status, self.pool_status(pool))
        for asset in sorted(owner.wallets):
            wallet = owner.wallets[asset]
            positions = self.positions_of(wallet)
            pledged = any(other.balance for _, other in self.collateral_wallets(wallet))
            if not (wallet.balance or positions or pledged or self.has_orders(owner, asset)):
                continue
            equity, maintenance = self.measure(wallet)
            pools.append({
                "asset": asset,
                "wallet": wallet.balance,
                "collateral": self.collateral_value(wallet),
                "equity": equity,
                "unrealized_pnl": sum(self.unrealized_pnl(each) for each in positions),
                "initial_margin": as_amount(
                    sum(self.initial_margin(each) for each in positions)),
                "order_margin": as_amount(self.orders_reserve(wallet)),
                "maintenance_margin": maintenance,
                "available_margin": as_amount(self.free_margin(wallet)),
                "is_open": int(bool(positions)),
            })
        subs = [each.id for each in self.accounts.values() if each.parent == account]
        return {
            "status": int(status), "pools": pools, "parent": owner.parent,
            "sub_accounts": sorted(subs), "multiplier": owner.multiplier,
        }

    def has_orders(self, owner: Account, asset: int) -> bool:
        return any(self.instruments[o.symbol].settle == asset for o in owner.orders.values())

    def pool_status(self, pool: Pool) -> AccountStatus:
        if pool.in_queue:
            return AccountStatus.LIQUIDATING
        if pool.balance < 0 and not self.positions_of(pool):
            return AccountStatus.BANKRUPT
        return AccountStatus.MARGIN_CALL if pool.call_level else AccountStatus.ACTIVE

    def position_views(self, account: int, symbol: int = NONE) -> list[dict[str, int]]:
        """Open positions of an account, by symbol, long before short."""
        owner = self._account(account)
        if symbol != NONE and not 0 <= symbol < len(self.instruments):
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)
        return [
            self.position_view(owner.positions[each])
            for each in sorted(owner.positions)
            if owner.positions[each].quantity and symbol in (NONE, each[0])
        ]

    def position_view(self, position: Position) -> dict[str, int]:
        instrument = self.instruments[position.symbol]
        equity, maintenance = self.measure(self.pool_of(position))
        ranked = [each for _, each in self.adl_ranking(
            instrument, Side.BUY if position.quantity > 0 else Side.SELL)]
        return {
            "symbol": position.symbol,
            "position_side": int(position.leg),
            "quantity": position.quantity,
            "entry_value": position.entry_value,
            "mark_price": instrument.mark,
            "notional": self.notional(position),
            "unrealized_pnl": self.unrealized_pnl(position),
            "leverage": self.leverage_of(position),
            "margin_mode": int(position.margin_mode),
            "isolated_margin": position.isolated.balance,
            "initial_margin": self.initial_margin(position),
            "maintenance_margin": self.maintenance_margin(position),
            "tier": self.schedule_of(position).tier_index(self.notional(position)) + 1,
            "pool_equity": equity,
            "pool_maintenance_margin": maintenance,
            "liquidation_price": self.liquidation_price(position),
            "bankruptcy_price": self.bankruptcy_price(position),
            "adl_rank": ranked.index(position) + 1 if position in ranked else NONE,
            "auto_top_up": int(position.auto_top_up),
            "adl_ranked": len(ranked),
        }

    # --- liquidation and bankruptcy price ---------------------------------------------

    def is_due_at(self, position: Position, mark: int) -> bool:
        """Whether the pool would be due with this symbol's mark at `mark`, all else equal."""
        instrument = self.instruments[position.symbol]
        ruling = self.ruling_profile(self.pool_of(position))
        kept, instrument.mark = instrument.mark, mark
        due = is_due(*self.measure(self.pool_of(position)), ruling)
        instrument.mark = kept
        return due

    def may_be_due_at(self, position: Position, mark: int) -> bool:
        """Whether it is due at a mark, or would be but for rounding; monotone within a tier.

        The value of an inverse short is rounded down and its notional up, which are one
        apart unless the division comes out even: its pool can be due at the marks around
        such a one and not there. So it is taken as one apart always.
        """
        instrument = self.instruments[position.symbol]
        if not instrument.is_inverse or position.quantity > 0:
            return self.is_due_at(position, mark)
        ruling = self.ruling_profile(self.pool_of(position))
        kept, instrument.mark = instrument.mark, mark
        equity, maintenance = self.measure(self.pool_of(position))
        schedule = self.schedule_of(position)
        tier = schedule.tiers[schedule.tier_index(self.notional(position))]
        larger = instrument.worth(-position.quantity, mark) + 1
        maintenance += ceil_div(
            larger * tier.maintenance_rate - tier.deduction, RATE_SCALE
        ) - self.maintenance_margin(position)
        instrument.mark = kept
        return is_due(equity, maintenance, ruling)

    def tier_pieces(self, position: Position) -> list[tuple[int, int]]:
        """Ranges of marks in which the position stays in one tier, ascending.

        The last one ends where no answer can lie any more.
        """
        instrument, schedule = self.instruments[position.symbol], self.schedule_of(position)
        if instrument.is_inverse:
            return self.inverse_tier_pieces(position)
        per_mark = abs(position.quantity) * instrument.unit_value
        equity, maintenance = self.measure(self.pool_of(position))
        # In the last tier a mark tick is worth at least this much to the pool, if anything.
        rate = schedule.tiers[-1].maintenance_rate
        slope = per_mark * (RATE_SCALE + (-rate if position.quantity > 0 else rate))
        edge = schedule.tiers[-1].min_notional
        reach = 4 * (instrument.mark + edge // per_mark + 1)
        if slope:
            # The last tier may begin with a jump, which takes that much more to make up for.
            reach += 4 * (abs(equity) + maintenance + edge + 1) * RATE_SCALE // slope
        pieces = []
        for tier in schedule.tiers:
            low = tier.min_notional // per_mark + 1
            high = reach
            if tier is not schedule.tiers[-1]:
                high = min(reach, tier.max_notional // per_mark)
            if low <= high:
                pieces.append((low, high))
        return pieces

    def inverse_tier_pieces(self, position: Position) -> list[tuple[int, int]]:
        """The same for an inverse position: a higher mark is a smaller notional."""
        instrument, schedule = self.instruments[position.symbol], self.schedule_of(position)
        total = abs(position.quantity) * instrument.unit_value
        least = ceil_div(total, MONEY_MAX)  # at a lower mark it leaves the money range
        pieces = []
        for tier in reversed(schedule.tiers):
            low, high = least, MONEY_MAX - 1
            if tier is not schedule.tiers[-1]:
                low = max(least, ceil_div(total, tier.max_notional))
            if tier.min_notional:
                high = min(high, ceil_div(total, tier.min_notional) - 1)
            if low <= high:
                pieces.append((low, high))
        return pieces

    def liquidation_price(self, position: Position) -> int:
        """First mark from the safe side at which the pool is due, NONE where there is none.

        Within one tier the pool's health is monotone in the mark, but for rounding, so each
        tier is bisected. The safe side begins at the current mark, or beyond it where the
        pool is due now.
        """
        instrument = self.instruments[position.symbol]
        step = -1 if position.quantity > 0 else 1
        legs = [each for each in self.positions_of(self.pool_of(position))
                if each.symbol == position.symbol]
        if len(legs) == 2:
            return self.pair_liquidation_price(legs, step)
        pieces = self.tier_pieces(position)
        if step < 0:
            pieces = [(high, low) for low, high in reversed(pieces)]
        origin = instrument.mark
        if self.is_due_at(position, origin):
            # Walk toward safety, and from there come back.
            back = [(end, start) for start, end in reversed(pieces)]
            safe = self.first_mark(position, back, origin, -step, wanted=False)
            if safe == NONE or safe + step < 1:
                return NONE
            origin = safe + step
        return self.first_due(position, pieces, origin, step)

    def first_due(
        self, position: Position, pieces: list[tuple[int, int]], origin: int, step: int
    ) -> int:
        """First mark from `origin` at which the pool is due, to the last unit."""
        mark = self.first_mark(position, pieces, origin, step, wanted=True)
        while mark != NONE and not self.is_due_at(position, mark):
            mark = self.first_mark(position, pieces, mark + step, step, wanted=True)
        return mark

    def pair_liquidation_price(self, legs: list[Position], step: int) -> int:
        """The same for a leg of a cross pool that holds both: the mark moves both."""
        instrument = self.instruments[legs[0].symbol]
        equity, maintenance = self.measure(self.pool_of(legs[0]))
        if self.ruling_profile(self.pool_of(legs[0])).liquidate_at != LiquidateAt.RATIO_GE_1:
            equity += 1  # due only below its requirement
        others = maintenance - sum(self.maintenance_margin(leg) for leg in legs)
        value = sum(instrument.value(leg.quantity, instrument.mark) for leg in legs)
        long, short = (abs(leg.quantity) * instrument.unit_value for leg in legs)
        pair = Pair(
            self.schedule_of(legs[0]), long, short, equity - others - value, instrument.is_inverse)
        if not pair.is_due(instrument.mark):
            return pair.first_mark(instrument.mark, step, wanted=True)
        # Walk toward safety; the last mark that is still due is the answer.
        start = pair.first_mark(instrument.mark, -step, wanted=False)
        return NONE if start == NONE or start + step < 1 else start + step

    def first_mark(
        self, position: Position, pieces: list[tuple[int, int]], origin: int, step: int,
        *, wanted: bool,
    ) -> int:
        """First mark from `origin` in direction `step` at which being due equals `wanted`."""
        for start, end in pieces:
            if (end - origin) * step < 0:
                continue
            begin = start if (start - origin) * step > 0 else origin
            if self.may_be_due_at(position, begin) is wanted:
                return begin
            if self.may_be_due_at(position, end) is not wanted:
                continue
            while (end - begin) * step > 1:
                middle = (begin + end) // 2
                if self.may_be_due_at(position, middle) is wanted:
                    end = middle
                else:
                    begin = middle
            return end
        return NONE

    def bankruptcy_price(self, position: Position) -> int:
        """Mark at which the pool's equity is spent: up for a long, down for a short.

        The others at their marks; NONE where there is none above zero.
        """
        instrument = self.instruments[position.symbol]
        equity, _ = self.measure(self.pool_of(position))
        if instrument.is_inverse:
            # A long owes what the position is worth, a short has it.
            side, sign = (Side.SELL, 1) if position.quantity > 0 else (Side.BUY, -1)
            lots = abs(position.quantity)
            worth = instrument.worth(lots, instrument.mark) + sign * equity
            price = inverse_limit(side, lots * instrument.unit_value, worth, 1)
            return price if 0 < price <= MONEY_MAX else NONE
        per_mark = position.quantity * instrument.unit_value
        spent = position.quantity * instrument.mark * instrument.unit_value - equity
        if per_mark > 0:
            price = ceil_div(spent, per_mark)
        else:
            price = floor_div(-spent, -per_mark)
        return price if price > 0 else NONE

    # --- orders, books, rankings ------------------------------------------------------

    def order_views(self, account: int) -> list[dict[str, int]]:
        """Live orders of an account, by symbol, leg, then in order of acceptance."""
        owner = self._account(account)
        return [
            {
                "order_id": order.order_id, "symbol": order.symbol, "side": int(order.side),
                "type": int(order.type), "price": order.price, "quantity": order.quantity,
                "filled": order.filled, "leaves": order.leaves,
                "status": int(self.status_of(order)),
                "time_in_force": int(order.time_in_force), "post_only": int(order.post_only),
                "reduce_only": int(order.reduce_only), "stp": int(order.stp),
                "position_side": int(order.position_side),
                **self.special_terms(order),
            }
            for key in sorted(owner.positions)
            for order in owner.positions[key].orders.values()
        ]

    @staticmethod
    def special_terms(order: Order) -> dict[str, int]:
        """What not every order has; NONE for what this one has not."""
        attached: tuple[Attached | None, Attached | None] = (None, None)
        if order.bracket is not None and order is order.bracket.entry:
            attached = (order.bracket.take_profit, order.bracket.stop_loss)
        take_profit, stop_loss = (
            NONE if terms is None else terms.order_id for terms in attached)
        return {
            "displayed": order.displayed, "trigger_price": order.trigger_price,
            "trigger_by": int(order.trigger_by), "callback_rate": order.callback_rate,
            "trailing_price": order.peak, "display_quantity": order.display_quantity,
            "expire_ts": order.expire_ts, "close_position": int(order.close_position),
            "oco": order.oco, "parent_order_id": order.parent, "take_profit": take_profit,
            "stop_loss": stop_loss,
        }

    def instrument_at(self, symbol: int) -> Instrument:
        """The instrument of an index that a query names."""
        if not 0 <= symbol < len(self.instruments):
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)
        return self.instruments[symbol]

    def book_levels(
        self, symbol: int, side: int, depth: int
    ) -> list[tuple[int, list[tuple[int, int, int, int]]]]:
        """Best `depth` levels of a side: (price, [(account, order_id, displayed, leaves), ...])."""
        levels = self.instrument_at(symbol).book.level_orders(Side(side))
        return [
            (price, [(o.account, o.order_id, o.displayed, o.leaves) for o in orders])
            for price, orders in islice(levels, depth)
        ]

    def auction_view(self, symbol: int) -> dict[str, int]:
        """The indicative price and what would trade at it; NONE where nothing would."""
        instrument = self.instrument_at(symbol)
        found = self.equilibrium(instrument)
        price, lots, imbalance = (NONE, NONE, NONE) if found is None else found
        return {
            "halt": int(instrument.halt), "price": price, "quantity": lots,
            "imbalance": imbalance, "reference_price": self.auction_reference(instrument),
        }

    def last_trade_seq(self, symbol: int) -> int:
        """Number of the command in which a symbol last traded; NONE before the first trade."""
        return self.instrument_at(symbol).last_trade_seq

    def instrument_view(self, symbol: int) -> dict[str, int]:
        instrument = self.instrument_at(symbol)
        return {
            "mark_price": instrument.mark, "index_price": instrument.index_price,
            "last_price": instrument.last_price, "feed_seq": instrument.feed_seq,
            "halt": int(instrument.halt), "open_interest": self.open_interest(instrument),
            "fund_quantity": instrument.fund.quantity,
            "fund_entry_value": instrument.fund.entry_value,
            "fund": instrument.insurer.number,
            "external_quantity": instrument.external.quantity,
            "external_entry_value": instrument.external.entry_value,
            **self.multiplier_view(instrument),
            "is_over": int(instrument.is_over),
            "pause": int(instrument.pause),
        }

    @staticmethod
    def multiplier_view(instrument: Instrument) -> dict[str, int]:
        """Multipliers in force, and those announced; NONE where there are none."""
        announced = instrument.announced
        in_force = instrument.schedule.multipliers
        return {
            "maintenance_multiplier": in_force.maintenance,
            "initial_multiplier": in_force.initial,
            "closing_fee": instrument.schedule.closing_fee,
            "announced_ts": NONE if announced is None else announced.effective_ts,
            "announced_maintenance":
                NONE if announced is None else announced.multipliers.maintenance,
            "announced_initial": NONE if announced is None else announced.multipliers.initial,
        }

    def tier_views(self, symbol: int) -> list[tuple[int, int, int, int, int, int, int]]:
        """Rows of (min, max, rate, leverage, deduction times 1e8, base rate, base leverage)."""
        schedule = self.instrument_at(symbol).schedule
        return [
            (t.min_notional, t.max_notional, t.maintenance_rate - schedule.closing_fee,
             t.max_leverage, t.deduction, rate, leverage)
            for t, (_, _, rate, leverage) in zip(schedule.tiers, schedule.base, strict=True)
        ]

    def profile_view(self, symbol: int) -> tuple[int, ...]:
        """How a symbol's pools are liquidated: a row as `engine.messages.Profile`."""
        return tuple(map(int, self.instrument_at(symbol).profile))

    def profile_calls_view(self, symbol: int) -> tuple[tuple[int, ...], int]:
        """Margin-call levels of a symbol's profile, and their hysteresis."""
        levels, hysteresis = self.instrument_at(symbol).call_levels
        return levels, hysteresis

    def queue_view(self) -> list[tuple[int, int, int, int, int, int, int, int, int]]:
        """Pools in the queue, in the order in which they would be worked on.

        (account, asset, symbol, equity, maintenance margin, steps, what it waits for, end of
        its cooldown, leg).
        """
        queued = [pool for pool in self.all_pools() if pool.in_queue]
        return [
            (pool.account, pool.asset, pool.symbol, *self.measure(pool), pool.steps,
             int(self.waits_for(pool)),
             pool.cooldown_until if pool.is_cooling else pool.paused_until,
             int(self.leg_shown(pool)))
            for pool in sorted(queued, key=self.place_in_queue)
        ]

    def waits_for(self, pool: Pool) -> WaitsFor:
        if pool.is_postponed:
            return WaitsFor.TURN
        if pool.is_waiting and pool.is_cooling:
            return WaitsFor.COOLDOWN
        if pool.is_patient and pool.paused_until != NONE:
            return WaitsFor.PAUSE
        return WaitsFor.CHANGE if pool.is_waiting else WaitsFor.NOTHING

    def adl_view(self, symbol: int, side: int) -> list[tuple[int, int, int]]:
        """(account, score, lots) of the holders of a side, first to be closed first."""
        return [
            (position.account, score, abs(position.quantity))
            for score, position in self.adl_ranking(self.instrument_at(symbol), Side(side))
        ]

    # --- totals -----------------------------------------------------------------------

    def insurance_balance(self, asset: int) -> int:
        """Balance of all insurance funds of an asset."""
        return sum(balance for of, _, balance in self.fund_views() if of == asset)

    def fund_views(self) -> list[tuple[int, int, int]]:
        """(asset, number, balance) of the funds: the pooled ones, then those with a name."""
        return [
            (fund.asset, fund.number, fund.balance)
            for fund in [*(asset.pooled for asset in self.assets), *self.funds]
        ]

    def backstop_views(self) -> list[tuple[int, int, int, int, int, int]]:
        """(account, asset, symbol, commitment, discount, used), by the first three."""
        return [
            (*key, each.commitment, each.discount, each.used)
            for key, each in sorted(self.backstops.items(), key=lambda entry: entry[0])
        ]

    def totals_view(self, asset: int) -> dict[str, int]:
        """The terms of the conservation identity of one asset, and their drift."""
        books = self.assets[asset]
        wallets = isolated = entries = 0
        for account in self.accounts.values():
            for pool in account.wallets.values():
                wallets += pool.balance if pool.asset == asset else 0
            for position in account.positions.values():
                if self.instruments[position.symbol].settle == asset:
                    isolated += position.isolated.balance
                    entries += position.entry_value
        for instrument in self.instruments:
            if instrument.settle == asset:
                entries += instrument.fund.entry_value + instrument.external.entry_value
        insurance = self.insurance_balance(asset)
        total = (wallets + isolated + insurance + books.fees + books.rounding
                 + books.external - entries)
        return {
            "deposits": books.deposits, "withdrawals": books.withdrawals, "wallets": wallets,
            "isolated_margins": isolated, "insurance": insurance, "fees": books.fees,
            "rounding": books.rounding, "external": books.external, "entry_values": entries,
            "drift": books.deposits - books.withdrawals - total,
        }

    def position_totals(self, symbol: int) -> tuple[int, int, int]:
        """Net lots held by (accounts, fund, external account); they sum to zero."""
        instrument = self.instrument_at(symbol)
        held = sum(position.quantity for position in self.positions_in(instrument))
        return held, instrument.fund.quantity, instrument.external.quantity
