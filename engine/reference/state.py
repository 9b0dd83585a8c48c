"""What the reference model remembers: assets, instruments, accounts, pools, positions, orders."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.messages import (
    NONE,
    HaltMode,
    MarginMode,
    OrderType,
    RejectReason,
    Side,
    StpMode,
    TimeInForce,
)
from engine.reference.book import Book
from engine.reference.margin import Schedule

#: Margin-call levels (margin_ratio, 1e-8 units) and the hysteresis under which they clear.
MARGIN_CALL_LEVELS = (80_000_000,)
MARGIN_CALL_HYSTERESIS = 5_000_000
#: A pool leaves liquidation when margin_ratio is under 1 by this much (1e-8 units).
EXIT_BUFFER = 0
#: How many waiting pools an ordinary command looks at again, those that waited longest first.
RETRIES_PER_COMMAND = 32
#: Leverage of an account that never set one: this, or tier 1's maximum if that is less.
DEFAULT_LEVERAGE = 20 * 10**8


class Rejected(Exception):
    """Raised while a command is still being validated; nothing has changed yet."""

    def __init__(self, reason: RejectReason, needed: int = NONE, limit: int = NONE) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.needed = needed
        self.limit = limit


@dataclass
class Asset:
    deposits: int = 0
    withdrawals: int = 0
    insurance: int = 0
    fees: int = 0
    rounding: int = 0
    external: int = 0


@dataclass
class HousePosition:
    """A position of the insurance fund or of the external account."""

    quantity: int = 0
    entry_value: int = 0


@dataclass
class Instrument:
    index: int
    settle: int  # asset index
    marks_per_tick: int  # mark ticks in one tick
    unit_value: int  # minor units of one lot at a price of one mark tick
    maker_fee: int
    taker_fee: int
    liquidation_fee: int
    price_band: int  # 1e-8 of mark, NONE: no band
    max_order_quantity: int  # lots, NONE: no limit
    max_open_orders: int  # NONE: no limit
    schedule: Schedule
    mark: int = NONE
    index_price: int = NONE
    feed_seq: int = NONE
    last_price: int = NONE
    halt: HaltMode = HaltMode.NONE
    book: Book = field(default_factory=Book)
    fund: HousePosition = field(default_factory=HousePosition)
    external: HousePosition = field(default_factory=HousePosition)

    def value(self, quantity: int, mark: int) -> int:
        """Value of `quantity` lots at `mark` mark ticks, in minor units; exact."""
        return quantity * mark * self.unit_value

    def value_at_tick(self, quantity: int, price: int) -> int:
        return self.value(quantity, price * self.marks_per_tick)


@dataclass(eq=False)
class Order:
    account: int
    symbol: int
    order_id: int
    side: Side
    type: OrderType
    price: int  # ticks; NONE for a market order
    quantity: int  # lots, total
    leaves: int  # lots, open
    time_in_force: TimeInForce
    post_only: bool
    reduce_only: bool
    stp: StpMode

    @property
    def filled(self) -> int:
        return self.quantity - self.leaves


@dataclass(eq=False)
class Pool:
    """What is margined together: an account's cross pool in one asset, or one isolated position."""

    account: int
    asset: int
    symbol: int  # NONE for a cross pool
    balance: int = 0  # the wallet of a cross pool, the isolated margin of a position
    call_level: int = 0  # margin-call levels reached
    in_queue: bool = False
    is_waiting: bool = False  # in the queue, but nothing more can be done for now
    has_stuck: bool = False  # has waited since it entered the queue
    is_bankrupt: bool = False  # flat with a deficit that the fund did not cover whole
    steps: int = 0


@dataclass(eq=False)
class Position:
    account: int
    symbol: int
    isolated: Pool
    quantity: int = 0
    entry_value: int = 0
    leverage: int = 0  # 0: the default
    margin_mode: MarginMode = MarginMode.CROSS
    orders: dict[int, Order] = field(default_factory=dict)  # in order of acceptance


@dataclass(eq=False)
class Account:
    id: int
    margin_mode: MarginMode
    wallets: dict[int, Pool] = field(default_factory=dict)  # by asset
    positions: dict[int, Position] = field(default_factory=dict)  # by symbol
    orders: dict[int, Order] = field(default_factory=dict)  # live, of all symbols

    def wallet(self, asset: int) -> Pool:
        if asset not in self.wallets:
            self.wallets[asset] = Pool(self.id, asset, NONE)
        return self.wallets[asset]

    def position(self, instrument: Instrument) -> Position:
        symbol = instrument.index
        if symbol not in self.positions:
            isolated = Pool(self.id, instrument.settle, symbol)
            self.positions[symbol] = Position(
                self.id, symbol, isolated, margin_mode=self.margin_mode)
        return self.positions[symbol]
