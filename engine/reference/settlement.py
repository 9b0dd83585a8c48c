"""What a command sets off: liquidations, pulled quotes, brackets, activations, in this order."""

from __future__ import annotations

from engine.messages import NONE, RATE_SCALE, EventKind, PauseReason
from engine.reference.orders import OrderEntry
from engine.reference.state import Instrument


class Settlement(OrderEntry):
    """The end of every accepted command."""

    def settle(self) -> None:
        """Work off everything that the command set off, then report what changed."""
        self.watch_marks()
        self.review_offers()
        self.begin_turns()
        self.work_off()
        for instrument in self.marked:
            if instrument.fund.quantity and self.liquidates(instrument):
                self.reduce_inventory(instrument)
                self.work_off()
        self.marked.clear()
        self.flush_changes()

    def watch_marks(self) -> None:
        """Pause the liquidations of symbols whose mark is stale or out of its band, or go on."""
        for instrument in self.instruments:
            reason = self.pause_reason(instrument)
            if reason is instrument.pause:
                continue
            instrument.pause = reason
            if reason:
                self.emit(EventKind.LIQUIDATIONS_PAUSED, instrument.index, reason)
            else:
                self.emit(EventKind.LIQUIDATIONS_RESUMED, instrument.index)
                self.retry_all()

    def pause_reason(self, instrument: Instrument) -> PauseReason:
        """What is wrong with a symbol's mark."""
        if instrument.mark == NONE or instrument.is_over:
            return PauseReason.NONE
        if instrument.mark_max_age != NONE and (
                self.ts - instrument.mark_ts > instrument.mark_max_age):
            return PauseReason.STALE
        if instrument.mark_band != NONE and instrument.index_price != NONE:
            away = abs(instrument.mark - instrument.index_price)
            if away * RATE_SCALE > instrument.mark_band * instrument.index_price:
                return PauseReason.OUT_OF_BAND
        return PauseReason.NONE

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
