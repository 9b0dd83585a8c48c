"""Queries: the core's integers to the replies of the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from engine.instruments import Instrument
from engine.liquidation_map import LONG
from engine.messages import (
    MONEY_MAX,
    NONE,
    AccountStatus,
    AdlScore,
    CallLevels,
    ContractKind,
    HaltMode,
    MarginMode,
    OrderStatus,
    OrderType,
    PauseReason,
    PositionSide,
    Profile,
    RejectReason,
    Side,
    StpMode,
    TimeInForce,
    TriggerBy,
    WaitsFor,
)
from engine.profiles import show as show_profile
from engine.render import entry_price, fund_name, margin_ratio, ratio_text
from engine.units import RATE, DecimalLike, Grid, decimal_text, fraction_text, split_decimal

if TYPE_CHECKING:
    from engine.exchange import Exchange

#: Of a bucket of the liquidation map: its grid, and the width where none is asked for (1 %).
_PPM = Grid("0.000001")
_DEFAULT_BUCKET = 10_000
_POOL_AMOUNTS = (
    "wallet", "equity", "unrealized_pnl", "initial_margin", "order_margin",
    "maintenance_margin", "available_margin", "collateral",
)


def _plain(value: DecimalLike | None) -> str | None:
    """A number of a declaration, written without exponent."""
    parts = None if value is None else split_decimal(value)
    return None if parts is None or isinstance(parts, int) else decimal_text(*parts)


def _optional(grid: Grid, value: int) -> str | None:
    return None if value == NONE else grid.text(value)


def _special_terms(instrument: Instrument, view: Mapping[str, int]) -> dict[str, Any]:
    """What an order has beyond the plain ones, as far as it has it."""
    grids = {
        "trigger_price": instrument.mark, "trailing_price": instrument.mark,
        "callback_rate": RATE, "display_quantity": instrument.lot,
    }
    terms: dict[str, Any] = {
        name: grid.text(view[name]) for name, grid in grids.items() if view[name] != NONE}
    if view["trigger_by"] != NONE:
        terms["trigger_by"] = TriggerBy(view["trigger_by"]).name.lower()
    if view["display_quantity"] != NONE:
        terms["displayed"] = instrument.lot.text(view["displayed"])
    if view["close_position"]:
        terms["close_position"] = True
    for name in ("expire_ts", "oco", "parent_order_id", "take_profit", "stop_loss"):
        if view[name] != NONE:
            terms[name] = view[name]
    return terms


def _multipliers(view: Mapping[str, int]) -> dict[str, Any]:
    """What a symbol's requirements are scaled by, what was announced, and what comes on top."""
    announced = None
    if view["announced_ts"] != NONE:
        announced = {
            "maintenance": RATE.text(view["announced_maintenance"]),
            "initial": RATE.text(view["announced_initial"]),
            "effective_ts": view["announced_ts"],
        }
    return {
        "maintenance_multiplier": RATE.text(view["maintenance_multiplier"]),
        "initial_multiplier": RATE.text(view["initial_multiplier"]),
        "announced_multiplier": announced,
        "closing_fee_rate": RATE.text(view["closing_fee"]),
    }


class Queries:
    """Answers queries for one exchange; reads the core, changes nothing."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._answers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "account": self._account,
            "position": self._position,
            "orders": self._orders,
            "book": self._book,
            "tiers": self._tiers,
            "instrument": self._instrument,
            "liquidation_queue": self._queue,
            "adl_ranking": self._adl_ranking,
            "auction": self._auction,
            "liquidation_map": self._liquidation_map,
            "insurance": self._insurance, "backstops": self._backstops,
            "collateral": self._collateral,
            "totals": lambda query: self.totals(),
            "directory": lambda query: self._directory(),
            "state_hash": lambda query: {"state_hash": exchange.state_hash()},
        }

    def answer(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply, or a `rejected` event for something unknown."""
        exchange = self._exchange
        name = query["query"]
        reply: dict[str, Any] = {"seq": exchange.seq, "ts": exchange.ts}
        try:
            body = self._answers[name](query)
        except LookupError as error:
            reason = RejectReason(error.args[0])
            thing = reason.name.lower().removeprefix("unknown_")
            detail = error.args[1] if len(error.args) > 1 else f"no such {thing}"
            reply.update(
                event="rejected", cmd=name, reason=reason.name.lower(), detail=detail,
                cause=exchange.seq)
            return reply
        reply["reply"] = name
        reply.update(body)
        return reply

    def _find(self, symbol: str) -> Instrument:
        index = self._exchange.symbol_index(symbol)
        if index < 0:
            raise LookupError(RejectReason.UNKNOWN_SYMBOL)
        return self._exchange.instruments_by_index[index]

    # --- accounts ---------------------------------------------------------------------

    def _account(self, query: Mapping[str, Any]) -> dict[str, Any]:
        exchange, account = self._exchange, query["account"]
        view = exchange.core.account_view(account)
        balances: dict[str, str] = {}
        assets: dict[str, dict[str, str | None]] = {}
        for pool in view["pools"]:
            asset = exchange.assets_by_index[pool["asset"]]
            figures: dict[str, str | None] = {
                name: asset.minor.text(pool[name]) for name in _POOL_AMOUNTS}
            figures["margin_ratio"] = margin_ratio(
                pool["equity"], pool["maintenance_margin"], is_open=bool(pool["is_open"]))
            assets[asset.name] = figures
            balances[asset.name] = asset.minor.text(pool["wallet"])
        body: dict[str, Any] = {
            "account": account, "status": AccountStatus(view["status"]).name.lower(),
            "parent": None if view["parent"] == NONE else view["parent"],
            "sub_accounts": view["sub_accounts"],
            "margin_multiplier": RATE.text(view["multiplier"]),
            "balances": balances, "assets": assets,
        }
        # A collateral asset settles nothing: beside the only settle asset it does not count.
        settling = [
            figures for name, figures in assets.items()
            if exchange.core.collateral_view(exchange.asset_index(name)) is None]
        only = settling[0] if len(settling) == 1 else None
        for name in (*_POOL_AMOUNTS, "margin_ratio"):
            body[name] = only[name] if only else None
        body["positions"] = self._positions(account, NONE)
        return body

    def _positions(self, account: int, symbol: int) -> list[dict[str, Any]]:
        views = self._exchange.core.position_views(account, symbol)
        return [self._render_position(view) for view in views]

    def _render_position(self, view: Mapping[str, int]) -> dict[str, Any]:
        instrument = self._exchange.instruments_by_index[view["symbol"]]
        money, mark = instrument.settle.minor, instrument.mark
        is_isolated = view["margin_mode"] == MarginMode.ISOLATED
        equity, notional = view["pool_equity"], view["notional"]
        body: dict[str, Any] = {
            "symbol": instrument.symbol,
            "position_side": PositionSide(view["position_side"]).name.lower(),
            "quantity": instrument.lot.text(view["quantity"]),
            "entry_price": entry_price(instrument, view["quantity"], view["entry_value"]),
            "entry_value": money.text(view["entry_value"]),
            "mark_price": mark.text(view["mark_price"]),
            "notional": money.text(notional),
            "unrealized_pnl": money.text(view["unrealized_pnl"]),
            "leverage": RATE.text(view["leverage"]),
            "margin_mode": MarginMode(view["margin_mode"]).name.lower(),
            "isolated_margin": money.text(view["isolated_margin"]) if is_isolated else None,
            "initial_margin": money.text(view["initial_margin"]),
            "maintenance_margin": money.text(view["maintenance_margin"]),
            "tier": view["tier"],
            "margin_ratio": margin_ratio(
                equity, view["pool_maintenance_margin"], is_open=True),
            # Floor: what protects the holder is never shown larger than it is.
            "equity_ratio": decimal_text(equity * 10**8 // notional, 8),
            "maintenance_rate": ratio_text(view["maintenance_margin"], notional),
        }
        for name in ("liquidation_price", "bankruptcy_price"):
            body[name] = None if view[name] == NONE else mark.text(view[name])
        rank, ranked = view["adl_rank"], view["adl_ranked"]
        body["adl_rank"] = None if rank == NONE else rank
        # As the venues' lights: 5 is the fifth that is closed first.
        body["adl_quintile"] = None if rank == NONE else 5 - 5 * (rank - 1) // ranked
        body["auto_top_up"] = bool(view["auto_top_up"])
        return body

    def _position(self, query: Mapping[str, Any]) -> dict[str, Any]:
        instrument = self._find(query["symbol"])
        account = query["account"]
        return {
            "account": account, "symbol": instrument.symbol,
            "positions": self._positions(account, instrument.index),
        }

    def _orders(self, query: Mapping[str, Any]) -> dict[str, Any]:
        exchange, account = self._exchange, query["account"]
        orders = []
        for view in exchange.core.order_views(account):
            instrument = exchange.instruments_by_index[view["symbol"]]
            order = {
                "order_id": view["order_id"], "symbol": instrument.symbol,
                "side": Side(view["side"]).name.lower(),
                "type": OrderType(view["type"]).name.lower(),
                "price": _optional(instrument.tick, view["price"]),
                "quantity": instrument.lot.text(view["quantity"]),
                "filled": instrument.lot.text(view["filled"]),
                "leaves": instrument.lot.text(view["leaves"]),
                "status": OrderStatus(view["status"]).name.lower(),
                "time_in_force": TimeInForce(view["time_in_force"]).name.lower(),
                "post_only": bool(view["post_only"]),
                "reduce_only": bool(view["reduce_only"]),
                "stp": StpMode(view["stp"]).name.lower(),
                "position_side": PositionSide(view["position_side"]).name.lower(),
                **_special_terms(instrument, view),
            }
            client_id = exchange.client_order_id(account, view["order_id"], exchange.seq)
            if client_id is not None:
                order["client_order_id"] = client_id
            orders.append(order)
        return {"account": account, "orders": orders}

    # --- markets ----------------------------------------------------------------------

    def _book(self, query: Mapping[str, Any]) -> dict[str, Any]:
        instrument = self._find(query["symbol"])
        depth = query.get("depth")
        depth = 2**31 - 1 if depth is None else min(depth, 2**31 - 1)
        body: dict[str, Any] = {"symbol": instrument.symbol}
        for name, side in (("bids", Side.BUY), ("asks", Side.SELL)):
            levels = self._exchange.core.book_levels(instrument.index, int(side), depth)
            body[name] = [
                [instrument.tick.text(price), self._level(instrument, orders, query)]
                for price, orders in levels
            ]
        last = self._exchange.core.instrument_view(instrument.index)["last_price"]
        body["last_price"] = None if last == NONE else instrument.tick.text(last)
        return body

    def _level(
        self, instrument: Instrument, orders: list[tuple[int, int, int, int]],
        query: Mapping[str, Any],
    ) -> Any:
        lot = instrument.lot
        if query.get("l3"):
            return [[account, order_id, lot.text(displayed), lot.text(leaves)]
                    for account, order_id, displayed, leaves in orders]
        return lot.text(sum(displayed for _, _, displayed, _ in orders))

    def _auction(self, query: Mapping[str, Any]) -> dict[str, Any]:
        instrument = self._find(query["symbol"])
        view = self._exchange.core.auction_view(instrument.index)
        return {
            "symbol": instrument.symbol, "halt": HaltMode(view["halt"]).name.lower(),
            "indicative_price": _optional(instrument.tick, view["price"]),
            "indicative_quantity": _optional(instrument.lot, view["quantity"]),
            "imbalance": _optional(instrument.lot, view["imbalance"]),
            "reference_price": _optional(instrument.tick, view["reference_price"]),
        }

    def _tiers(self, query: Mapping[str, Any]) -> dict[str, Any]:
        instrument = self._find(query["symbol"])
        money = instrument.settle.minor
        rows = []
        for low, high, rate, leverage, deduction, base_rate, base_leverage in (
                self._exchange.core.tier_views(instrument.index)):
            scaled = Fraction(deduction) * money.step
            rows.append({
                "min_notional": money.text(low),
                "max_notional": None if high == MONEY_MAX else money.text(high),
                "maintenance_margin_rate": RATE.text(rate),
                "max_leverage": RATE.text(leverage),
                "maintenance_amount": decimal_text(
                    scaled.numerator * 10**money.decimals // scaled.denominator,
                    money.decimals + 8),
                "base_maintenance_margin_rate": RATE.text(base_rate),
                "base_max_leverage": RATE.text(base_leverage),
            })
        view = self._exchange.core.instrument_view(instrument.index)
        return {"symbol": instrument.symbol, "tiers": rows, **_multipliers(view)}

    def _instrument(self, query: Mapping[str, Any]) -> dict[str, Any]:
        instrument = self._find(query["symbol"])
        view = self._exchange.core.instrument_view(instrument.index)
        mark, terms = instrument.mark, instrument.terms

        def shown(value: int) -> str | None:
            return None if value == NONE else mark.text(value)

        return {
            "symbol": instrument.symbol, "kind": terms["kind"], "base": instrument.base,
            "quote": instrument.quote, "settle": instrument.settle.name,
            "tick_size": instrument.tick.text(1), "mark_tick": mark.text(1),
            "lot_size": instrument.lot.text(1),
            "contract_size": fraction_text(instrument.contract_size, 40),
            "maker_fee": _plain(terms.get("maker_fee", 0)),
            "taker_fee": _plain(terms.get("taker_fee", 0)),
            "liquidation_fee": _plain(terms.get("liquidation_fee", 0)),
            "tier_rule": terms.get("tier_rule", "marginal"),
            "price_band": _plain(terms.get("price_band")),
            "max_order_quantity": _plain(terms.get("max_order_quantity")),
            "min_order_quantity": _plain(terms.get("min_order_quantity")),
            "min_order_notional": _plain(terms.get("min_order_notional")),
            "max_order_notional": _plain(terms.get("max_order_notional")),
            "max_open_orders": terms.get("max_open_orders"),
            "mark_price": shown(view["mark_price"]), "index_price": shown(view["index_price"]),
            "last_price": None if view["last_price"] == NONE
            else instrument.tick.text(view["last_price"]),
            "open_interest": instrument.lot.text(view["open_interest"]),
            "halt": None if view["halt"] == HaltMode.NONE
            else HaltMode(view["halt"]).name.lower(),
            "feed_seq": None if view["feed_seq"] == NONE else view["feed_seq"],
            **_multipliers(view),
            "expiry_ts": terms.get("expiry_ts"), "is_settled": bool(view["is_over"]),
            "profile": show_profile(
                self._profile(instrument),
                CallLevels(*self._exchange.core.profile_calls_view(instrument.index)),
                instrument.settle),
            "fund": fund_name(view["fund"], self._exchange),
            "mark_max_age_ns": terms.get("mark_max_age_ns"),
            "mark_band": _plain(terms.get("mark_band")),
            "liquidations_paused": None if view["pause"] == PauseReason.NONE
            else PauseReason(view["pause"]).name.lower(),
        }

    def _profile(self, instrument: Instrument) -> Profile:
        return Profile(*self._exchange.core.profile_view(instrument.index))

    def _queue(self, query: Mapping[str, Any]) -> dict[str, Any]:
        exchange = self._exchange
        entries = []
        for account, asset, symbol, equity, maintenance, steps, waits, until, leg in (
                exchange.core.queue_view()):
            money = exchange.assets_by_index[asset].minor
            entries.append({
                "account": account, "asset": exchange.assets_by_index[asset].name,
                "symbol": None if symbol == NONE
                else exchange.instruments_by_index[symbol].symbol,
                "position_side": None if leg == NONE else PositionSide(leg).name.lower(),
                "equity": money.text(equity), "maintenance_margin": money.text(maintenance),
                "margin_ratio": margin_ratio(equity, maintenance, is_open=True),
                "steps": steps, "is_waiting": bool(waits),
                "waits_for": None if not waits else WaitsFor(waits).name.lower(),
                "cooldown_until": None if until == NONE else until,
            })
        return {"entries": entries}

    def _adl_ranking(self, query: Mapping[str, Any]) -> dict[str, Any]:
        instrument = self._find(query["symbol"])
        body: dict[str, Any] = {"symbol": instrument.symbol}
        grid = {
            AdlScore.UPNL_X_LEVERAGE: instrument.settle.minor, AdlScore.SIZE: instrument.lot,
        }.get(AdlScore(self._profile(instrument).adl_score), RATE)
        for name, side in (("long", Side.BUY), ("short", Side.SELL)):
            ranking = self._exchange.core.adl_view(instrument.index, int(side))
            body[name] = [
                {"rank": rank, "account": account, "score": grid.text(score),
                 "quantity": instrument.lot.text(lots)}
                for rank, (account, score, lots) in enumerate(ranking, start=1)
            ]
        return body

    def _liquidation_map(self, query: Mapping[str, Any]) -> dict[str, Any]:
        instrument = self._find(query["symbol"])
        bucket = query.get("bucket")
        ppm = _DEFAULT_BUCKET if bucket is None else _PPM.positive_units(bucket)
        if ppm <= 0:
            raise LookupError(
                RejectReason.MALFORMED, "bucket must be a positive multiple of 0.000001")
        mark, money = instrument.mark, instrument.settle.minor
        now = self._exchange.core.instrument_view(instrument.index)["mark_price"]
        return {
            "symbol": instrument.symbol, "mark_price": _optional(mark, now),
            "buckets": [
                {"price_low": mark.text(low), "price_high": mark.text(high),
                 "side": "long" if side == LONG else "short", "notional": money.text(notional),
                 "quantity": instrument.lot.text(lots), "accounts": accounts}
                for low, high, side, notional, lots, accounts
                in self._exchange.liquidation_map(instrument.symbol, ppm).tolist()
            ],
        }

    # --- money ------------------------------------------------------------------------

    def _collateral(self, query: Mapping[str, Any]) -> dict[str, Any]:
        exchange, index = self._exchange, self._exchange.asset_index(query["asset"])
        view = exchange.core.collateral_view(index) if index >= 0 else None
        if view is None:
            raise LookupError(RejectReason.UNKNOWN_ASSET, "no such collateral asset")
        amount = exchange.assets_by_index[index].minor
        value = exchange.assets_by_index[view["value_asset"]]
        return {
            "asset": query["asset"], "value_asset": value.name,
            "price": _optional(RATE, view["price"]),
            "tiers": [
                {"max_amount": None if most == MONEY_MAX else amount.text(most),
                 "weight": RATE.text(weight)} for most, weight in view["tiers"]],
            "conversion_threshold": _optional(value.minor, view["threshold"]),
            "conversion_fee": RATE.text(view["fee"]),
        }

    def _insurance(self, query: Mapping[str, Any]) -> dict[str, Any]:
        exchange = self._exchange
        positions = []
        for instrument in exchange.instruments_by_index:
            view = exchange.core.instrument_view(instrument.index)
            quantity, value = view["fund_quantity"], view["fund_entry_value"]
            if not quantity:
                continue
            money = instrument.settle.minor
            worth = instrument.worth(abs(quantity), view["mark_price"])
            is_owed = (quantity > 0) == (instrument.kind is ContractKind.INVERSE)
            positions.append({
                "symbol": instrument.symbol, "fund": fund_name(view["fund"], exchange),
                "quantity": instrument.lot.text(quantity),
                "entry_price": entry_price(instrument, quantity, value),
                "entry_value": money.text(value),
                "mark_price": instrument.mark.text(view["mark_price"]),
                "unrealized_pnl": money.text(
                    (-worth if is_owed else worth) - value),
            })
        return {
            "assets": {
                asset.name: {"balance": asset.minor.text(
                    exchange.core.insurance_balance(asset.index))}
                for asset in exchange.assets_by_index
            },
            "funds": [
                {"asset": exchange.assets_by_index[asset].name,
                 "fund": fund_name(number, exchange),
                 "balance": exchange.assets_by_index[asset].minor.text(balance)}
                for asset, number, balance in exchange.core.fund_views()
            ],
            "positions": positions,
        }

    def _backstops(self, query: Mapping[str, Any]) -> dict[str, Any]:
        exchange = self._exchange
        rows = []
        for account, asset, symbol, commitment, discount, used in exchange.core.backstop_views():
            instrument = None if symbol == NONE else exchange.instruments_by_index[symbol]
            settle = instrument.settle if instrument else exchange.assets_by_index[asset]
            rows.append({
                "account": account, "asset": None if asset == NONE else settle.name,
                "symbol": instrument.symbol if instrument else None,
                "commitment": settle.minor.text(commitment),
                "remaining": settle.minor.text(commitment - used),
                "discount": None if discount == NONE else RATE.text(discount),
            })
        return {"backstops": rows}

    def _directory(self) -> dict[str, Any]:
        exchange = self._exchange
        return {
            "assets": [
                {"asset": asset.name, "index": asset.index, "decimals": asset.decimals}
                for asset in exchange.assets_by_index],
            "symbols": [
                {
                    "symbol": one.symbol, "index": one.index, "settle": one.settle.name,
                    "tick_size": one.tick.text(1), "mark_tick": one.mark.text(1),
                    "lot_size": one.lot.text(1),
                }
                for one in exchange.instruments_by_index],
        }

    def totals(self) -> dict[str, Any]:
        """Return conservation terms by asset and net positions by symbol."""
        exchange = self._exchange
        return {
            "assets": {
                asset.name: {
                    name: asset.minor.text(value)
                    for name, value in exchange.core.totals_view(asset.index).items()
                }
                for asset in exchange.assets_by_index
            },
            "positions": {
                instrument.symbol: dict(zip(
                    ("accounts", "fund", "external"),
                    map(instrument.lot.text, exchange.core.position_totals(instrument.index)),
                    strict=True))
                for instrument in exchange.instruments_by_index
            },
        }
