"""Conditional orders: where they wait, what sets them off, and in which order."""

from __future__ import annotations

from engine.messages import NONE, TriggerBy
from engine.reference.ledger import Ledger
from engine.reference.state import ASLEEP, Instrument, Order, Stage
from engine.reference.trigger_file import TriggerFile, follow, is_satisfied


class Triggers(Ledger):
    """The ledger, and the orders that wait for a price."""

    @staticmethod
    def reference_price(instrument: Instrument, by: TriggerBy) -> int:
        """The price that triggers look at, in mark ticks, NONE where there is none yet."""
        if by is TriggerBy.MARK:
            return instrument.mark
        if by is TriggerBy.INDEX:
            return instrument.index_price
        last = instrument.last_price
        return NONE if last == NONE else last * instrument.marks_per_tick

    def file_of(self, order: Order) -> TriggerFile:
        return self.instruments[order.symbol].triggers[TriggerBy(order.trigger_by)]

    def let_wait(self, order: Order) -> None:
        """File an untriggered order, or collect it where its condition is met already.

        A trailing stop sees the current price first. While the symbol is asleep nothing is
        looked at.
        """
        instrument = self.instruments[order.symbol]
        reference = self.reference_price(instrument, TriggerBy(order.trigger_by))
        order.stage = Stage.PENDING
        if reference != NONE and instrument.halt not in ASLEEP:
            follow(order, reference)
            if is_satisfied(order, reference):
                self.collect([order])
                return
        self.file_of(order).add(order)

    def collect(self, orders: list[Order]) -> None:
        """Note orders that were set off; they are activated when all else has settled."""
        for order in orders:
            order.stage = Stage.TRIGGERED
        self.collected += orders

    def evaluate_triggers(self, instrument: Instrument, by: TriggerBy) -> None:
        """Collect what the current price of one kind sets off."""
        reference = self.reference_price(instrument, by)
        if reference != NONE and instrument.halt not in ASLEEP:
            self.collect(instrument.triggers[by].take_due(reference))

    def wake(self, instrument: Instrument) -> None:
        """Look at all reference prices again after a sleep."""
        for by in (TriggerBy.MARK, TriggerBy.LAST, TriggerBy.INDEX):
            self.evaluate_triggers(instrument, by)

    def next_triggered(self) -> Order | None:
        """The order to be activated next: by arrival within what was collected together."""
        self.triggered.extend(sorted(self.collected, key=lambda order: order.arrival))
        self.collected.clear()
        while self.triggered:
            order = self.triggered.popleft()
            if order.stage is Stage.TRIGGERED:  # it may have been cancelled meanwhile
                return order
        return None

    def take_out(self, order: Order) -> None:
        """Take an order from where it rests or waits; it is the caller's then."""
        if order.stage is Stage.RESTING:
            self.take_off(order)
        elif order.stage is Stage.PENDING:
            self.file_of(order).remove(order)
            order.stage = Stage.TAKING
