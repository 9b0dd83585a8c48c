"""The world's money: accounts, pools, positions, and every way in which value moves.

Each movement has two sides here, so the identity of `totals` holds after every
function of this module. What a command means is decided elsewhere.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    EventKind,
    InsuranceReason,
    MarginMode,
    OrderStatus,
    PositionSide,
    Side,
)
from engine.reference.collateral import COLLATERAL_MAX, Collateral
from engine.reference.margin import (
    Schedule,
    as_amount,
    ceil_div,
    floor_div,
    split_entry_value,
    split_value,
)
from engine.reference.publishing import Publishing
from engine.reference.state import (
    DEFAULT_LEVERAGE,
    LEGS,
    Account,
    Asset,
    Backstop,
    Bracket,
    HousePosition,
    Instrument,
    InsuranceFund,
    Order,
    Pool,
    Position,
    Stage,
)


class Ledger(Publishing):
    """State of one exchange, and the elementary changes of it."""

    def __init__(self) -> None:
        self.seq = 0
        self.cause = 0  # what events of the command under way name as their cause
        self.rejected_seq = 0  # of the latest rejected command
        self.ts = 0
        self.trade_id = 0
        self.arrivals = 0  # orders accepted so far
        self.assets: list[Asset] = []
        self.funds: list[InsuranceFund] = []  # those with a name; pooled ones go with their asset
        self.backstops: dict[tuple[int, int, int], Backstop] = {}  # by account, asset, symbol
        self.instruments: list[Instrument] = []
        self.accounts: dict[int, Account] = {}
        self.house = Account(0, MarginMode.CROSS)  # in whose name the fund's orders rest
        self.records: list[tuple[int, ...]] = []
        self.market_messages = []
        self.changed_orders: dict[Order, None] = {}
        self.changed_pools: set[Pool] = set()
        self.changed_positions: set[Position] = set()
        self.pending: set[Pool] = set()  # touched since they were last evaluated
        self.marked: list[Instrument] = []  # by the command under way
        self.waiting: list[Pool] = []  # queued, but stuck for now; longest first
        self.timed_orders: dict[Order, None] = {}  # live ones that expire
        self.collected: list[Order] = []  # triggered since the last activation
        self.triggered: deque[Order] = deque()  # to be activated, in this order
        self.filled_entries: dict[Bracket, None] = {}  # whose fills are not armed yet
        self.tripped: dict[Position, None] = {}  # by market-maker protection
        self.turns = 0  # bounded liquidation steps so far

    # --- events -----------------------------------------------------------------------

    def emit(self, kind: EventKind, *payload: int) -> None:
        self.records.append((int(kind), self.seq, self.ts, self.cause, *map(int, payload)))

    def flush_changes(self) -> None:
        """Report the end-of-command state of what changed: orders, positions, wallets."""
        for order in self.changed_orders:
            self.emit_order_update(order)
        changed = sorted(
            self.changed_positions, key=lambda each: (each.account, each.symbol, each.leg))
        for position in changed:
            self.emit(
                EventKind.POSITION, position.account, position.symbol, position.quantity,
                position.entry_value, position.isolated.balance, position.leg,
            )
        wallets = [pool for pool in self.changed_pools if pool.symbol == NONE]
        for pool in sorted(wallets, key=lambda pool: (pool.account, pool.asset)):
            self.emit(EventKind.BALANCE, pool.account, pool.asset, pool.balance)
        self.changed_orders.clear()
        self.changed_pools.clear()
        self.changed_positions.clear()

    @staticmethod
    def status_of(order: Order) -> OrderStatus:
        if order.is_waiting:
            return OrderStatus.PENDING
        if order.filled:
            return OrderStatus.PARTIALLY_FILLED if order.leaves else OrderStatus.FILLED
        return OrderStatus.OPEN

    def emit_order_update(self, order: Order) -> None:
        self.emit(
            EventKind.ORDER_UPDATE, order.account, order.symbol, order.order_id,
            self.status_of(order), order.filled, order.leaves,
        )

    # --- orders -----------------------------------------------------------------------

    def owner_of(self, order: Order) -> Account:
        return self.accounts[order.account] if order.account else self.house

    def position_of(self, order: Order) -> Position:
        if order.account:
            return self.accounts[order.account].positions[order.symbol, order.position_side]
        return self.fund_position(self.instruments[order.symbol])

    def fund_position(self, instrument: Instrument) -> Position:
        """What the fund's orders of a symbol reduce: its inventory, as a position."""
        position = self.house.position(instrument, PositionSide.BOTH)
        position.quantity = instrument.fund.quantity
        return position

    def legs_of(self, position: Position) -> list[Position]:
        """The positions that a symbol's settings hold for: this one and its twin, long first."""
        instrument = self.instruments[position.symbol]
        return self.accounts[position.account].legs(instrument)

    def order_changed(self, order: Order) -> None:
        self.changed_orders[order] = None

    def enlist_order(self, order: Order) -> None:
        """Give an accepted order its number and its places among its owner's orders."""
        self.arrivals += 1
        order.arrival = self.arrivals
        position = self.position_of(order)
        self.owner_of(order).orders[order.order_id] = order
        position.orders[order.order_id] = order
        if order.is_bound:
            position.bound[order] = None
        if order.expire_ts != NONE:
            self.timed_orders[order] = None

    def retire_order(self, order: Order) -> None:
        """Forget an order that is dead; its last event is the caller's."""
        order.stage = Stage.DEAD
        self.changed_orders.pop(order, None)
        self.timed_orders.pop(order, None)
        position = self.position_of(order)
        self.owner_of(order).orders.pop(order.order_id, None)
        position.orders.pop(order.order_id, None)
        position.bound.pop(order, None)
        if not order.account:
            self.instruments[order.symbol].offer = None

    def rest(self, order: Order) -> None:
        """Put an order on the book, an iceberg with its first part."""
        order.stage = Stage.RESTING
        self.show_next_part(order)
        self.instruments[order.symbol].book.add(order)
        self.send_displayed(order, 0)
        self.position_of(order).resting[order] = None
        self.count_resting(order, order.leaves)

    def take_lots(self, order: Order, lots: int) -> None:
        """Take lots off what an order has open, otherwise than by a fill of a resting order."""
        before = order.displayed
        self.take_leaves(order, lots)
        self.send_displayed(order, before)

    def take_leaves(self, order: Order, lots: int) -> None:
        order.leaves -= lots
        if order.stage is Stage.RESTING:
            self.count_resting(order, -lots)

    def count_resting(self, order: Order, lots: int) -> None:
        """Keep the sums of what rests; reduce-only orders reserve nothing."""
        if not order.reduce_only:
            self.position_of(order).reserves[order.side].add(order.price, lots)
            self.instruments[order.symbol].reserved_lots += lots
        else:
            self.instruments[order.symbol].reduce_only_lots += lots

    @staticmethod
    def show_next_part(order: Order) -> None:
        if order.display_quantity != NONE:
            order.shown = min(order.display_quantity, order.leaves)

    def take_off(self, order: Order) -> None:
        """Take an order off the book."""
        before = order.displayed
        self.count_resting(order, -order.leaves)
        self.instruments[order.symbol].book.remove(order)
        del self.position_of(order).resting[order]
        order.stage = Stage.TAKING
        self.send_displayed(order, before)

    # --- pools and positions ----------------------------------------------------------

    def pool_of(self, position: Position) -> Pool:
        """The pool that margins a position."""
        if position.margin_mode is MarginMode.ISOLATED:
            return position.isolated
        return self.wallet_of(position)

    def wallet_of(self, position: Position) -> Pool:
        asset = self.instruments[position.symbol].settle
        return self.accounts[position.account].wallet(asset)

    def touch(self, pool: Pool) -> None:
        """Note that a pool's money or positions changed."""
        self.changed_pools.add(pool)
        self.pending.add(pool)
        self.stop_waiting(pool)
        self.look_at_debtor(pool)

    def debtor_of(self, wallet: Pool) -> Pool | None:
        """The cross pool in which a wallet of a collateral asset counts, None of any other."""
        collateral = self.assets[wallet.asset].collateral
        if collateral is None or wallet.symbol != NONE:
            return None
        return self.accounts[wallet.account].wallet(collateral.value_asset)

    def look_at_debtor(self, wallet: Pool) -> None:
        """Note that what a wallet counts for in another pool changed."""
        debtor = self.debtor_of(wallet)
        if debtor is not None:
            self.pending.add(debtor)
            self.stop_waiting(debtor)

    def stop_waiting(self, pool: Pool) -> None:
        """Let a queued pool be worked on again."""
        pool.is_postponed = False
        if pool.is_waiting:
            pool.is_waiting = pool.is_patient = False
            self.waiting.remove(pool)

    def all_pools(self) -> list[Pool]:
        pools: list[Pool] = []
        for account in self.accounts.values():
            pools.extend(account.wallets.values())
            pools.extend(position.isolated for position in account.positions.values())
        return pools

    def positions_of(self, pool: Pool) -> list[Position]:
        """Open positions of a pool, by symbol, long before short."""
        positions = self.accounts[pool.account].positions
        return [
            positions[key]
            for key in sorted(positions)
            if positions[key].quantity and self.pool_of(positions[key]) is pool
        ]

    def settle_fill(self, position: Position, quantity: int, value: int) -> None:
        """Book a signed fill and its signed value to a position: close first, then open."""
        held = position.quantity
        closing = 0
        if held * quantity < 0:
            closing = min(abs(held), abs(quantity))
            sign = 1 if quantity > 0 else -1
            # The value of a linear trade goes with its lots, so this division is exact for
            # trades on the book; an external or inverse fill is rounded once, toward zero.
            closing_value = split_value(value, closing, abs(quantity))
            self._close(position, sign * closing, closing_value)
            quantity -= sign * closing
            value -= closing_value
        if quantity:
            self._open(position, quantity, value)
        self.changed_positions.add(position)
        self.touch(self.pool_of(position))

    def _open(self, position: Position, quantity: int, value: int) -> None:
        position.quantity += quantity
        position.entry_value += value
        if position.margin_mode is MarginMode.ISOLATED:
            wallet = self.wallet_of(position)
            needed = self.isolated_share(position, abs(value), abs(position.quantity))
            self.move_to_isolated(position, min(needed, self.spendable(wallet)))

    def _close(self, position: Position, quantity: int, value: int) -> None:
        held = position.quantity
        released = split_entry_value(position.entry_value, abs(quantity), abs(held))
        profit = -value - released
        position.quantity += quantity
        position.entry_value -= released
        if position.margin_mode is MarginMode.CROSS:
            self.wallet_of(position).balance += profit
            self.touch(self.wallet_of(position))
            return
        pool = position.isolated
        pool.balance += profit
        if pool.in_queue:
            return  # nothing leaves a pool in liquidation; `release_isolated` does at its end
        # The margin behind the closed lots and the profit go to the wallet; a loss beyond
        # that margin stays with the position.
        margin_released = floor_div((pool.balance - profit) * abs(quantity), abs(held))
        self.move_to_isolated(position, -max(0, margin_released + profit))

    @staticmethod
    def spendable(wallet: Pool) -> int:
        """What a wallet can pay for isolated positions: nothing while it is in liquidation."""
        return 0 if wallet.in_queue else max(0, wallet.balance)

    def move_to_isolated(self, position: Position, amount: int) -> None:
        """Move money from the wallet to an isolated position (negative: back)."""
        if amount == 0:
            return
        wallet = self.wallet_of(position)
        wallet.balance -= amount
        position.isolated.balance += amount
        self.changed_positions.add(position)
        self.touch(wallet)
        self.touch(position.isolated)

    def charge(self, position: Position, amount: int) -> None:
        """Take a fee or payment from a position's pool; negative: a credit.

        Isolated: from the wallet while it has money, the rest from the position.
        """
        wallet = self.wallet_of(position)
        from_wallet = amount
        if position.margin_mode is MarginMode.ISOLATED and amount > 0:
            from_wallet = min(amount, self.spendable(wallet))
            if amount > from_wallet:
                position.isolated.balance -= amount - from_wallet
                self.touch(position.isolated)
                self.changed_positions.add(position)
        if from_wallet:
            wallet.balance -= from_wallet
            self.touch(wallet)

    def schedule_of(self, position: Position) -> Schedule:
        """What a position must have: its symbol's schedule, by the multiplier of its owner."""
        schedule = self.instruments[position.symbol].schedule
        return schedule.for_account(self.accounts[position.account].multiplier)

    def leverage_of(self, position: Position) -> int:
        if position.leverage:
            return position.leverage
        schedule = self.schedule_of(position)
        return min(DEFAULT_LEVERAGE, schedule.tiers[0].max_leverage)

    def isolated_share(self, position: Position, value: int, lots: int) -> int:
        """Margin that an opening fill moves to an isolated position, which then has `lots`.

        Value / leverage x initial multiplier; the tier of the position caps the leverage.
        """
        instrument = self.instruments[position.symbol]
        schedule = self.schedule_of(position)
        return schedule.scaled_margin(value, schedule.allowed_leverage(
            instrument.notional(lots, instrument.mark), self.leverage_of(position)))

    # --- the house: fund and external account -----------------------------------------

    def settle_house(self, house: HousePosition, quantity: int, value: int) -> int:
        """Book a fill to the fund's or the external account's position; return the profit."""
        profit = 0
        held = house.quantity
        if held * quantity < 0:
            closing = min(abs(held), abs(quantity))
            sign = 1 if quantity > 0 else -1
            closing_value = split_value(value, closing, abs(quantity))
            released = split_entry_value(house.entry_value, closing, abs(held))
            profit = -closing_value - released
            house.quantity += sign * closing
            house.entry_value -= released
            quantity -= sign * closing
            value -= closing_value
        house.quantity += quantity
        house.entry_value += value
        return profit

    def change_insurance(
        self, fund: InsuranceFund, delta: int, reason: InsuranceReason, account: int
    ) -> None:
        if delta == 0:
            return
        self.note_fund(fund, delta, reason)
        fund.balance += delta
        self.emit(
            EventKind.INSURANCE, fund.asset, delta, fund.balance, reason, account, fund.number)

    def fund_window(self, fund: InsuranceFund) -> int:
        """How far back a fund's balance matters to any profile, ns; 0: not at all."""
        return max((
            instrument.profile.fund_drawdown_window_ns for instrument in self.instruments
            if instrument.insurer is fund and instrument.profile.fund_drawdown_limit != NONE
        ), default=0)

    def note_fund(self, fund: InsuranceFund, delta: int, reason: InsuranceReason) -> None:
        """Remember a balance that ends now.

        Money put in or drained is no gain and no loss, nor is what the pooled fund gave.
        """
        if reason is InsuranceReason.COMMAND or (
                reason is InsuranceReason.FALLBACK and delta > 0):
            fund.history = [(until, balance + delta) for until, balance in fund.history]
        elif self.fund_window(fund):
            fund.history.append((self.ts, fund.balance))

    def fund_peaks(self, fund: InsuranceFund, window: int) -> list[tuple[int, int]]:
        """Balances of the last `window` ns that no later one reached: (until when, balance)."""
        peaks: list[tuple[int, int]] = []
        highest = fund.balance
        for until, balance in reversed(fund.history):
            if until >= self.ts - window and balance > highest:
                peaks.append((until, balance))
                highest = balance
        return peaks[::-1]

    def prune_history(self, fund: InsuranceFund) -> None:
        """Forget what no profile looks at: it cannot be asked for later either."""
        window = self.fund_window(fund)
        fund.history = self.fund_peaks(fund, window) if window else []

    def open_interest(self, instrument: Instrument) -> int:
        """Sum of all long positions, house included, in lots."""
        quantities = [instrument.fund.quantity, instrument.external.quantity]
        quantities += [position.quantity for position in self.positions_in(instrument)]
        return sum(quantity for quantity in quantities if quantity > 0)

    def positions_in(self, instrument: Instrument) -> list[Position]:
        """All accounts' positions in a symbol, by account, long before short."""
        return [
            account.positions[instrument.index, leg]
            for _, account in sorted(self.accounts.items())
            for leg in LEGS[account.position_mode]
            if (instrument.index, leg) in account.positions
        ]

    def fits(self, instrument: Instrument, quantity: int, mark: int) -> bool:
        """Whether open interest and resting orders stay in the money range at `mark`.

        `quantity` lots more included; reduce-only orders do not count.
        """
        lots = self.open_interest(instrument) + instrument.reserved_lots + quantity
        return instrument.notional(lots, mark) <= MONEY_MAX

    # --- measuring --------------------------------------------------------------------

    def notional(self, position: Position) -> int:
        instrument = self.instruments[position.symbol]
        return instrument.notional(abs(position.quantity), instrument.mark)

    def exposure(self, position: Position) -> int:
        """Notional, with the sign of the quantity."""
        return self.notional(position) if position.quantity > 0 else -self.notional(position)

    def unrealized_pnl(self, position: Position) -> int:
        if position.quantity == 0:
            return 0
        instrument = self.instruments[position.symbol]
        return instrument.value(position.quantity, instrument.mark) - position.entry_value

    def maintenance_margin(self, position: Position) -> int:
        if position.quantity == 0:
            return 0
        return self.schedule_of(position).maintenance_margin(self.notional(position))

    def initial_margin(self, position: Position) -> int:
        if position.quantity == 0:
            return 0
        return self.schedule_of(position).initial_margin(
            self.notional(position), self.leverage_of(position))

    def measure(self, pool: Pool) -> tuple[int, int]:
        """Equity and maintenance margin of a pool at the current marks."""
        positions = self.positions_of(pool)
        equity = pool.balance + self.collateral_value(pool)
        equity += sum(self.unrealized_pnl(position) for position in positions)
        return equity, sum(self.maintenance_margin(position) for position in positions)

    def collateral_wallets(self, pool: Pool) -> list[tuple[Collateral, Pool]]:
        """The wallets that count in a cross pool besides its own, by asset as declared."""
        wallets = self.accounts[pool.account].wallets
        return [
            (asset.collateral, wallets[number]) for number, asset in enumerate(self.assets)
            if asset.collateral is not None and asset.collateral.value_asset == pool.asset
            and pool.symbol == NONE and number in wallets
        ]

    def collateral_value(self, pool: Pool) -> int:
        """What other assets count for in a pool: nothing in an isolated one."""
        return sum(
            collateral.value(wallet.balance)
            for collateral, wallet in self.collateral_wallets(pool))

    def collateral_fits(self, asset: int, added: int = 0, price: int = NONE) -> bool:
        """Whether all collateral of a value asset stays in range at full price.

        With so much more of an asset, or at another price of it.
        """
        changed = self.assets[asset].collateral
        if changed is None:
            return True
        total = 0
        for books in self.assets:
            terms = books.collateral
            if terms is None or terms.value_asset != changed.value_asset:
                continue
            # All wallets together: nothing else holds an asset that settles no instrument.
            held = books.deposits - books.withdrawals - books.pooled.balance - books.external
            if terms is changed:
                held += added
                terms = replace(terms, price=terms.price if price == NONE else price)
            total += terms.gross(held)
        return total <= COLLATERAL_MAX

    def order_margin(self, position: Position, extra: Order | None = None,
                     extra_terms: tuple[int, int] | None = None,
                     without: Order | None = None) -> int:
        """What the open orders of a symbol reserve beyond the position's initial margin.

        The worse of the two sides: the initial margin of |exposure + notional of the
        side's orders|, plus those orders' loss against mark, plus their taker fees, kept
        within the money range. A side that would flip an isolated position also makes up
        for what that position lacks of its own initial margin, since no more than its
        equity is released. `extra` is an order that is not on the book yet, `extra_terms`
        its (value, loss) where they are not those of its limit price; `without` is one to
        leave out.
        """
        instrument = self.instruments[position.symbol]
        if instrument.mark == NONE:
            return 0
        schedule, leverage = self.schedule_of(position), self.leverage_of(position)
        held = self.exposure(position)
        own = self.initial_margin(position)
        worst = 0
        for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
            value, loss = self.resting_terms(position, side, without)
            if extra is not None and extra.side is side and extra_terms is not None:
                value, loss = value + extra_terms[0], loss + extra_terms[1]
            fee = max(0, ceil_div(value * instrument.taker_fee, RATE_SCALE))
            exposure = held + sign * value
            margin = schedule.initial_margin(abs(exposure), leverage) + loss + fee
            if position.margin_mode is MarginMode.ISOLATED and exposure * held < 0:
                margin += max(0, own - max(0, self.measure(position.isolated)[0]))
            worst = max(worst, min(MONEY_MAX, margin))
        return max(0, worst - own)

    def resting_terms(
        self, position: Position, side: Side, without: Order | None = None
    ) -> tuple[int, int]:
        """Value and loss against mark of a side's resting orders, reduce-only ones left out."""
        instrument = self.instruments[position.symbol]
        if instrument.is_inverse:
            return self.inverse_resting_terms(position, side, without)
        reserve = position.reserves[side]
        value = instrument.worth_at_tick(1, reserve.cost)
        tick = floor_div if side is Side.BUY else ceil_div
        at_mark = tick(instrument.mark, instrument.marks_per_tick)
        loss = sum(
            instrument.loss(side, lots, price) for price, lots in reserve.worse_than(at_mark))
        if without is not None and without.side is side and not without.reduce_only:
            value -= instrument.worth_at_tick(without.leaves, without.price)
            loss -= instrument.loss(side, without.leaves, without.price)
        return value, loss

    def inverse_resting_terms(
        self, position: Position, side: Side, without: Order | None
    ) -> tuple[int, int]:
        """The same for an inverse instrument, order by order: each rounds by itself.

        Of those that lose, all lots together are valued at the mark.
        """
        instrument = self.instruments[position.symbol]
        is_owing = side is instrument.value_side
        counted = [
            order for order in position.resting
            if order.side is side and not order.reduce_only and order is not without
        ]
        losing = [order for order in counted if instrument.is_losing(side, order.price)]
        lots = sum(order.leaves for order in losing)
        rounded = instrument.notional_at_tick if is_owing else instrument.worth_at_tick
        at_price = sum(rounded(order.leaves, order.price) for order in losing)
        if is_owing:
            loss = at_price - instrument.worth(lots, instrument.mark)
        else:
            loss = instrument.notional(lots, instrument.mark) - at_price
        value = sum(instrument.notional_at_tick(order.leaves, order.price) for order in counted)
        return value, loss

    def free_margin(self, wallet: Pool) -> int:
        """Equity - initial margin - order margin of a cross pool.

        May be negative, and beyond the money range for an account with much in many symbols.
        """
        equity, _ = self.measure(wallet)
        initial = sum(self.initial_margin(position) for position in self.positions_of(wallet))
        return equity - initial - self.orders_reserve(wallet)

    def orders_reserve(self, wallet: Pool, *, isolated_only: bool = False) -> int:
        """Order margin of all symbols that settle in a wallet's asset; may leave the range."""
        total = 0
        for position in self.accounts[wallet.account].positions.values():
            if self.instruments[position.symbol].settle != wallet.asset:
                continue
            if isolated_only and position.margin_mode is MarginMode.CROSS:
                continue
            total += self.order_margin(position)
        return total

    def free_for(self, position: Position) -> int:
        """What new orders of a symbol may reserve; may be negative.

        Isolated margin is paid from the wallet itself, not from unrealized profit.
        """
        wallet = self.wallet_of(position)
        free = self.free_margin(wallet)
        if position.margin_mode is MarginMode.ISOLATED:
            free = min(free, wallet.balance - self.orders_reserve(wallet, isolated_only=True))
        return free

    def withdrawable(self, wallet: Pool) -> int:
        """What may leave a wallet: of a collateral asset what its debtor can spare, at weight."""
        available = max(0, min(wallet.balance, as_amount(self.free_margin(wallet))))
        debtor, collateral = self.debtor_of(wallet), self.assets[wallet.asset].collateral
        if debtor is None or collateral is None:
            return available
        free = as_amount(self.free_margin(debtor))
        return min(available, collateral.spare(wallet.balance, free))

    def is_locked(self, wallet: Pool) -> bool:
        """Whether nothing may leave a wallet: it, or the pool it counts in, is in liquidation."""
        debtor = self.debtor_of(wallet)
        return wallet.in_queue or (debtor is not None and debtor.in_queue)
