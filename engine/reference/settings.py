"""Commands that set how an account is margined and warned."""

from __future__ import annotations

from engine.messages import MONEY_MAX, NONE, RATE_SCALE, Command, EventKind, RejectReason
from engine.reference.core import Commands
from engine.reference.margin import Multipliers
from engine.reference.state import Announced

#: Largest multiplier of a requirement.
MULTIPLIER_MAX = 100 * RATE_SCALE


class Settings(Commands):
    """Settings of accounts and instruments beyond the plain ones."""

    def set_margin_call_levels(
        self, account: int, levels: list[int], hysteresis: int = NONE, ts: int = NONE
    ) -> None:
        """Set at which margin ratios an account is called; its pools are looked at at once."""

        def run() -> None:
            chosen = self.check_call_levels(levels, hysteresis)
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
            self.require(multipliers.fit(instrument.schedule.base), RejectReason.BAD_TIERS)
            if effective_ts > self.ts:
                instrument.announced = Announced(effective_ts, multipliers)
                self.emit(
                    EventKind.MULTIPLIER_ANNOUNCED, symbol, maintenance, initial, effective_ts)
            else:
                self.change_multipliers(instrument, multipliers)

        self.execute(Command.MARGIN_MULTIPLIER, ts, run, symbol=symbol)
