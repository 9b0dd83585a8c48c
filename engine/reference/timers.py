"""Time: orders that expire, and the dead man's switch that cancels all of an account's."""

from __future__ import annotations

from engine.messages import MONEY_MAX, NONE, CancelReason, Command, EventKind, RejectReason
from engine.reference.settlement import Settlement
from engine.reference.state import Account, Order


class Timers(Settlement):
    """What happens by itself when time passes."""

    def pass_time(self, ts: int) -> None:
        """Let what is due by `ts` happen, each at its own time; expiries first among equals."""
        due: list[tuple[int, int, int, Order | Account]] = [
            (order.expire_ts, 0, order.arrival, order)
            for order in self.timed_orders if order.expire_ts <= ts
        ]
        due += [
            (account.dead_man_due, 1, account.id, account)
            for account in self.accounts.values() if NONE < account.dead_man_due <= ts
        ]
        for at, _, _, what in sorted(due, key=lambda entry: entry[:3]):
            if isinstance(what, Account):
                self.ts = at
                what.dead_man_due = NONE
                self.cancel_matching(what.id, NONE, NONE, CancelReason.DEAD_MAN)
            elif what in self.timed_orders:
                self.ts = at
                self.expire_order(what)

    def cancel_all_after(self, account: int, timeout: int, ts: int = NONE) -> None:
        """Cancel all orders of an account after `timeout` ns, unless it calls again; 0: never."""

        def run() -> None:
            self.require(
                timeout >= 0 and self.ts + timeout <= MONEY_MAX, RejectReason.MALFORMED)
            owner = self.find_account(account)
            owner.dead_man_due = self.ts + timeout if timeout else NONE
            self.emit(EventKind.CANCEL_ALL_AFTER, account, owner.dead_man_due)

        self.execute(Command.CANCEL_ALL_AFTER, ts, run, account)
