"""The reference core: one method a command, validation first, in the order of the rules."""

from __future__ import annotations

from collections.abc import Callable

from engine.messages import (
    CALL_LEVELS_MAX,
    MONEY_MAX,
    NONE,
    OFF_GRID,
    RATE_SCALE,
    TOO_LARGE,
    CallLevels,
    CancelReason,
    Command,
    ContractKind,
    EventKind,
    HaltMode,
    InsuranceReason,
    MarginMode,
    MarketKind,
    PositionMode,
    PositionSide,
    Profile,
    RejectReason,
    Side,
    TierRule,
    TriggerBy,
)
from engine.reference.audit import Audit
from engine.reference.forms import check_leg, is_positive
from engine.reference.margin import Schedule, as_amount, ceil_div, floor_div
from engine.reference.policy import closing_fee
from engine.reference.sides import closes, signed
from engine.reference.state import (
    ASLEEP,
    DEFAULT_CALL_LEVELS,
    Account,
    Asset,
    Instrument,
    InsuranceFund,
    Position,
    Protection,
    Rejected,
    Workoff,
)
from engine.reference.timers import Timers


class Commands(Timers, Audit):
    """Every command as a method: ints in, records out."""

    def is_running(self) -> bool:
        """Tell whether some thread is in the middle of a batch."""
        return False

    def require_idle(self) -> None:
        """Do nothing: this core never lets another thread in."""

    def drain(self) -> list[tuple[int, ...]]:
        """Return the records since the last drain and forget them."""
        records, self.records = self.records, []
        return records

    def execute(
        self, command: int, ts: int, run: Callable[[], None], account: int = NONE,
        symbol: int = NONE, order_id: int = NONE, asset: int = NONE,
    ) -> None:
        """Run one command: what is due by its time, then all of it, or a rejection and nothing."""
        self.seq += 1
        self.cause = self.seq
        is_late = ts != NONE and ts < self.ts
        if ts != NONE and not is_late:
            self.pass_time(ts)
        before = self.ts
        if ts != NONE and not is_late:
            self.ts = ts
        try:
            self.require(not is_late, RejectReason.MALFORMED)
            run()
        except Rejected as rejected:
            self.rejected_seq = self.seq
            self.emit(
                EventKind.REJECTED, command, rejected.reason, account, asset, symbol, order_id,
                rejected.needed, rejected.limit,
            )
            self.ts = before
            return
        self.settle()

    def reject(
        self, command: int, reason: int, account: int = NONE, symbol: int = NONE,
        order_id: int = NONE, ts: int = NONE,
    ) -> None:
        """Record a rejection that the edge has already decided."""

        def run() -> None:
            raise Rejected(RejectReason(reason))

        self.execute(Command(command), ts, run, account, symbol, order_id)

    # --- set-up -----------------------------------------------------------------------

    def add_asset(self, ts: int = NONE) -> None:
        def run() -> None:
            self.assets.append(Asset(InsuranceFund(len(self.assets))))
            self.emit(EventKind.ASSET_ADDED, len(self.assets) - 1)

        self.execute(Command.ASSET, ts, run)

    def add_instrument(
        self, settle: int, marks_per_tick: int, unit_value: int, maker_fee: int, taker_fee: int,
        liquidation_fee: int, price_band: int, max_order_quantity: int, max_open_orders: int,
        tier_rule: int, tiers: list[tuple[int, int, int, int]], ts: int = NONE,
        min_order_quantity: int = NONE, min_order_notional: int = NONE,
        max_order_notional: int = NONE, kind: int = ContractKind.LINEAR,
        expiry_ts: int = NONE, profile: tuple[int, ...] = (), fund: int = NONE,
        mark_max_age: int = NONE, mark_band: int = NONE,
        call_levels: list[int] | None = None, call_hysteresis: int = NONE,
    ) -> None:
        def run() -> None:
            policy = Profile(*profile)
            calls = self.chosen_calls(call_levels, call_hysteresis, RejectReason.BAD_PROFILE)
            schedule = Schedule.build(
                TierRule(tier_rule), tiers, closing_fee=closing_fee(policy, taker_fee))
            if fund == len(self.funds):  # its first mention
                self.funds.append(InsuranceFund(settle, fund))
            insurer = self.assets[settle].pooled if fund == NONE else self.funds[fund]
            self.prune_history(insurer)
            self.instruments.append(Instrument(
                len(self.instruments), settle, marks_per_tick, unit_value, maker_fee, taker_fee,
                liquidation_fee, price_band, max_order_quantity, max_open_orders,
                min_order_quantity, min_order_notional, max_order_notional, schedule,
                policy, insurer, ContractKind(kind), expiry_ts=expiry_ts,
                mark_max_age=mark_max_age, mark_band=mark_band, call_levels=calls,
            ))
            self.emit(EventKind.INSTRUMENT_ADDED, len(self.instruments) - 1, settle)

        self.execute(Command.INSTRUMENT, ts, run)

    def set_tiers(
        self, symbol: int, tiers: list[tuple[int, int, int, int]], ts: int = NONE
    ) -> None:
        def run() -> None:
            instrument = self.find_instrument(symbol)
            schedule = instrument.schedule.rebuild(rows=tiers)
            self.require(self.is_bearable(instrument, schedule), RejectReason.BAD_TIERS)
            self.require_trading(instrument)
            instrument.schedule = schedule
            self.emit(EventKind.TIERS_CHANGED, symbol)
            self.retry_all()

        self.execute(Command.TIERS, ts, run, symbol=symbol)

    def set_profile(
        self, symbol: int, profile: tuple[int, ...], ts: int = NONE,
        call_levels: list[int] | None = None, call_hysteresis: int = NONE,
    ) -> None:
        """Replace the way in which a symbol's pools are liquidated."""

        def run() -> None:
            instrument = self.find_instrument(symbol)
            policy = Profile(*profile)
            schedule = instrument.schedule.rebuild(
                closing_fee=closing_fee(policy, instrument.taker_fee))
            self.require(self.is_bearable(instrument, schedule), RejectReason.BAD_PROFILE)
            calls = self.chosen_calls(call_levels, call_hysteresis, RejectReason.BAD_PROFILE)
            self.require_trading(instrument)
            self.prune_history(instrument.insurer)
            instrument.profile, instrument.schedule = policy, schedule
            instrument.call_levels = calls
            instrument.workoff = Workoff()
            self.prune_history(instrument.insurer)
            self.emit(EventKind.PROFILE_CHANGED, symbol)
            self.withdraw_offer(instrument, CancelReason.WITHDRAWN)
            self.retry_all()

        self.execute(Command.PROFILE, ts, run, symbol=symbol)

    @staticmethod
    def is_bearable(instrument: Instrument, schedule: Schedule) -> bool:
        """Whether no rate of a schedule exceeds 1, nor will under announced multipliers."""
        to_come = [] if instrument.announced is None else [instrument.announced.multipliers]
        return all(
            multipliers.fit(schedule.base, schedule.closing_fee)
            for multipliers in [schedule.multipliers, *to_come])

    def open_account(
        self, account: int, margin_mode: int, ts: int = NONE, stp_group: int = NONE,
        levels: list[int] | None = None, hysteresis: int = NONE, parent: int = NONE,
        position_mode: int = PositionMode.ONE_WAY,
    ) -> None:
        def run() -> None:
            self.require(
                account > 0 and (stp_group == NONE or stp_group > 0), RejectReason.MALFORMED)
            call_levels = self.chosen_calls(levels, hysteresis)
            self.require(
                parent == NONE or (parent > 0 and parent != account), RejectReason.MALFORMED)
            self.require(account not in self.accounts, RejectReason.ALREADY_EXISTS)
            if parent != NONE:
                self.require(
                    self.find_account(parent).parent == NONE, RejectReason.MALFORMED)
            self.accounts[account] = Account(
                account, MarginMode(margin_mode), stp_group, PositionMode(position_mode),
                parent=parent)
            self.emit(
                EventKind.ACCOUNT_OPENED, account, margin_mode, stp_group, parent,
                position_mode)
            if levels is not None or hysteresis != NONE:
                self.accounts[account].call_levels = call_levels
                self.emit_call_levels(account, call_levels)

        self.execute(Command.ACCOUNT, ts, run, account)

    def chosen_calls(
        self, levels: list[int] | None, hysteresis: int,
        reason: RejectReason = RejectReason.MALFORMED,
    ) -> CallLevels:
        """Margin-call levels as asked for (None, NONE: the default), if they make sense."""
        default = DEFAULT_CALL_LEVELS
        chosen = default.levels if levels is None else tuple(levels)
        width = default.hysteresis if hysteresis == NONE else hysteresis
        self.require(CallLevels(chosen, width).are_sensible(), reason)
        return CallLevels(chosen, width if chosen else 0)

    def emit_call_levels(self, account: int, chosen: CallLevels) -> None:
        padded = [*chosen.levels, *[NONE] * CALL_LEVELS_MAX][:CALL_LEVELS_MAX]
        self.emit(EventKind.MARGIN_CALL_LEVELS_SET, account, *padded, chosen.hysteresis)

    # --- money ------------------------------------------------------------------------

    def deposit(self, account: int, asset: int, amount: int, ts: int = NONE) -> None:
        def run() -> None:
            self.require(amount > 0 or amount == TOO_LARGE, RejectReason.MALFORMED)
            self.require(0 <= asset < len(self.assets), RejectReason.UNKNOWN_ASSET)
            wallet = self.find_account(account).wallet(asset)
            books = self.assets[asset]
            self.require(
                amount != TOO_LARGE and books.deposits + amount <= MONEY_MAX
                and wallet.balance + amount <= MONEY_MAX
                and self.collateral_fits(asset, amount), RejectReason.OVERFLOW,
            )
            books.deposits += amount
            wallet.balance += amount
            self.touch(wallet)

        self.execute(Command.DEPOSIT, ts, run, account, asset=asset)

    def withdraw(self, account: int, asset: int, amount: int, ts: int = NONE) -> None:
        def run() -> None:
            self.require(amount > 0 or amount == TOO_LARGE, RejectReason.MALFORMED)
            self.require(0 <= asset < len(self.assets), RejectReason.UNKNOWN_ASSET)
            wallet = self.find_account(account).wallet(asset)
            self.require(not self.is_locked(wallet), RejectReason.ACCOUNT_LIQUIDATING)
            available = self.withdrawable(wallet)
            if amount == TOO_LARGE or amount > available:
                raise Rejected(RejectReason.INSUFFICIENT_BALANCE, amount, available)
            books = self.assets[asset]
            self.require(books.withdrawals + amount <= MONEY_MAX, RejectReason.OVERFLOW)
            books.withdrawals += amount
            wallet.balance -= amount
            self.touch(wallet)

        self.execute(Command.WITHDRAW, ts, run, account, asset=asset)

    def fund_insurance(
        self, asset: int, amount: int, ts: int = NONE, fund: int = NONE
    ) -> None:
        """Fund an asset's pooled fund, or another of its funds by number, or drain it."""

        def run() -> None:
            self.require(amount not in (0, OFF_GRID), RejectReason.MALFORMED)
            self.require(0 <= asset < len(self.assets), RejectReason.UNKNOWN_ASSET)
            self.require(
                fund == NONE
                or (0 <= fund < len(self.funds) and self.funds[fund].asset == asset),
                RejectReason.UNKNOWN_FUND)
            books = self.assets[asset]
            chosen = books.pooled if fund == NONE else self.funds[fund]
            free = max(0, min(chosen.balance, self.fund_free(chosen)))
            if amount < 0 and amount != TOO_LARGE and -amount > free:
                raise Rejected(RejectReason.INSUFFICIENT_BALANCE, -amount, free)
            self.require(
                amount != TOO_LARGE and books.deposits + max(0, amount) <= MONEY_MAX
                and books.withdrawals - min(0, amount) <= MONEY_MAX, RejectReason.OVERFLOW,
            )
            if amount > 0:
                books.deposits += amount
            else:
                books.withdrawals -= amount
            self.change_insurance(chosen, amount, InsuranceReason.COMMAND, NONE)
            self.retry_all()

        self.execute(Command.INSURANCE, ts, run, asset=asset)

    # --- margin settings --------------------------------------------------------------

    def set_leverage(self, account: int, symbol: int, leverage: int, ts: int = NONE) -> None:
        def run() -> None:
            self.require(leverage > 0 or leverage == TOO_LARGE, RejectReason.MALFORMED)
            instrument = self.find_instrument(symbol)
            legs = self.find_account(account).legs(instrument)
            self.require_trading(instrument)
            self.require(
                not any(self.pool_of(leg).in_queue for leg in legs),
                RejectReason.ACCOUNT_LIQUIDATING)
            exposure = max(self.worst_exposure(leg) for leg in legs)
            schedule = self.schedule_of(legs[0])
            tier = schedule.tiers[schedule.tier_index(exposure)]
            if leverage == TOO_LARGE or not RATE_SCALE <= leverage <= tier.max_leverage:
                raise Rejected(RejectReason.LEVERAGE, leverage, tier.max_leverage)
            self.require_margin_at(legs, leverage)
            for leg in legs:
                leg.leverage = leverage
            self.emit(EventKind.LEVERAGE_CHANGED, account, symbol, leverage)

        self.execute(Command.LEVERAGE, ts, run, account, symbol)

    def require_margin_at(self, legs: list[Position], leverage: int) -> None:
        """Refuse a leverage at which the margin held would no longer do."""
        first = legs[0]
        kept, before = first.leverage, self.free_for(first)
        for leg in legs:
            leg.leverage = leverage
        after = self.free_for(first)
        needed = [self.initial_margin(leg) for leg in legs]
        for leg in legs:
            leg.leverage = kept
        if after < 0 and after < before:
            raise Rejected(
                RejectReason.INSUFFICIENT_MARGIN, as_amount(before - after), as_amount(before))
        for leg, margin in zip(legs, needed, strict=True):
            if leg.quantity and leg.margin_mode is MarginMode.ISOLATED:
                equity, _ = self.measure(leg.isolated)
                if equity < margin:
                    raise Rejected(RejectReason.INSUFFICIENT_MARGIN, margin, max(0, equity))

    def set_margin_mode(self, account: int, symbol: int, mode: int, ts: int = NONE) -> None:
        def run() -> None:
            instrument = self.find_instrument(symbol)
            legs = self.find_account(account).legs(instrument)
            self.require(all(self.is_idle(leg) for leg in legs), RejectReason.POSITION_OPEN)
            self.require_trading(instrument)
            for leg in legs:
                leg.margin_mode = MarginMode(mode)
            self.emit(EventKind.MARGIN_MODE_CHANGED, account, symbol, mode)

        self.execute(Command.MARGIN_MODE, ts, run, account, symbol)

    @staticmethod
    def is_idle(position: Position) -> bool:
        """Whether nothing is open on a position, no order and no unpaid deficit either."""
        return not (position.quantity or position.orders or position.isolated.balance)

    def adjust_isolated_margin(
        self, account: int, symbol: int, amount: int, ts: int = NONE, position_side: int = NONE
    ) -> None:
        leg = PositionSide.BOTH if position_side == NONE else position_side

        def run() -> None:
            self.require(amount not in (0, OFF_GRID), RejectReason.MALFORMED)
            check_leg(leg, self.mode_of(account))
            instrument = self.find_instrument(symbol)
            position = self.find_account(account).position(instrument, PositionSide(leg))
            self.require(
                position.margin_mode is MarginMode.ISOLATED
                and (position.quantity != 0 or position.isolated.balance < 0),
                RejectReason.NO_POSITION,
            )
            wallet = self.wallet_of(position)
            is_adding = amount == TOO_LARGE or amount > 0
            source = wallet if is_adding else position.isolated
            self.require(not source.in_queue, RejectReason.ACCOUNT_LIQUIDATING)
            available = self.withdrawable(wallet) if is_adding else position.isolated.balance
            if amount == TOO_LARGE or abs(amount) > available:
                needed = amount if amount == TOO_LARGE else abs(amount)
                raise Rejected(RejectReason.INSUFFICIENT_BALANCE, needed, max(0, available))
            if not is_adding:
                equity, _ = self.measure(position.isolated)
                needed = self.initial_margin(position)
                if equity + amount < needed:
                    raise Rejected(
                        RejectReason.INSUFFICIENT_MARGIN, -amount, max(0, equity - needed))
            self.move_to_isolated(position, amount)

        self.execute(Command.ISOLATED_MARGIN, ts, run, account, symbol)

    # --- facts from outside -----------------------------------------------------------

    def fill(
        self, account: int, symbol: int, side: int, quantity: int, value: int, fee: int,
        ts: int = NONE, position_side: int = NONE,
    ) -> None:
        """Book an execution made elsewhere; its other half goes to the external account."""
        leg = PositionSide.BOTH if position_side == NONE else position_side

        def run() -> None:
            grid = (OFF_GRID, TOO_LARGE)
            check_leg(leg, self.mode_of(account))
            self.require(quantity > 0 or quantity in grid, RejectReason.MALFORMED)
            self.require(value >= 0 or value == TOO_LARGE, RejectReason.MALFORMED)
            self.require(OFF_GRID not in (fee, value), RejectReason.MALFORMED)
            instrument = self.find_instrument(symbol)
            owner = self.find_account(account)
            self.require(instrument.mark != NONE, RejectReason.NO_MARK_PRICE)
            self.require_trading(instrument)
            self.require(quantity != OFF_GRID, RejectReason.OFF_LOT)
            position = owner.position(instrument, PositionSide(leg))
            if closes(leg, side):
                self.require(
                    quantity != TOO_LARGE and quantity <= abs(position.quantity),
                    RejectReason.REDUCE_ONLY)
            self.require(
                TOO_LARGE not in (quantity, value, fee) and abs(fee) <= MONEY_MAX
                and value <= MONEY_MAX and self.fits(instrument, quantity, instrument.mark),
                RejectReason.OVERFLOW,
            )
            held = max(abs(position.entry_value), abs(instrument.external.entry_value))
            money = max(
                abs(self.wallet_of(position).balance), abs(position.isolated.balance),
                abs(self.assets[instrument.settle].external),
            )
            self.require(held + value + money + abs(fee) <= MONEY_MAX, RejectReason.OVERFLOW)
            lots = signed(Side(side), quantity)
            cost = instrument.signed_value(Side(side), value)
            self.settle_fill(position, lots, cost)
            self.charge(position, fee)
            books = self.assets[instrument.settle]
            books.external += fee + self.settle_house(instrument.external, -lots, -cost)
            self.drop_reduce_only(position)
            self.retry_waiting()

        self.execute(Command.FILL, ts, run, account, symbol)

    def mark(
        self, symbol: int, mark: int, index_price: int = NONE, feed_seq: int = NONE,
        ts: int = NONE, cause: int = NONE,
    ) -> None:
        run = self.mark_runner([(symbol, mark, index_price, feed_seq)], cause)
        self.execute(Command.MARK, ts, run, symbol=symbol)

    def marks(
        self, marks: list[tuple[int, int, int, int]], ts: int = NONE, cause: int = NONE
    ) -> None:
        """Apply (symbol, mark, index, feed_seq) rows as one: all prices, then the evaluation."""
        self.execute(Command.MARKS, ts, self.mark_runner(marks, cause))

    def mark_runner(
        self, marks: list[tuple[int, int, int, int]], cause: int
    ) -> Callable[[], None]:
        """`cause`: number of the command whose trades moved the marks, if one did."""

        def run() -> None:
            self.require(cause == NONE or 0 < cause < self.seq, RejectReason.MALFORMED)
            named = [row[0] for row in marks if row[0] >= 0]
            self.require(bool(marks) and len(named) == len(set(named)), RejectReason.MALFORMED)
            prices = [price for _, *pair, _ in marks for price in pair if price != NONE]
            self.require(
                all(price > 0 or price in (OFF_GRID, TOO_LARGE) for price in prices)
                and all(row[1] != NONE for row in marks), RejectReason.MALFORMED,
            )
            found = [self.find_instrument(row[0]) for row in marks]
            for instrument in found:
                self.require_trading(instrument)
            self.require(OFF_GRID not in prices, RejectReason.OFF_TICK)
            self.require(TOO_LARGE not in prices, RejectReason.OVERFLOW)
            for instrument, row in zip(found, marks, strict=True):
                self.require(self.fits(instrument, 0, row[1]), RejectReason.OVERFLOW)
            if cause != NONE:
                self.cause = cause
            for symbol, mark, index_price, feed_seq in sorted(marks):
                instrument = self.instruments[symbol]
                instrument.mark, instrument.mark_ts = mark, self.ts
                self.marked.append(instrument)
                if index_price != NONE:
                    instrument.index_price = index_price
                if feed_seq != NONE:
                    instrument.feed_seq = feed_seq
                self.emit(EventKind.MARK, symbol, mark, index_price, feed_seq)
            for symbol, _, index_price, _ in sorted(marks):
                self.evaluate_triggers(self.instruments[symbol], TriggerBy.MARK)
                if index_price != NONE:
                    self.evaluate_triggers(self.instruments[symbol], TriggerBy.INDEX)
            self.retry_waiting()

        return run

    def funding(self, symbol: int, rate: int, ts: int = NONE) -> None:
        """Settle funding at the mark: payers pay rounded up, receivers get rounded down."""

        def run() -> None:
            self.require(abs(rate) <= RATE_SCALE, RejectReason.MALFORMED)
            instrument = self.find_instrument(symbol)
            self.require(instrument.mark != NONE, RejectReason.NO_MARK_PRICE)
            self.require_trading(instrument)
            books = self.assets[instrument.settle]
            paid = 0
            for position in self.positions_in(instrument):
                if position.quantity == 0:
                    continue
                amount = self.funding_owed(instrument, position.quantity, rate)
                self.charge(position, amount)
                self.touch(self.pool_of(position))
                self.emit(
                    EventKind.FUNDING_PAYMENT, position.account, symbol, -amount, rate,
                    instrument.mark, position.leg)
                paid += amount
            if instrument.external.quantity:
                amount = self.funding_owed(instrument, instrument.external.quantity, rate)
                books.external -= amount
                paid += amount
            if instrument.fund.quantity:
                amount = self.funding_owed(instrument, instrument.fund.quantity, rate)
                self.emit(
                    EventKind.FUNDING_PAYMENT, 0, symbol, -amount, rate, instrument.mark,
                    PositionSide.BOTH)
                self.change_insurance(
                    instrument.insurer, -amount, InsuranceReason.FUNDING, NONE)
                paid += amount
            books.rounding += paid
            self.retry_waiting()

        self.execute(Command.FUNDING, ts, run, symbol=symbol)

    @staticmethod
    def funding_owed(instrument: Instrument, quantity: int, rate: int) -> int:
        """What a position owes (negative: is owed); owed rounds up, a credit rounds down."""
        if quantity * rate > 0:
            return ceil_div(
                instrument.notional(abs(quantity), instrument.mark) * abs(rate), RATE_SCALE)
        return -floor_div(
            instrument.worth(abs(quantity), instrument.mark) * abs(rate), RATE_SCALE)

    # --- market-maker protection ------------------------------------------------------

    def set_protection(
        self, account: int, symbol: int, window: int, quantity: int, count: int, freeze: int,
        ts: int = NONE,
    ) -> None:
        """Set the limits of an account on a symbol (NONE: none); with neither, switch it off.

        Either way a freeze ends, and counting begins anew.
        """

        def run() -> None:
            is_on = (quantity, count) != (NONE, NONE)
            self.require(
                freeze >= 0 and (window > 0 or not is_on)
                and (quantity == NONE or is_positive(quantity))
                and (count == NONE or count > 0), RejectReason.MALFORMED,
            )
            instrument = self.find_instrument(symbol)
            legs = self.find_account(account).legs(instrument)
            self.require_trading(instrument)
            self.require(quantity != OFF_GRID, RejectReason.OFF_LOT)
            self.require(
                quantity != TOO_LARGE and quantity <= MONEY_MAX, RejectReason.OVERFLOW)
            limits = (window, quantity, count, freeze) if is_on else (NONE,) * 4
            protection = Protection(*limits) if is_on else None
            for leg in legs:
                leg.protection = protection
            self.emit(EventKind.PROTECTION_SET, account, symbol, *limits)

        self.execute(Command.PROTECTION, ts, run, account, symbol)

    # --- halts and time ---------------------------------------------------------------

    def halt(self, symbol: int, mode: int, ts: int = NONE) -> None:
        def run() -> None:
            instrument = self.find_trading(symbol)
            self.change_mode(instrument, HaltMode(mode), EventKind.HALTED, mode)

        self.execute(Command.HALT, ts, run, symbol=symbol)

    def resume(self, symbol: int, ts: int = NONE) -> None:
        def run() -> None:
            instrument = self.find_trading(symbol)
            self.change_mode(instrument, HaltMode.NONE, EventKind.RESUMED)

        self.execute(Command.RESUME, ts, run, symbol=symbol)

    def change_mode(
        self, instrument: Instrument, mode: HaltMode, kind: EventKind, *shown: int
    ) -> None:
        """Change a symbol's mode; trading begins with uncrossing what an auction gathered."""
        was_asleep = instrument.halt in ASLEEP
        instrument.halt = mode
        self.emit(kind, instrument.index, *shown)
        self.send(instrument, MarketKind.STATUS, detail=mode)
        if mode not in ASLEEP:
            self.uncross(instrument)
            if was_asleep:
                self.wake(instrument)
        self.retry_all()

    def advance(self, ts: int = NONE) -> None:
        self.execute(Command.TIME, ts, lambda: None)
