"""Time: what expires, the dead man's switch, and multipliers that were announced."""

from __future__ import annotations

from engine.messages import MONEY_MAX, NONE, CancelReason, Command, EventKind, RejectReason
from engine.reference.delivery import Delivery
from engine.reference.margin import Multipliers
from engine.reference.state import Account, Instrument, Order


class Timers(Delivery):
    """What happens by itself when time passes."""

    def pass_time(self, ts: int) -> None:
        """Let what is due by `ts` happen, each at its own time.

        At one moment orders expire first, then dead-man timers strike, then multipliers change,
        then contracts end, then cooldowns and pauses, all at once; what all but the first two
        set off is worked off at that time.
        """
        while True:
            due: list[tuple[int, int, int, Order | Account | Instrument | None]] = [
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
            due += [
                (pool.cooldown_until, 4, 0, None)
                for pool in self.all_pools() if pool.is_cooling and pool.cooldown_until <= ts
            ]
            due += [
                (pool.paused_until, 4, 0, None)
                for pool in self.all_pools() if NONE < pool.paused_until <= ts
            ]
            if not due:
                break
            self.ts, kind, _, what = min(due, key=lambda entry: entry[:3])
            if isinstance(what, Order):
                self.expire_order(what)
            elif isinstance(what, Instrument):
                self.instrument_due(what, is_end=kind == 3)
            elif isinstance(what, Account):
                what.dead_man_due = NONE
                self.cancel_matching(what.id, NONE, NONE, CancelReason.DEAD_MAN)
            else:
                self.end_cooldowns()

    def end_cooldowns(self) -> None:
        """Work on the pools whose cooldown or pause ends now."""
        for pool in self.all_pools():
            if pool.is_cooling and pool.cooldown_until == self.ts:
                pool.is_cooling = False
                self.stop_waiting(pool)
            if pool.paused_until == self.ts:
                pool.paused_until = NONE
                self.stop_waiting(pool)
        self.settle()

    def instrument_due(self, instrument: Instrument, *, is_end: bool) -> None:
        """Let a contract end, or its announced multipliers come.

        Whom that breaches is liquidated then, not later.
        """
        if is_end:
            self.deliver(instrument, instrument.mark)
        else:
            assert instrument.announced is not None
            self.change_multipliers(instrument, instrument.announced.multipliers)
        self.settle()

    def change_multipliers(self, instrument: Instrument, multipliers: Multipliers) -> None:
        """Put multipliers into force; every holder is evaluated anew."""
        instrument.announced = None
        instrument.schedule = instrument.schedule.rebuild(multipliers=multipliers)
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
