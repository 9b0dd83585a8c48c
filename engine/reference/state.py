"""What the reference model remembers: assets, instruments, accounts, pools, positions, orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from engine.messages import (
    NONE,
    RATE_SCALE,
    CallLevels,
    ContractKind,
    HaltMode,
    MarginMode,
    OrderType,
    PauseReason,
    PositionMode,
    PositionSide,
    Profile,
    RejectReason,
    Side,
    StpMode,
    TimeInForce,
    TriggerBy,
)
from engine.reference.book import Book
from engine.reference.collateral import Collateral
from engine.reference.margin import Multipliers, Schedule, ceil_div, floor_div
from engine.reference.reserve import Reserve
from engine.reference.trigger_file import TriggerFile

#: How many waiting pools an ordinary command looks at again, those that waited longest first.
RETRIES_PER_COMMAND = 32
#: Leverage of an account that never set one: this, or tier 1's maximum if that is less.
DEFAULT_LEVERAGE = 20 * 10**8
#: Most parts in which an iceberg may be shown.
ICEBERG_PARTS = 100

MARKET_TYPES = (
    OrderType.MARKET, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET,
    OrderType.TRAILING_STOP_MARKET,
)
#: Halts under which nothing is triggered.
ASLEEP = (HaltMode.CANCEL_ONLY, HaltMode.ALL, HaltMode.AUCTION)
#: Halts under which nothing is liquidated.
NO_LIQUIDATION = (HaltMode.NO_LIQUIDATION, HaltMode.ALL, HaltMode.AUCTION)


#: Of a profile without any.
DEFAULT_CALL_LEVELS = CallLevels()


class Rejected(Exception):
    """Raised while a command is still being validated; nothing has changed yet."""

    def __init__(self, reason: RejectReason, needed: int = NONE, limit: int = NONE) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.needed = needed
        self.limit = limit


@dataclass(eq=False)
class InsuranceFund:
    """Money that backs the symbols of one settle asset, or some of them."""

    asset: int
    number: int = NONE  # by order of its first mention; NONE: the asset's pooled fund
    balance: int = 0
    # Where a profile limits its losses: (until when, balance), oldest first.
    history: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Asset:
    pooled: InsuranceFund
    deposits: int = 0
    withdrawals: int = 0
    fees: int = 0
    rounding: int = 0
    external: int = 0
    collateral: Collateral | None = None  # where it counts in another asset's pools


@dataclass
class HousePosition:
    """A position of the insurance fund or of the external account."""

    quantity: int = 0
    entry_value: int = 0


@dataclass
class Workoff:
    """How far the fund is with its inventory of a symbol, where a profile sets it a pace."""

    lots: int = 0  # its inventory when it last took something over, 0: none yet
    interval: int = 0  # number of the latest one in which it offered some, since the epoch
    done: int = 0  # lots traded in that
    mark: int = 0  # by which its resting order was priced


@dataclass(eq=False)
class Backstop:
    """What an account has promised to take over: of one symbol, or of a settle asset's."""

    account: int
    asset: int  # NONE: of a symbol
    symbol: int  # NONE: of an asset
    commitment: int  # notional at the mark
    discount: int  # 1e-8 of the mark, NONE: at the bound
    used: int = 0  # notional taken over so far


@dataclass
class Instrument:
    index: int
    settle: int  # asset index
    marks_per_tick: int  # mark ticks in one tick
    unit_value: int  # minor units of one lot at a price of one mark tick; inverse: times the mark
    maker_fee: int
    taker_fee: int
    liquidation_fee: int
    price_band: int  # 1e-8 of mark, NONE: no band
    max_order_quantity: int  # lots, NONE: no limit
    max_open_orders: int  # NONE: no limit
    min_order_quantity: int  # lots, NONE: no limit
    min_order_notional: int  # minor units, NONE: no limit
    max_order_notional: int  # minor units, NONE: no limit
    schedule: Schedule
    profile: Profile
    insurer: InsuranceFund
    kind: ContractKind = ContractKind.LINEAR
    announced: Announced | None = None
    expiry_ts: int = NONE
    is_over: bool = False  # it has been settled
    mark: int = NONE
    index_price: int = NONE
    feed_seq: int = NONE
    last_price: int = NONE
    last_trade_seq: int = NONE  # of the command of that trade; no part of the digest
    halt: HaltMode = HaltMode.NONE
    book: Book = field(default_factory=Book)
    reserved_lots: int = 0  # open lots on the book but for reduce-only orders
    reduce_only_lots: int = 0  # open lots on the book of reduce-only orders
    is_published: bool = False  # market data is on; no part of the state
    market_seq: int = 0  # market-data messages so far
    triggers: dict[TriggerBy, TriggerFile] = field(
        default_factory=lambda: {by: TriggerFile() for by in TriggerBy})
    fund: HousePosition = field(default_factory=HousePosition)
    external: HousePosition = field(default_factory=HousePosition)
    mark_max_age: int = NONE  # ns after which a mark is stale, NONE: never
    mark_band: int = NONE  # 1e-8 of the index price that a mark may be away from it
    mark_ts: int = NONE  # when the latest mark came
    pause: PauseReason = PauseReason.NONE  # why nothing is liquidated for now
    steps_taken: int = 0  # by the command under way, where the profile bounds them
    slices_since: int = 0  # start of the latest interval in which slices were closed
    slices_taken: int = 0  # notional closed in it
    workoff: Workoff = field(default_factory=Workoff)
    offer: Order | None = None  # the fund's resting order
    call_levels: CallLevels = DEFAULT_CALL_LEVELS  # of the profile

    @property
    def is_inverse(self) -> bool:
        return self.kind is ContractKind.INVERSE

    @property
    def value_side(self) -> Side:
        """The side whose trades add value to a position: a linear long's, an inverse short's."""
        return Side.SELL if self.is_inverse else Side.BUY

    def signed_value(self, side: Side, value: int) -> int:
        """What a trade of this side and size adds to the value of a position."""
        return value if side is self.value_side else -value

    def worth(self, lots: int, mark: int) -> int:
        """What lots trade for at `mark` mark ticks, in minor units; inverse: toward zero."""
        if self.is_inverse:
            return floor_div(lots * self.unit_value, mark)
        return lots * mark * self.unit_value

    def worth_at_tick(self, lots: int, price: int) -> int:
        return self.worth(lots, price * self.marks_per_tick)

    def notional(self, lots: int, mark: int) -> int:
        """Size of lots in money at `mark` mark ticks, as requirements take it: rounded up."""
        if self.is_inverse:
            return ceil_div(lots * self.unit_value, mark)
        return lots * mark * self.unit_value

    def notional_at_tick(self, lots: int, price: int) -> int:
        return self.notional(lots, price * self.marks_per_tick)

    def value(self, quantity: int, mark: int) -> int:
        """Value of a signed position; an inverse long owes its worth, an inverse short has it."""
        if self.is_inverse:
            return (-1 if quantity > 0 else 1) * self.worth(abs(quantity), mark)
        return quantity * mark * self.unit_value

    def is_losing(self, side: Side, price: int) -> bool:
        """Whether a trade at a price (ticks) loses against the mark."""
        marks = price * self.marks_per_tick
        return marks > self.mark if side is Side.BUY else marks < self.mark

    def loss(self, side: Side, lots: int, price: int) -> int:
        """What trading lots at a price (ticks) loses against the mark, rounded up."""
        if not self.is_losing(side, price):
            return 0
        if side is self.value_side:
            return self.notional_at_tick(lots, price) - self.worth(lots, self.mark)
        return self.notional(lots, self.mark) - self.worth_at_tick(lots, price)


class Announced(NamedTuple):
    """Multipliers that are to come."""

    effective_ts: int
    multipliers: Multipliers


class Stage(Enum):
    """Where an order is in its life."""

    PENDING = auto()  # conditional and untriggered
    TRIGGERED = auto()  # waits for its activation, inside the command that set it off
    TAKING = auto()  # about to be entered, or sweeping the book
    RESTING = auto()
    DEAD = auto()


class Attached(NamedTuple):
    """A take profit or stop loss that waits for its entry's first fill; only its id is taken."""

    order_id: int
    trigger_price: int  # mark ticks
    trigger_by: TriggerBy
    price: int  # ticks, NONE: a market order


class OrderKind:
    """What follows from an order's type and time in force, asked for or taken."""

    type: int
    time_in_force: int

    @property
    def is_market(self) -> bool:
        return self.type in MARKET_TYPES

    @property
    def is_conditional(self) -> bool:
        return self.type not in (OrderType.LIMIT, OrderType.MARKET)

    @property
    def may_rest(self) -> bool:
        return not self.is_market and self.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)


@dataclass(eq=False)
class Order(OrderKind):
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
    trigger_price: int = NONE  # mark ticks; of a trailing stop: from where on it is active
    trigger_by: int = NONE  # a `TriggerBy` of every conditional order
    callback_rate: int = NONE  # 1e-8 units, of a trailing stop
    display_quantity: int = NONE  # lots, of an iceberg
    expire_ts: int = NONE
    close_position: bool = False
    oco: int = NONE  # number of its one-cancels-other group
    parent: int = NONE  # a bracket's child: order id of the entry
    position_side: PositionSide = PositionSide.BOTH  # the position that its fills go to
    arrival: int = 0  # number among all accepted orders
    stage: Stage = Stage.TAKING
    shown: int = 0  # lots left of the part that an iceberg shows
    peak: int = NONE  # mark ticks, of an active trailing stop: the best price since
    group: Group | None = None
    bracket: Bracket | None = None  # of which it is the entry or a child

    @property
    def filled(self) -> int:
        return self.quantity - self.leaves

    @property
    def displayed(self) -> int:
        """Lots on show in the book; what is taken off otherwise than by trades is hidden first."""
        if self.stage is not Stage.RESTING:
            return 0
        return self.leaves if self.display_quantity == NONE else min(self.shown, self.leaves)

    @property
    def hidden(self) -> int:
        return self.leaves - self.displayed if self.stage is Stage.RESTING else 0

    @property
    def is_waiting(self) -> bool:
        """Whether it is conditional and not activated yet."""
        return self.stage in (Stage.PENDING, Stage.TRIGGERED)

    @property
    def is_bound(self) -> bool:
        """Whether it goes with the position even while it waits."""
        return self.close_position or self.parent != NONE


@dataclass(eq=False)
class Group:
    """Orders of which one cancels the other; a bracket's children form one without a number."""

    number: int  # NONE for a bracket's
    members: list[Order] = field(default_factory=list)  # in order of arrival


@dataclass(eq=False)
class Bracket:
    """An entry with its take profit and stop loss."""

    entry: Order
    take_profit: Attached | None  # None: not wanted, or armed
    stop_loss: Attached | None
    armed_lots: int = 0
    armed_take_profit: Order | None = None
    armed_stop_loss: Order | None = None
    is_over: bool = False  # the entry's further fills change nothing

    @property
    def children(self) -> list[Order]:
        """The armed children, dead or alive, take profit first."""
        both = (self.armed_take_profit, self.armed_stop_loss)
        return [child for child in both if child is not None]


@dataclass(eq=False)
class Protection:
    """Market-maker protection: how much may trade against the maker in a window of time."""

    window: int  # ns
    quantity: int  # lots, NONE: no limit
    count: int  # trades, NONE: no limit
    freeze: int  # ns, 0: until it is set anew
    start: int = NONE  # of the window that is open
    lots: int = 0
    trades: int = 0
    frozen_until: int = 0  # MONEY_MAX: for good


@dataclass(eq=False)
class Pool:
    """What is margined together: an account's cross pool in one asset, or one isolated position."""

    account: int
    asset: int
    symbol: int  # NONE for a cross pool
    leg: PositionSide = PositionSide.BOTH  # of an isolated position
    balance: int = 0  # the wallet of a cross pool, the isolated margin of a position
    call_level: int = 0  # margin-call levels reached
    call_levels: CallLevels = DEFAULT_CALL_LEVELS  # of these
    in_queue: bool = False
    is_waiting: bool = False  # in the queue, but nothing more can be done for now
    has_stuck: bool = False  # has waited since it entered the queue
    is_bankrupt: bool = False  # flat with a deficit that the fund did not cover whole
    steps: int = 0
    cooldown_until: int = NONE  # since it entered the queue: of its latest fraction
    is_cooling: bool = False  # that has not come yet
    turn: int = 0  # when it entered the queue or had its latest bounded step; lower goes first
    is_postponed: bool = False  # in the queue, until the next command
    paused_until: int = NONE  # of slices and ramps; holds while there is equity
    is_patient: bool = False  # it waits, but only while there is equity
    ramp_since: int = NONE  # since it entered the queue: when a ramp first closed lots
    #: Lots that its ramps closed since then, by symbol and leg.
    ramped: dict[tuple[int, PositionSide], int] = field(default_factory=dict)


@dataclass(eq=False)
class Position:
    account: int
    symbol: int
    leg: PositionSide
    isolated: Pool
    quantity: int = 0
    entry_value: int = 0
    leverage: int = 0  # 0: the default
    margin_mode: MarginMode = MarginMode.CROSS
    orders: dict[int, Order] = field(default_factory=dict)  # in order of acceptance
    resting: dict[Order, None] = field(default_factory=dict)  # those on the book
    reserves: dict[Side, Reserve] = field(
        default_factory=lambda: {side: Reserve(side) for side in Side})  # but for reduce-only
    bound: dict[Order, None] = field(default_factory=dict)  # those that go with the position
    groups: dict[int, Group] = field(default_factory=dict)  # one-cancels-other, by number
    protection: Protection | None = None
    auto_top_up: bool = False  # its isolated margin, before it would be liquidated


#: Positions of an account in a symbol, by position mode.
LEGS = {
    PositionMode.ONE_WAY: (PositionSide.BOTH,),
    PositionMode.HEDGE: (PositionSide.LONG, PositionSide.SHORT),
}


@dataclass(eq=False)
class Account:
    id: int
    margin_mode: MarginMode
    stp_group: int = NONE
    position_mode: PositionMode = PositionMode.ONE_WAY
    dead_man_due: int = NONE  # when all its orders are cancelled
    call_levels: CallLevels | None = None  # its own, which come before those of profiles
    parent: int = NONE  # id of the account that it is a sub-account of
    multiplier: int = RATE_SCALE  # of what it must have for its positions; 1 at least
    wallets: dict[int, Pool] = field(default_factory=dict)  # by asset
    #: By symbol and leg; settings of the symbol are the same in both legs.
    positions: dict[tuple[int, PositionSide], Position] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)  # live, of all symbols
    reserved: set[int] = field(default_factory=set)  # ids of unarmed children

    def wallet(self, asset: int) -> Pool:
        if asset not in self.wallets:
            self.wallets[asset] = Pool(self.id, asset, NONE)
        return self.wallets[asset]

    def position(self, instrument: Instrument, leg: PositionSide) -> Position:
        """The position that orders of a leg trade for; the legs come into being together."""
        self.legs(instrument)
        return self.positions[instrument.index, leg]

    def legs(self, instrument: Instrument) -> list[Position]:
        """The positions in a symbol, open or not: one, or long and short."""
        symbol, legs = instrument.index, LEGS[self.position_mode]
        for leg in legs:
            if (symbol, leg) not in self.positions:
                isolated = Pool(self.id, instrument.settle, symbol, leg)
                self.positions[symbol, leg] = Position(
                    self.id, symbol, leg, isolated, margin_mode=self.margin_mode)
        return [self.positions[symbol, leg] for leg in legs]
