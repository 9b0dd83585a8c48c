"""The vocabulary of the seam: enumerations and event layouts, all integers.

Both implementations of the core (`engine.core`, compiled, and `engine.reference`,
plain Python) speak in these numbers, and nothing else crosses the seam: no
strings, no decimals, no floats. What a number means to a person (a decimal
string, a symbol's name) is the business of `engine.exchange` and `engine.render`.

Codes are part of the journal and wire formats: append, never renumber.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

#: Absent value in an event payload or an optional integer argument.
NONE = -(2**63)
#: A decimal that was not a multiple of its tick, lot or minor unit.
OFF_GRID = NONE + 1
#: A decimal whose scaled integer does not fit the engine's money range.
TOO_LARGE = NONE + 2

#: Scale of rates (fees, margin rates, leverage, margin-call levels): 1e-8 units.
RATE_SCALE = 10**8
#: Largest magnitude of a stored amount of money, a notional or a quantity.
MONEY_MAX = 2**62


class Side(IntEnum):
    BUY = 0
    SELL = 1


class OrderType(IntEnum):
    LIMIT = 0
    MARKET = 1
    STOP_MARKET = 2
    STOP_LIMIT = 3
    TAKE_PROFIT_MARKET = 4
    TAKE_PROFIT_LIMIT = 5
    TRAILING_STOP_MARKET = 6


class TimeInForce(IntEnum):
    GTC = 0
    IOC = 1
    FOK = 2
    GTD = 3


class TriggerBy(IntEnum):
    """The price that sets a conditional order off."""

    MARK = 0
    LAST = 1
    INDEX = 2


class StpMode(IntEnum):
    """Self-trade prevention; the taker's mode decides."""

    NONE = 0
    CANCEL_TAKER = 1
    CANCEL_MAKER = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class OrderStatus(IntEnum):
    OPEN = 0
    PARTIALLY_FILLED = 1
    FILLED = 2
    PENDING = 3


class MarginMode(IntEnum):
    CROSS = 0
    ISOLATED = 1


class ContractKind(IntEnum):
    """What a contract pays: a linear one in proportion to the price, an inverse one to 1/price."""

    LINEAR = 0
    INVERSE = 1


class PositionMode(IntEnum):
    ONE_WAY = 0
    HEDGE = 1


class PositionSide(IntEnum):
    """A position of an account in a symbol: the only one, or one of a hedge account's two legs."""

    BOTH = 0
    LONG = 1
    SHORT = 2


class TierRule(IntEnum):
    MARGINAL = 0
    WHOLE = 1


class AccountStatus(IntEnum):
    """Ordered: an account shows the worst status of its pools."""

    ACTIVE = 0
    MARGIN_CALL = 1
    LIQUIDATING = 2
    BANKRUPT = 3


class HaltMode(IntEnum):
    NONE = 0
    CANCEL_ONLY = 1
    NO_LIQUIDATION = 2
    ALL = 3
    AUCTION = 4


class LiquidateAt(IntEnum):
    """When a pool is due: at equity = maintenance margin already, or only below it."""

    RATIO_GE_1 = 0
    EQUITY_BELOW_MAINTENANCE = 1


class ClosePolicy(IntEnum):
    """How much of a position one liquidation step closes."""

    TIER_STEP = 0
    TO_TARGET = 1
    FRACTION = 2
    FULL = 3
    RAMP = 4


class AfterCooldown(IntEnum):
    """What a step closes once a fraction's cooldown is over."""

    ALL = 0
    FRACTION = 1


class Surplus(IntEnum):
    """Who gets what a liquidation's fills save over their bound, the fee apart."""

    KEEP = 0
    FUND = 1


class AdlScore(IntEnum):
    """What ranks holders for deleveraging."""

    PNL_X_LEVERAGE = 0
    PNL_RATIO = 1
    UPNL_X_LEVERAGE = 2
    SIZE = 3


class AdlPrice(IntEnum):
    BANKRUPTCY = 0
    MARK = 1


class AdlAllocation(IntEnum):
    """How a part is divided among the holders ranked: in turn, or each a share."""

    RANK = 0
    CONTRACTS = 1
    WEALTH = 2
    MIN_MAX = 3


class PositionChoice(IntEnum):
    """Which position of a cross pool a step closes first."""

    LARGEST_MAINTENANCE = 0
    LARGEST_LOSS = 1
    MOST_LIQUID = 2


class OrderBound(IntEnum):
    """The worst price that a step accepts in the book."""

    BANKRUPTCY = 0
    FILLABLE = 1
    MARK_BAND = 2


class Unfilled(IntEnum):
    """What follows where the book does not take a step of a pool with equity left."""

    TAKEOVER = 0
    WAIT = 1


class RampOf(IntEnum):
    """What a ramp has closed at its end: the position, or what brings the pool to its target."""

    POSITION = 0
    TARGET = 1


class FundWorkoff(IntEnum):
    """How the fund gives back to the book what it has taken over."""

    IMMEDIATE = 0
    TWAP = 1
    HOLD = 2
    PASSIVE = 3


class BackstopUse(IntEnum):
    """When registered backstops are asked to take over what the book leaves."""

    OFF = 0
    BEFORE_FUND = 1
    AFTER_FUND = 2


#: How many margin-call levels an account or a profile may have.
CALL_LEVELS_MAX = 4


class CallLevels(NamedTuple):
    """At which margin ratios (1e-8 units) a pool is called, and under which it is over."""

    levels: tuple[int, ...] = (80_000_000,)  # ascending
    hysteresis: int = 5_000_000  # a call is over under its level less this

    def are_sensible(self) -> bool:
        """Whether they are few enough, ascending between 0 and 1, each above the hysteresis."""
        return (
            len(self.levels) <= CALL_LEVELS_MAX and self.hysteresis >= 0
            and all(0 < level < RATE_SCALE for level in self.levels)
            and all(low < high for low, high in pairwise(self.levels))
            and all(self.hysteresis < level for level in self.levels))


class Profile(NamedTuple):
    """How a symbol's pools are liquidated: one row of integers, in this order at the seam.

    Rates are in 1e-8 units, money in minor units, times in ns; `NONE`: no such limit.
    """

    liquidate_at: int = LiquidateAt.RATIO_GE_1
    close_policy: int = ClosePolicy.TIER_STEP
    tiers_per_step: int = 1
    target_ratio: int = 80_000_000  # margin ratio after a step `to_target`
    fraction: int = 20_000_000  # of the position
    fraction_above_notional: int = 0  # money; up to this a fraction is all
    cooldown_ns: int = 30 * 10**9
    after_cooldown: int = AfterCooldown.ALL
    exit_buffer: int = 0  # by which the margin ratio is under 1 when a pool leaves the queue
    min_remainder_notional: int = 0  # money
    steps_per_command: int = NONE
    surplus: int = Surplus.KEEP
    adl_score: int = AdlScore.PNL_X_LEVERAGE
    adl_price: int = AdlPrice.BANKRUPTCY
    adl_allocation: int = AdlAllocation.RANK
    adl_cancels_orders: int = 1
    fund_drawdown_limit: int = NONE  # of the highest balance in the window
    fund_drawdown_window_ns: int = 8 * 3600 * 10**9
    fund_max_notional: int = NONE  # money, of the fund's inventory in the symbol
    socialize_losses: int = 0
    position_choice: int = PositionChoice.LARGEST_MAINTENANCE
    order_bound: int = OrderBound.BANKRUPTCY
    spread_to_maintenance: int = 10_000_000  # most that `fillable` gives away, of the requirement
    bankruptcy_adjustment: int = RATE_SCALE  # how fast it does as the equity goes
    bound_band: int = 1_000_000  # of mark
    unfilled: int = Unfilled.TAKEOVER
    ramp_ns: int = 60 * 10**9
    ramp_steps: int = 60
    ramp_of: int = RampOf.POSITION
    slice_max_share: int = NONE  # of the lots on show within the bound
    slice_rate: int = NONE  # money, notional in an interval
    slice_interval_ns: int = 10**9
    fund_workoff: int = FundWorkoff.IMMEDIATE
    fund_workoff_fraction: int = 10_000_000  # of what was taken over, an interval, at a pace
    fund_workoff_interval_ns: int = 60 * 10**9
    adl: int = 1
    fund_fallback: int = 0  # to the pooled fund, where the symbol's own does not do
    backstop: int = BackstopUse.AFTER_FUND
    closing_fee_reserve: int = 0  # whether the taker fee of a close is part of all margins
    maker_check: int = 0  # whether makers must still have their margin when they are matched
    fund_workoff_offset: int = 0  # of mark, between it and a resting order of the fund
    fund_workoff_reprice: int = 100_000  # of mark, a move after which that gets a new price


class Command(IntEnum):
    """Commands of the contract; what is not built yet is refused as `unsupported`."""

    ASSET = 0
    COLLATERAL = 1
    ASSET_PRICE = 2
    INSTRUMENT = 3
    TIERS = 4
    ACCOUNT = 5
    DEPOSIT = 6
    WITHDRAW = 7
    LEVERAGE = 8
    MARGIN_MODE = 9
    ISOLATED_MARGIN = 10
    ORDER = 11
    AMEND = 12
    CANCEL = 13
    CANCEL_ALL = 14
    FILL = 15
    MARK = 16
    MARKS = 17
    FUNDING = 18
    INSURANCE = 19
    HALT = 20
    RESUME = 21
    TIME = 22
    CANCEL_ALL_AFTER = 23
    PROTECTION = 24
    MARGIN_CALL_LEVELS = 25
    MARGIN_MULTIPLIER = 26
    TRANSFER = 27
    AUTO_TOP_UP = 28
    SETTLE = 29
    POSITION_MODE = 30
    PROFILE = 31
    BACKSTOP = 32
    ACCOUNT_MULTIPLIER = 33


class RejectReason(IntEnum):
    """Why a command was refused. Declared in check order: the first that applies is given."""

    MALFORMED = 0
    UNSUPPORTED = 1
    ALREADY_EXISTS = 2
    UNKNOWN_ASSET = 3
    UNKNOWN_FUND = 35
    UNKNOWN_SYMBOL = 4
    UNKNOWN_ACCOUNT = 5
    NOT_RELATED = 32
    UNKNOWN_ORDER = 6
    DUPLICATE_ORDER_ID = 7
    OCO_GROUP = 31
    BAD_TIERS = 8
    BAD_INSTRUMENT = 9
    BAD_PROFILE = 34
    POSITION_OPEN = 10
    NO_POSITION = 11
    NO_MARK_PRICE = 12
    EXPIRED = 33
    HALTED = 13
    AUCTION = 30
    PROTECTION = 29
    ACCOUNT_LIQUIDATING = 14
    OFF_TICK = 15
    OFF_LOT = 16
    QUANTITY_LIMIT = 17
    NOTIONAL_LIMIT = 28
    PRICE_BAND = 18
    ORDER_LIMIT = 19
    LEVERAGE = 20
    TIER_LIMIT = 21
    REDUCE_ONLY = 22
    POST_ONLY_WOULD_CROSS = 23
    FOK_UNFILLABLE = 24
    INSUFFICIENT_BALANCE = 25
    INSUFFICIENT_MARGIN = 26
    OVERFLOW = 27


class CancelReason(IntEnum):
    USER = 0
    IOC = 1
    SELF_TRADE = 2
    REDUCE_ONLY = 3
    LIQUIDATION = 4
    AMEND = 5
    OCO = 6
    BRACKET = 7
    DEAD_MAN = 8
    PROTECTION = 9
    # An activated order that could not be entered, by the name of the rejection.
    ACCOUNT_LIQUIDATING = 10
    PRICE_BAND = 11
    LEVERAGE = 12
    TIER_LIMIT = 13
    POST_ONLY_WOULD_CROSS = 14
    FOK_UNFILLABLE = 15
    INSUFFICIENT_MARGIN = 16
    OVERFLOW = 17
    EXPIRED = 18  # with its symbol
    ADL = 19  # of one who is deleveraged
    UNDERCOLLATERALIZED = 20  # of a maker that could not bear its fill
    WITHDRAWN = 21  # by the fund, its own


class PauseReason(IntEnum):
    """Why a symbol's liquidations wait for another mark."""

    NONE = 0
    STALE = 1
    OUT_OF_BAND = 2


class InsuranceReason(IntEnum):
    COMMAND = 0
    LIQUIDATION_FEE = 1
    DEFICIT = 2
    INVENTORY = 3
    FUNDING = 4
    SURPLUS = 5
    FALLBACK = 6


class WaitsFor(IntEnum):
    """What a pool in the queue waits for."""

    NOTHING = 0
    CHANGE = 1
    COOLDOWN = 2
    TURN = 3
    PAUSE = 4


class LiquidationOutcome(IntEnum):
    RELEASED = 0
    CLOSED = 1
    BANKRUPT = 2


class EventKind(IntEnum):
    ORDER_ACCEPTED = 1
    REJECTED = 2
    TRADE = 3
    ORDER_UPDATE = 4
    ORDER_CANCELED = 5
    ORDER_AMENDED = 6
    BALANCE = 7
    POSITION = 8
    MARK = 9
    FUNDING_PAYMENT = 10
    MARGIN_CALL = 11
    MARGIN_CALL_CLEARED = 12
    LIQUIDATION_STARTED = 13
    LIQUIDATION_STEP = 14
    LIQUIDATION_TAKEOVER = 15
    LIQUIDATION_FINISHED = 16
    INSURANCE = 17
    ADL = 18
    TIERS_CHANGED = 19
    HALTED = 20
    RESUMED = 21
    ASSET_ADDED = 22
    INSTRUMENT_ADDED = 23
    ACCOUNT_OPENED = 24
    LEVERAGE_CHANGED = 25
    MARGIN_MODE_CHANGED = 26
    ORDER_EXPIRED = 27
    ORDER_TRIGGERED = 28
    ORDER_TERMS = 29
    CANCEL_ALL_AFTER = 30
    PROTECTION_SET = 31
    PROTECTION_TRIGGERED = 32
    AUCTION_UNCROSSED = 33
    MARGIN_CALL_LEVELS_SET = 34
    MULTIPLIER_ANNOUNCED = 35
    MULTIPLIER_CHANGED = 36
    TRANSFER = 37
    AUTO_TOP_UP_SET = 38
    AUTO_TOP_UP = 39
    SETTLED = 40
    POSITION_SETTLED = 41
    LEGS_NETTED = 42
    POSITION_MODE_CHANGED = 43
    PROFILE_CHANGED = 44
    SOCIALIZED_LOSS = 45
    BACKSTOP_SET = 46
    BACKSTOP_TAKEOVER = 47
    COLLATERAL_SET = 48
    ASSET_PRICE = 49
    COLLATERAL_CONVERTED = 50
    ACCOUNT_MULTIPLIER_CHANGED = 51
    LIQUIDATIONS_PAUSED = 52
    LIQUIDATIONS_RESUMED = 53


class MarketKind(IntEnum):
    """What a market-data message says; apart from events, and only where it is switched on."""

    RESET = 0
    ADD = 1
    CHANGE = 2
    DELETE = 3
    EXECUTE = 4
    STATUS = 5
    UNCROSSED = 6


class TradeFlag(IntEnum):
    """Bits in the `detail` of an `EXECUTE`."""

    LIQUIDATION = 1
    AUCTION = 2
    REPEATED = 4


#: Fields of a market-data message, the same in all kinds; docs/formats.md says which kind
#: has which (0 where it has none). Of the row in `drain_market_data_bytes` the last four
#: are narrower: int32, uint8, uint8, uint16; the others are int64.
MARKET_FIELDS = (
    "market_seq", "seq", "ts", "ref", "price", "quantity", "change", "trade_id", "traded",
    "trade_price", "symbol", "kind", "side", "detail",
)

#: Payload of each event: (field, unit). A record is the tuple
#: ``(kind, seq, ts, cause, *payload)`` of ints, padded with zeros to `RECORD_WIDTH`
#: where it is stored. Units say how `engine.render` prints the integer:
#: `price` ticks of the symbol, `mark` mark ticks of the symbol, `lots` of the
#: symbol, `money` minor units of the symbol's settle asset, `amount` minor
#: units of the record's own asset, `value` of its `value_asset`, `rate` 1e-8 units, and
#: enumerations by name.
EVENT_LAYOUTS: dict[EventKind, tuple[tuple[str, str], ...]] = {
    EventKind.ORDER_ACCEPTED: (
        ("account", "int"), ("symbol", "symbol"), ("order_id", "int"), ("side", "Side"),
        ("type", "OrderType"), ("price", "price"), ("quantity", "lots"),
        ("time_in_force", "TimeInForce"), ("post_only", "bool"), ("reduce_only", "bool"),
        ("stp", "StpMode"), ("position_side", "PositionSide"),
    ),
    EventKind.REJECTED: (
        ("cmd", "Command"), ("reason", "RejectReason"), ("account", "int"), ("asset", "asset"),
        ("symbol", "symbol"), ("order_id", "int"), ("needed", "detail"), ("limit", "detail"),
    ),
    EventKind.TRADE: (
        ("trade_id", "int"), ("symbol", "symbol"), ("price", "price"), ("quantity", "lots"),
        ("maker_order_id", "int"), ("maker_account", "int"), ("taker_order_id", "int"),
        ("taker_account", "int"), ("taker_side", "Side"), ("maker_fee", "money"),
        ("taker_fee", "money"), ("liquidation", "bool"),
    ),
    EventKind.ORDER_UPDATE: (
        ("account", "int"), ("symbol", "symbol"), ("order_id", "int"),
        ("status", "OrderStatus"), ("filled", "lots"), ("leaves", "lots"),
    ),
    EventKind.ORDER_CANCELED: (
        ("account", "int"), ("symbol", "symbol"), ("order_id", "int"),
        ("reason", "CancelReason"), ("filled", "lots"), ("leaves", "lots"),
    ),
    EventKind.ORDER_AMENDED: (
        ("account", "int"), ("symbol", "symbol"), ("order_id", "int"), ("price", "price"),
        ("quantity", "lots"), ("leaves", "lots"), ("trigger_price", "mark"),
    ),
    EventKind.BALANCE: (("account", "int"), ("asset", "asset"), ("wallet", "amount")),
    EventKind.POSITION: (
        ("account", "int"), ("symbol", "symbol"), ("quantity", "lots"),
        ("entry_value", "money"), ("isolated_margin", "money"),
        ("position_side", "PositionSide"),
    ),
    EventKind.MARK: (
        ("symbol", "symbol"), ("mark_price", "mark"), ("index_price", "mark"),
        ("feed_seq", "int"),
    ),
    EventKind.FUNDING_PAYMENT: (
        ("account", "int"), ("symbol", "symbol"), ("amount", "money"), ("rate", "rate"),
        ("mark_price", "mark"), ("position_side", "PositionSide"),
    ),
    # What would end the call: a deposit, or closing so much of one position at mark.
    EventKind.MARGIN_CALL: (
        ("account", "int"), ("asset", "asset"), ("symbol", "symbol"), ("level", "rate"),
        ("equity", "amount"), ("maintenance_margin", "amount"),
        ("collateral_needed", "amount"), ("symbol_to_close", "symbol"),
        ("quantity_to_close", "lots"), ("position_side", "PositionSide"),
    ),
    EventKind.MARGIN_CALL_CLEARED: (
        ("account", "int"), ("asset", "asset"), ("symbol", "symbol"), ("level", "rate"),
        ("equity", "amount"), ("maintenance_margin", "amount"),
        ("position_side", "PositionSide"),
    ),
    EventKind.LIQUIDATION_STARTED: (
        ("account", "int"), ("asset", "asset"), ("symbol", "symbol"), ("equity", "amount"),
        ("maintenance_margin", "amount"), ("position_side", "PositionSide"),
    ),
    EventKind.LIQUIDATION_STEP: (
        ("account", "int"), ("step", "int"), ("symbol", "symbol"), ("side", "Side"),
        ("quantity", "lots"), ("limit_price", "price"), ("tier_from", "int"),
        ("tier_to", "int"), ("filled", "lots"), ("filled_value", "money"), ("fee", "money"),
        ("position_side", "PositionSide"),
    ),
    EventKind.LIQUIDATION_TAKEOVER: (
        ("account", "int"), ("symbol", "symbol"), ("side", "Side"), ("quantity", "lots"),
        ("price", "price"), ("position_side", "PositionSide"),
    ),
    EventKind.LIQUIDATION_FINISHED: (
        ("account", "int"), ("asset", "asset"), ("symbol", "symbol"),
        ("outcome", "LiquidationOutcome"), ("steps", "int"), ("equity", "amount"),
        ("maintenance_margin", "amount"), ("position_side", "PositionSide"),
    ),
    EventKind.INSURANCE: (
        ("asset", "asset"), ("delta", "amount"), ("balance", "amount"),
        ("reason", "InsuranceReason"), ("account", "int"), ("fund", "fund"),
    ),
    EventKind.ADL: (
        ("account", "int"), ("counterparty", "int"), ("symbol", "symbol"), ("side", "Side"),
        ("quantity", "lots"), ("price", "price"), ("rank", "int"),
        ("position_side", "PositionSide"),
    ),
    EventKind.TIERS_CHANGED: (("symbol", "symbol"),),
    EventKind.HALTED: (("symbol", "symbol"), ("mode", "HaltMode")),
    EventKind.RESUMED: (("symbol", "symbol"),),
    EventKind.ASSET_ADDED: (("asset", "asset"),),
    EventKind.INSTRUMENT_ADDED: (("symbol", "symbol"), ("settle", "asset")),
    EventKind.ACCOUNT_OPENED: (
        ("account", "int"), ("margin_mode", "MarginMode"), ("stp_group", "int"),
        ("parent", "int"), ("position_mode", "PositionMode"),
    ),
    EventKind.LEVERAGE_CHANGED: (
        ("account", "int"), ("symbol", "symbol"), ("leverage", "rate"),
    ),
    EventKind.MARGIN_MODE_CHANGED: (
        ("account", "int"), ("symbol", "symbol"), ("margin_mode", "MarginMode"),
    ),
    EventKind.ORDER_EXPIRED: (
        ("account", "int"), ("symbol", "symbol"), ("order_id", "int"), ("filled", "lots"),
        ("leaves", "lots"),
    ),
    EventKind.ORDER_TRIGGERED: (
        ("account", "int"), ("symbol", "symbol"), ("order_id", "int"),
        ("trigger_by", "TriggerBy"), ("reference_price", "mark"),
    ),
    # What an accepted order has beyond the plain ones; follows its `order_accepted`.
    EventKind.ORDER_TERMS: (
        ("account", "int"), ("symbol", "symbol"), ("order_id", "int"),
        ("trigger_price", "mark"), ("trigger_by", "TriggerBy"), ("callback_rate", "rate"),
        ("display_quantity", "lots"), ("expire_ts", "int"), ("close_position", "bool"),
        ("oco", "int"), ("parent_order_id", "int"),
    ),
    EventKind.CANCEL_ALL_AFTER: (("account", "int"), ("due_ts", "int")),
    EventKind.PROTECTION_SET: (
        ("account", "int"), ("symbol", "symbol"), ("window", "int"), ("quantity", "lots"),
        ("count", "int"), ("freeze", "int"),
    ),
    EventKind.PROTECTION_TRIGGERED: (
        ("account", "int"), ("symbol", "symbol"), ("frozen_until", "int"),
    ),
    EventKind.AUCTION_UNCROSSED: (
        ("symbol", "symbol"), ("price", "price"), ("quantity", "lots"), ("imbalance", "lots"),
    ),
    EventKind.MARGIN_CALL_LEVELS_SET: (
        ("account", "int"), ("level_1", "rate"), ("level_2", "rate"), ("level_3", "rate"),
        ("level_4", "rate"), ("hysteresis", "rate"),
    ),
    EventKind.MULTIPLIER_ANNOUNCED: (
        ("symbol", "symbol"), ("maintenance", "rate"), ("initial", "rate"),
        ("effective_ts", "int"),
    ),
    EventKind.MULTIPLIER_CHANGED: (
        ("symbol", "symbol"), ("maintenance", "rate"), ("initial", "rate"),
    ),
    EventKind.TRANSFER: (
        ("account", "int"), ("to", "int"), ("asset", "asset"), ("amount", "amount"),
    ),
    EventKind.AUTO_TOP_UP_SET: (
        ("account", "int"), ("symbol", "symbol"), ("enabled", "bool"),
    ),
    EventKind.AUTO_TOP_UP: (
        ("account", "int"), ("symbol", "symbol"), ("amount", "money"),
        ("position_side", "PositionSide"),
    ),
    EventKind.SETTLED: (("symbol", "symbol"), ("price", "mark")),
    EventKind.POSITION_SETTLED: (
        ("account", "int"), ("symbol", "symbol"), ("quantity", "lots"), ("price", "mark"),
        ("amount", "money"), ("position_side", "PositionSide"),
    ),
    EventKind.LEGS_NETTED: (
        ("account", "int"), ("symbol", "symbol"), ("quantity", "lots"), ("price", "mark"),
    ),
    EventKind.POSITION_MODE_CHANGED: (("account", "int"), ("position_mode", "PositionMode")),
    EventKind.PROFILE_CHANGED: (("symbol", "symbol"),),
    # `account` pays `amount` of what `counterparty` could not.
    EventKind.SOCIALIZED_LOSS: (
        ("account", "int"), ("counterparty", "int"), ("symbol", "symbol"), ("amount", "money"),
    ),
    EventKind.BACKSTOP_SET: (
        ("account", "int"), ("asset", "asset"), ("symbol", "symbol"), ("commitment", "amount"),
        ("discount", "rate"),
    ),
    # `account` takes over from `counterparty`; `side` is that of its trade.
    EventKind.BACKSTOP_TAKEOVER: (
        ("account", "int"), ("counterparty", "int"), ("symbol", "symbol"), ("side", "Side"),
        ("quantity", "lots"), ("price", "price"), ("remaining", "money"),
        ("position_side", "PositionSide"),
    ),
    EventKind.COLLATERAL_SET: (
        ("asset", "asset"), ("value_asset", "value_asset"), ("conversion_threshold", "value"),
        ("conversion_fee", "rate"),
    ),
    EventKind.ASSET_PRICE: (("asset", "asset"), ("price", "rate")),
    # `amount` of a collateral asset brought `value`, after the fee.
    EventKind.COLLATERAL_CONVERTED: (
        ("account", "int"), ("asset", "asset"), ("amount", "amount"),
        ("value_asset", "value_asset"), ("value", "value"), ("fee", "value"), ("price", "rate"),
    ),
    EventKind.ACCOUNT_MULTIPLIER_CHANGED: (("account", "int"), ("multiplier", "rate")),
    EventKind.LIQUIDATIONS_PAUSED: (("symbol", "symbol"), ("reason", "PauseReason")),
    EventKind.LIQUIDATIONS_RESUMED: (("symbol", "symbol"),),
}

#: Fields of events that name an account.
EVENT_ACCOUNTS = ("account", "counterparty", "maker_account", "taker_account", "to")

#: Integers in a stored record: kind, seq, ts, cause and the widest payload.
RECORD_WIDTH = 4 + max(len(layout) for layout in EVENT_LAYOUTS.values())

#: Columns of a packed command, all int64, `NONE` where absent. Which columns mean what:
#: `order` all; `amend` `price`, `quantity` (new total), `type` (new open quantity) and the
#: special row's `trigger_price`; `cancel` `account`, `symbol`, `order_id`; `cancel_all`
#: `account`, `symbol`, `side`; `mark` `symbol`, `price` (mark ticks), `quantity` (index price,
#: mark ticks), `order_id` (feed_seq), `account` (cause); `deposit` and `withdraw` `account`,
#: `symbol` (the asset), `quantity` (minor units); `leverage` `account`, `symbol`,
#: `quantity` (1e-8 units); `cancel_all_after` `account`, `quantity` (ns); `account` `account`,
#: `type` (MarginMode, cross where absent), `side` (PositionMode, one_way where absent),
#: `order_id` (stp_group);
#: `margin_mode` `account`, `symbol`, `type`; `isolated_margin` `account`, `symbol`,
#: `quantity` (minor units, signed); `fill` `account`, `symbol`, `side`, `quantity` (lots),
#: `price` (value of all of it, minor units), `order_id` (fee, minor units, 0 where absent);
#: `funding` `symbol`, `quantity` (1e-8 units); `insurance` `symbol` (the asset), `quantity`
#: (minor units, signed), `order_id` (number of the fund, absent: the pooled one); `time` none.
#: `cmd` is a `Command`, other codes are enumerations of this module too; `flags` is
#: 1 post_only + 2 reduce_only + 4 close_position + 16 x StpMode + 128 x PositionSide (this
#: also of `fill` and `isolated_margin`); `special` a row of the second array.
COMMAND_COLUMNS: tuple[str, ...] = (
    "cmd", "ts", "account", "symbol", "order_id", "side", "type", "quantity", "price",
    "time_in_force", "flags", "special",
)
#: Columns of an order's special terms, in the units of `order_terms`.
SPECIAL_COLUMNS: tuple[str, ...] = (
    "trigger_price", "trigger_by", "callback_rate", "display_quantity", "expire_ts", "oco",
    "take_profit_order_id", "take_profit_trigger_price", "take_profit_trigger_by",
    "take_profit_price", "stop_loss_order_id", "stop_loss_trigger_price",
    "stop_loss_trigger_by", "stop_loss_price",
)
FLAG_POST_ONLY = 1
FLAG_REDUCE_ONLY = 2
FLAG_CLOSE_POSITION = 4
FLAG_STP_SHIFT = 4
FLAG_STP_MASK = 7
FLAG_POSITION_SIDE_SHIFT = 7

#: A margin ratio where equity is spent with a position open (null elsewhere), or too large.
RATIO_WORST = 2**63 - 1
#: Fields of a row of `accounts_array`, all amounts in minor units: one row for each account
#: and settle asset in use, in that order. `status` is an `AccountStatus` of the whole account.
ACCOUNT_FIELDS: tuple[tuple[str, str], ...] = (
    ("account", "i8"), ("wallet", "i8"), ("equity", "i8"), ("unrealized_pnl", "i8"),
    ("initial_margin", "i8"), ("order_margin", "i8"), ("maintenance_margin", "i8"),
    ("available_margin", "i8"), ("margin_ratio", "i8"), ("asset", "i4"), ("status", "i4"),
    ("collateral", "i8"),
)
#: Fields of a row of `positions_array`: one row for each open position, by account, then
#: symbol. Marks and prices are in mark ticks, 0 where there is none; `position_side` is 0 both,
#: 1 long, 2 short; `tier` counts from 1.
POSITION_FIELDS: tuple[tuple[str, str], ...] = (
    ("account", "i8"), ("quantity", "i8"), ("entry_value", "i8"), ("mark", "i8"),
    ("notional", "i8"), ("unrealized_pnl", "i8"), ("leverage", "i8"),
    ("isolated_margin", "i8"), ("initial_margin", "i8"), ("maintenance_margin", "i8"),
    ("liquidation_price", "i8"), ("bankruptcy_price", "i8"), ("symbol", "i4"), ("tier", "i2"),
    ("position_side", "i1"), ("margin_mode", "i1"),
)
