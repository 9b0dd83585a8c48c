# The rows the core is made of, and the codes it speaks in. Codes equal those of
# engine/messages.py (a test compares them); indices are int32, -1 is "none".
#
# Prices are in ticks where a field says ticks, else in mark ticks. Quantities are
# lots, money is minor units of the settle asset, rates are 1e-8 units.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    NIL = -1
    ROW = 16                     # int64s in a stored event record

cdef extern from *:
    """
    #define ENGINE_NONE (-9223372036854775807LL - 1)
    #define ENGINE_OFF_GRID (ENGINE_NONE + 1)
    #define ENGINE_TOO_LARGE (ENGINE_NONE + 2)
    #define ENGINE_MONEY_MAX (1LL << 62)
    #define ENGINE_RATE_SCALE 100000000LL
    """
    const int64_t NONE "ENGINE_NONE"
    const int64_t OFF_GRID "ENGINE_OFF_GRID"
    const int64_t TOO_LARGE "ENGINE_TOO_LARGE"
    const int64_t MONEY_MAX "ENGINE_MONEY_MAX"
    const int64_t RATE_SCALE "ENGINE_RATE_SCALE"

cdef enum Side:
    SIDE_BUY = 0
    SIDE_SELL = 1

cdef enum OrderType:
    TYPE_LIMIT = 0
    TYPE_MARKET = 1

cdef enum TimeInForce:
    TIF_GTC = 0
    TIF_IOC = 1
    TIF_FOK = 2

cdef enum StpMode:
    STP_NONE = 0
    STP_CANCEL_TAKER = 1
    STP_CANCEL_MAKER = 2
    STP_CANCEL_BOTH = 3
    STP_DECREMENT = 4

cdef enum OrderStatus:
    STATUS_OPEN = 0
    STATUS_PARTIALLY_FILLED = 1
    STATUS_FILLED = 2

cdef enum MarginMode:
    MODE_CROSS = 0
    MODE_ISOLATED = 1

cdef enum TierRule:
    RULE_MARGINAL = 0
    RULE_WHOLE = 1

cdef enum AccountStatus:
    ACCOUNT_ACTIVE = 0
    ACCOUNT_MARGIN_CALL = 1
    ACCOUNT_LIQUIDATING = 2
    ACCOUNT_BANKRUPT = 3

cdef enum HaltMode:
    HALT_NONE = 0
    HALT_CANCEL_ONLY = 1
    HALT_NO_LIQUIDATION = 2
    HALT_ALL = 3

cdef enum Command:
    CMD_ASSET = 0
    CMD_COLLATERAL = 1
    CMD_ASSET_PRICE = 2
    CMD_INSTRUMENT = 3
    CMD_TIERS = 4
    CMD_ACCOUNT = 5
    CMD_DEPOSIT = 6
    CMD_WITHDRAW = 7
    CMD_LEVERAGE = 8
    CMD_MARGIN_MODE = 9
    CMD_ISOLATED_MARGIN = 10
    CMD_ORDER = 11
    CMD_AMEND = 12
    CMD_CANCEL = 13
    CMD_CANCEL_ALL = 14
    CMD_FILL = 15
    CMD_MARK = 16
    CMD_MARKS = 17
    CMD_FUNDING = 18
    CMD_INSURANCE = 19
    CMD_HALT = 20
    CMD_RESUME = 21
    CMD_TIME = 22

cdef enum RejectReason:
    ACCEPTED = -1
    REJECT_MALFORMED = 0
    REJECT_UNSUPPORTED = 1
    REJECT_ALREADY_EXISTS = 2
    REJECT_UNKNOWN_ASSET = 3
    REJECT_UNKNOWN_SYMBOL = 4
    REJECT_UNKNOWN_ACCOUNT = 5
    REJECT_UNKNOWN_ORDER = 6
    REJECT_DUPLICATE_ORDER_ID = 7
    REJECT_BAD_TIERS = 8
    REJECT_BAD_INSTRUMENT = 9
    REJECT_POSITION_OPEN = 10
    REJECT_NO_POSITION = 11
    REJECT_NO_MARK_PRICE = 12
    REJECT_HALTED = 13
    REJECT_ACCOUNT_LIQUIDATING = 14
    REJECT_OFF_TICK = 15
    REJECT_OFF_LOT = 16
    REJECT_QUANTITY_LIMIT = 17
    REJECT_PRICE_BAND = 18
    REJECT_ORDER_LIMIT = 19
    REJECT_LEVERAGE = 20
    REJECT_TIER_LIMIT = 21
    REJECT_REDUCE_ONLY = 22
    REJECT_POST_ONLY_WOULD_CROSS = 23
    REJECT_FOK_UNFILLABLE = 24
    REJECT_INSUFFICIENT_BALANCE = 25
    REJECT_INSUFFICIENT_MARGIN = 26
    REJECT_OVERFLOW = 27

cdef enum CancelReason:
    CANCEL_USER = 0
    CANCEL_IOC = 1
    CANCEL_SELF_TRADE = 2
    CANCEL_REDUCE_ONLY = 3
    CANCEL_LIQUIDATION = 4
    CANCEL_AMEND = 5

cdef enum InsuranceReason:
    INSURANCE_COMMAND = 0
    INSURANCE_LIQUIDATION_FEE = 1
    INSURANCE_DEFICIT = 2
    INSURANCE_INVENTORY = 3
    INSURANCE_FUNDING = 4

cdef enum LiquidationOutcome:
    OUTCOME_RELEASED = 0
    OUTCOME_CLOSED = 1
    OUTCOME_BANKRUPT = 2

cdef enum EventKind:
    EVENT_ORDER_ACCEPTED = 1
    EVENT_REJECTED = 2
    EVENT_TRADE = 3
    EVENT_ORDER_UPDATE = 4
    EVENT_ORDER_CANCELED = 5
    EVENT_ORDER_AMENDED = 6
    EVENT_BALANCE = 7
    EVENT_POSITION = 8
    EVENT_MARK = 9
    EVENT_FUNDING_PAYMENT = 10
    EVENT_MARGIN_CALL = 11
    EVENT_MARGIN_CALL_CLEARED = 12
    EVENT_LIQUIDATION_STARTED = 13
    EVENT_LIQUIDATION_STEP = 14
    EVENT_LIQUIDATION_TAKEOVER = 15
    EVENT_LIQUIDATION_FINISHED = 16
    EVENT_INSURANCE = 17
    EVENT_ADL = 18
    EVENT_TIERS_CHANGED = 19
    EVENT_HALTED = 20
    EVENT_RESUMED = 21
    EVENT_ASSET_ADDED = 22
    EVENT_INSTRUMENT_ADDED = 23
    EVENT_ACCOUNT_OPENED = 24
    EVENT_LEVERAGE_CHANGED = 25
    EVENT_MARGIN_MODE_CHANGED = 26
