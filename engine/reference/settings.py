"""Commands that set how an account is margined and warned."""

from __future__ import annotations

from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    TOO_LARGE,
    Command,
    EventKind,
    PositionMode,
    RejectReason,
)
from engine.reference.core import Commands
from engine.reference.margin import Multipliers
from engine.reference.state import Account, Announced, Backstop, Rejected

#: Largest multiplier of a requirement.
MULTIPLIER_MAX = 100 * RATE_SCALE


class Settings(Commands):
    """Settings of accounts and instruments beyond the plain ones."""

    def set_margin_call_levels(
        self, account: int, levels: list[int], hysteresis: int = NONE, ts: int = NONE
    ) -> None:
        """Set at which margin ratios an account is called; its pools are looked at at once."""

        def run() -> None:
            chosen = self.chosen_calls(levels, hysteresis)
            self.find_account(account)
            self.emit_call_levels(account, chosen)
            self.replace_call_levels(account, chosen)

        self.execute(Command.MARGIN_CALL_LEVELS, ts, run, account)

    def set_margin_multiplier(
        self, symbol: int, maintenance: int, initial: int, effective_ts: int = NONE,
        ts: int = NONE,
    ) -> None:
        """Scale a symbol's requirements, now or at a time to come; earlier plans are dropped."""

        def run() -> None:
            self.require(
                0 < maintenance <= MULTIPLIER_MAX and RATE_SCALE <= initial <= MULTIPLIER_MAX
                and (effective_ts == NONE or 0 <= effective_ts <= MONEY_MAX),
                RejectReason.MALFORMED)
            instrument = self.find_instrument(symbol)
            multipliers = Multipliers(maintenance, initial)
            self.require(
                multipliers.fit(instrument.schedule.base, instrument.schedule.closing_fee),
                RejectReason.BAD_TIERS)
            self.require_trading(instrument)
            if effective_ts > self.ts:
                instrument.announced = Announced(effective_ts, multipliers)
                self.emit(
                    EventKind.MULTIPLIER_ANNOUNCED, symbol, maintenance, initial, effective_ts)
            else:
                self.change_multipliers(instrument, multipliers)

        self.execute(Command.MARGIN_MULTIPLIER, ts, run, symbol=symbol)

    def set_account_multiplier(self, account: int, multiplier: int, ts: int = NONE) -> None:
        """Multiply what an account must have for its positions, beside its symbols' multipliers."""

        def run() -> None:
            self.require(
                RATE_SCALE <= multiplier <= MULTIPLIER_MAX, RejectReason.MALFORMED)
            self.find_account(account).multiplier = multiplier
            self.emit(EventKind.ACCOUNT_MULTIPLIER_CHANGED, account, multiplier)
            self.retry_all()

        self.execute(Command.ACCOUNT_MULTIPLIER, ts, run, account)

    def transfer(
        self, account: int, to: int, asset: int, amount: int, ts: int = NONE
    ) -> None:
        """Move money between the wallets of a family: an account and its sub-accounts."""

        def run() -> None:
            self.require(
                (amount > 0 or amount == TOO_LARGE) and account != to, RejectReason.MALFORMED)
            self.require(0 <= asset < len(self.assets), RejectReason.UNKNOWN_ASSET)
            giver, taker = self.find_account(account), self.find_account(to)
            self.require(self.head_of(giver) == self.head_of(taker), RejectReason.NOT_RELATED)
            source, target = giver.wallet(asset), taker.wallet(asset)
            self.require(not self.is_locked(source), RejectReason.ACCOUNT_LIQUIDATING)
            available = self.withdrawable(source)
            if amount == TOO_LARGE or amount > available:
                raise Rejected(RejectReason.INSUFFICIENT_BALANCE, amount, available)
            self.require(target.balance + amount <= MONEY_MAX, RejectReason.OVERFLOW)
            source.balance -= amount
            target.balance += amount
            self.touch(source)
            self.touch(target)
            self.emit(EventKind.TRANSFER, account, to, asset, amount)

        self.execute(Command.TRANSFER, ts, run, account, asset=asset)

    @staticmethod
    def head_of(account: Account) -> int:
        """Id of the account at the head of a family."""
        return account.id if account.parent == NONE else account.parent

    def set_auto_top_up(self, account: int, symbol: int, enabled: bool, ts: int = NONE) -> None:
        """Whether the wallet saves the account's isolated position of a symbol."""

        def run() -> None:
            instrument = self.find_instrument(symbol)
            legs = self.find_account(account).legs(instrument)
            self.require_trading(instrument)
            for leg in legs:
                leg.auto_top_up = bool(enabled)
            self.emit(EventKind.AUTO_TOP_UP_SET, account, symbol, enabled)

        self.execute(Command.AUTO_TOP_UP, ts, run, account, symbol)

    def set_position_mode(self, account: int, mode: int, ts: int = NONE) -> None:
        """Change between one position a symbol and two legs; settings go along."""

        def run() -> None:
            owner = self.find_account(account)
            self.require(
                all(self.is_idle(each) for each in owner.positions.values()),
                RejectReason.POSITION_OPEN)
            owner.position_mode = PositionMode(mode)
            settings = {each.symbol: each for each in owner.positions.values()}
            owner.positions.clear()
            for symbol, old in settings.items():
                for leg in owner.legs(self.instruments[symbol]):
                    leg.leverage, leg.margin_mode = old.leverage, old.margin_mode
                    leg.protection, leg.auto_top_up = old.protection, old.auto_top_up
            self.emit(EventKind.POSITION_MODE_CHANGED, account, mode)

        self.execute(Command.POSITION_MODE, ts, run, account)

    def set_backstop(
        self, account: int, asset: int, symbol: int, commitment: int, discount: int = NONE,
        ts: int = NONE,
    ) -> None:
        """Let an account promise to take over, up to a notional; 0 ends it.

        Of a symbol, or of all that settle in an asset: the other is NONE.
        """

        def run() -> None:
            self.require(
                (commitment >= 0 or commitment == TOO_LARGE) and (asset == NONE) != (symbol == NONE)
                and (discount == NONE or 0 <= discount < RATE_SCALE), RejectReason.MALFORMED)
            self.require(
                asset == NONE or 0 <= asset < len(self.assets), RejectReason.UNKNOWN_ASSET)
            if symbol != NONE:
                instrument = self.find_instrument(symbol)
            self.find_account(account)
            if symbol != NONE:
                self.require_trading(instrument)
            self.require(0 <= commitment <= MONEY_MAX, RejectReason.OVERFLOW)
            key = (account, asset, symbol)
            self.backstops.pop(key, None)
            if commitment:
                self.backstops[key] = Backstop(*key, commitment, discount)
            self.emit(EventKind.BACKSTOP_SET, *key, commitment, discount)
            self.retry_all()

        self.execute(Command.BACKSTOP, ts, run, account, symbol, asset=asset)
