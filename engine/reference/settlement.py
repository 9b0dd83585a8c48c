"""What a command sets off: liquidations, pulled quotes, brackets, activations, in this order."""

from __future__ import annotations

from engine.reference.orders import OrderEntry
from engine.reference.state import NO_LIQUIDATION


class Settlement(OrderEntry):
    """The end of every accepted command."""

    def settle(self) -> None:
        """Work off everything that the command set off, then report what changed."""
        self.begin_turns()
        self.work_off()
        for instrument in self.marked:
            if instrument.fund.quantity and instrument.halt not in NO_LIQUIDATION:
                self.reduce_inventory(instrument)
                self.work_off()
        self.marked.clear()
        self.flush_changes()

    def work_off(self) -> None:
        """Let risk come first, then activate triggered orders one at a time."""
        while True:
            self.work_off_queue()
            is_busy = self.carry_out_protection()
            is_busy |= self.arm_brackets()
            order = self.next_triggered()
            if order is not None:
                self.activate(order)
            elif not is_busy:
                break
