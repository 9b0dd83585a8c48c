"""Time: what expires, the dead man's switch, and multipliers that were announced."""

from __future__ import annotations

from engine.messages import MONEY_MAX, NONE, CancelReason, Command, EventKind, RejectReason
from engine.reference.delivery import Delivery
from engine.reference.margin import Multipliers, Schedule
from engine.reference.state import Account, Instrument, Order


class Timers(Delivery):
    """What happens by itself when time passes."""

    def pass_time(self, ts: int) -> None:
        """Let what is due by `ts` happen, each at its own time.

        Among equals orders expire first, then dead-man timers strike, then multipliers change,
        then contracts end; what the last two set off is worked off at that time.
        """
        due: list[tuple[int, int, int, Order | Account | Instrument]] = [
            (order.expire_ts, 0, order.arrival, order)
            for order in self.timed_orders if order.expire_ts <= ts
        ]
        due += [
            (account.dead_man_due, 1, account.id, account)
            for account in self.accounts.values() if NONE < account.dead_man_due <= ts
        ]
        due += [
            (instrument.announced.effective_ts, 2, instrument.index, instrument)
            for instrument in self.instruments
            if instrument.announced is not None and instrument.announced.effective_ts <= ts
        ]
        due += [
            (instrument.expiry_ts, 3, instrument.index, instrument)
            for instrument in self.instruments
            if NONE < instrument.expiry_ts <= ts and not instrument.is_over
        ]
        for at, kind, _, what in sorted(due, key=lambda entry: entry[:3]):
            if isinstance(what, Instrument):
                self.instrument_due(what, at, is_end=kind == 3)
            elif isinstance(what, Account):
                self.ts = at
                what.dead_man_due = NONE
                self.cancel_matching(what.id, NONE, NONE, CancelReason.DEAD_MAN)
            elif what in self.timed_orders:
                self.ts = at
                self.expire_order(what)

    def instrument_due(self, instrument: Instrument, at: int, *, is_end: bool) -> None:
        """Let a contract end, or its announced multipliers come, if it has not ended by then.

        Whom that breaches is liquidated then, not later.
        """
        if is_end:
            self.ts = at
            self.deliver(instrument, instrument.mark)
        elif instrument.announced is not None:
            self.ts = at
            self.change_multipliers(instrument, instrument.announced.multipliers)
        else:
            return
        self.settle()

    def change_multipliers(self, instrument: Instrument, multipliers: Multipliers) -> None:
        """Put multipliers into force; every holder is evaluated anew."""
        instrument.announced = None
        instrument.schedule = Schedule.build(
            instrument.schedule.rule, instrument.schedule.base, multipliers)
        self.emit(
            EventKind.MULTIPLIER_CHANGED, instrument.index, multipliers.maintenance,
            multipliers.initial)
        self.retry_all()

    def cancel_all_after(self, account: int, timeout: int, ts: int = NONE) -> None:
        """Cancel all orders of an account after `timeout` ns, unless it calls again; 0: never."""

        def run() -> None:
            self.require(
                timeout >= 0 and self.ts + timeout <= MONEY_MAX, RejectReason.MALFORMED)
            owner = self.find_account(account)
            owner.dead_man_due = self.ts + timeout if timeout else NONE
            self.emit(EventKind.CANCEL_ALL_AFTER, account, owner.dead_man_due)

        self.execute(Command.CANCEL_ALL_AFTER, ts, run, account)
