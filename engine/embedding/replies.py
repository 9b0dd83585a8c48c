"""The types of query replies: decimal strings for numbers with a unit, ints for counts and ids.

A field of type `str` that is a number is a decimal string without exponent; `None` is what is
absent. `seq` and `ts` are those of the last command.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Reply(TypedDict):
    """What every reply begins with."""

    seq: int
    ts: int
    reply: str


class PoolFigures(TypedDict):
    """The figures of a cross pool, in its settle asset."""

    wallet: str
    equity: str
    unrealized_pnl: str
    initial_margin: str
    order_margin: str
    maintenance_margin: str
    available_margin: str
    collateral: str
    margin_ratio: str | None


class Position(TypedDict):
    """An open position, or an open leg of one."""

    symbol: str
    position_side: str
    quantity: str
    entry_price: str | None
    entry_value: str
    mark_price: str
    notional: str
    unrealized_pnl: str
    leverage: str
    margin_mode: str
    isolated_margin: str | None
    initial_margin: str
    maintenance_margin: str
    tier: int
    margin_ratio: str | None
    equity_ratio: str
    maintenance_rate: str
    liquidation_price: str | None
    bankruptcy_price: str | None
    adl_rank: int | None
    adl_quintile: int | None
    auto_top_up: bool


class AccountReply(Reply):
    """Reply to `account`; the figures at top level are those of the only settle asset in use."""

    account: int
    status: str
    parent: int | None
    sub_accounts: list[int]
    margin_multiplier: str
    balances: dict[str, str]
    assets: dict[str, PoolFigures]
    wallet: str | None
    equity: str | None
    unrealized_pnl: str | None
    initial_margin: str | None
    order_margin: str | None
    maintenance_margin: str | None
    available_margin: str | None
    collateral: str | None
    margin_ratio: str | None
    positions: list[Position]


class PositionReply(Reply):
    """Reply to `position`: the open legs."""

    account: int
    symbol: str
    positions: list[Position]


class PlainOrder(TypedDict):
    """What every live order has."""

    order_id: int
    symbol: str
    side: str
    type: str
    price: str | None
    quantity: str
    filled: str
    leaves: str
    status: str
    time_in_force: str
    post_only: bool
    reduce_only: bool
    stp: str
    position_side: str


class Order(PlainOrder, total=False):
    """A live order: what it has beyond the plain ones is there only where it has it."""

    client_order_id: str
    trigger_price: str
    trailing_price: str
    callback_rate: str
    display_quantity: str
    displayed: str
    trigger_by: str
    close_position: bool
    expire_ts: int
    oco: int
    parent_order_id: int
    take_profit: int
    stop_loss: int


class OrdersReply(Reply):
    """Reply to `orders`."""

    account: int
    orders: list[Order]


class BookReply(Reply):
    """Reply to `book`: levels [price, quantity], or with `l3` [price, [[account, order_id, \
displayed, leaves], …]]."""

    symbol: str
    bids: list[list[Any]]
    asks: list[list[Any]]
    last_price: str | None


class TierRow(TypedDict):
    """A row of the schedule in force, and of the one that multipliers scale."""

    min_notional: str
    max_notional: str | None
    maintenance_margin_rate: str
    max_leverage: str
    maintenance_amount: str
    base_maintenance_margin_rate: str
    base_max_leverage: str


class Announced(TypedDict):
    """Multipliers to come."""

    maintenance: str
    initial: str
    effective_ts: int


class Multipliers(Reply):
    """What a symbol's requirements are scaled by."""

    maintenance_multiplier: str
    initial_multiplier: str
    announced_multiplier: Announced | None
    closing_fee_rate: str


class TiersReply(Multipliers):
    """Reply to `tiers`."""

    symbol: str
    tiers: list[TierRow]


class InstrumentReply(Multipliers):
    """Reply to `instrument`."""

    symbol: str
    kind: str
    base: str
    quote: str
    settle: str
    tick_size: str
    mark_tick: str
    lot_size: str
    contract_size: str
    maker_fee: str
    taker_fee: str
    liquidation_fee: str
    tier_rule: str
    price_band: str | None
    max_order_quantity: str | None
    min_order_quantity: str | None
    min_order_notional: str | None
    max_order_notional: str | None
    max_open_orders: int | None
    mark_price: str | None
    index_price: str | None
    last_price: str | None
    open_interest: str
    halt: str | None
    feed_seq: int | None
    expiry_ts: int | None
    is_settled: bool
    profile: dict[str, Any]
    fund: str | None
    mark_max_age_ns: int | None
    mark_band: str | None
    liquidations_paused: str | None


class QueueEntry(TypedDict):
    """A pool in liquidation: a cross pool (`symbol` null) or an isolated position."""

    account: int
    asset: str
    symbol: str | None
    position_side: str | None
    equity: str
    maintenance_margin: str
    margin_ratio: str | None
    steps: int
    is_waiting: bool
    waits_for: str | None
    cooldown_until: int | None


class LiquidationQueueReply(Reply):
    """Reply to `liquidation_queue`, the worst first."""

    entries: list[QueueEntry]


class Ranked(TypedDict):
    """A holder in the order of deleveraging; rank 1 is closed first."""

    rank: int
    account: int
    score: str
    quantity: str


class AdlRankingReply(Reply):
    """Reply to `adl_ranking`."""

    symbol: str
    long: list[Ranked]
    short: list[Ranked]


class AuctionReply(Reply):
    """Reply to `auction`: where it would uncross now."""

    symbol: str
    halt: str
    indicative_price: str | None
    indicative_quantity: str | None
    imbalance: str | None
    reference_price: str | None


class FundBalance(TypedDict):
    """Balance of an asset's pooled fund."""

    balance: str


class FundRow(TypedDict):
    """Balance of one fund; `fund` is null for the pooled one."""

    asset: str
    fund: str | None
    balance: str


class InsuranceReply(Reply):
    """Reply to `insurance`."""

    assets: dict[str, FundBalance]
    funds: list[FundRow]
    positions: list[dict[str, Any]]


class BackstopRow(TypedDict):
    """An account that takes over, and what is left of its commitment."""

    account: int
    asset: str | None
    symbol: str | None
    commitment: str
    remaining: str
    discount: str | None


class BackstopsReply(Reply):
    """Reply to `backstops`."""

    backstops: list[BackstopRow]


class CollateralRow(TypedDict):
    """A marginal weight, up to an amount."""

    max_amount: str | None
    weight: str


class CollateralReply(Reply):
    """Reply to `collateral`."""

    asset: str
    value_asset: str
    price: str | None
    tiers: list[CollateralRow]
    conversion_threshold: str | None
    conversion_fee: str


class AssetEntry(TypedDict):
    """An asset and its index in records."""

    asset: str
    index: int
    decimals: int


class SymbolEntry(TypedDict):
    """A symbol, its index in records, and its steps."""

    symbol: str
    index: int
    settle: str
    tick_size: str
    mark_tick: str
    lot_size: str


class DirectoryReply(Reply):
    """Reply to `directory`."""

    assets: list[AssetEntry]
    symbols: list[SymbolEntry]


class Terms(TypedDict):
    """The conservation terms of an asset; `drift` is what is left of them, always 0."""

    deposits: str
    withdrawals: str
    wallets: str
    isolated_margins: str
    insurance: str
    fees: str
    rounding: str
    external: str
    entry_values: str
    drift: str


class NetPositions(TypedDict):
    """Net positions of a symbol, which sum to zero."""

    accounts: str
    fund: str
    external: str


class Totals(TypedDict):
    """What `totals` gives."""

    assets: dict[str, Terms]
    positions: dict[str, NetPositions]
