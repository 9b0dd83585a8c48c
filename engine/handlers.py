"""What each command does to a core: names to indices, decimals to the core's integers.

One handler for each command, which decides nothing: every decision is the core's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.collateral import collateral_terms
from engine.instruments import (
    Asset,
    Instrument,
    TermsError,
    build_instrument,
    check_form,
    core_limits,
    core_mark_rules,
    core_terms,
    make_asset,
    parse_tiers,
)
from engine.messages import (
    NONE,
    Command,
    HaltMode,
    MarginMode,
    OrderType,
    PositionMode,
    PositionSide,
    RejectReason,
    Side,
    StpMode,
    TimeInForce,
    TriggerBy,
)
from engine.profiles import check_closing_fee, core_calls, core_profile
from engine.units import RATE, DecimalLike, Grid, sign_of

#: Fields of an order that the core takes behind the plain ones.
_SPECIAL = frozenset((
    "trigger_price", "trigger_by", "callback_rate", "display_quantity", "expire_ts",
    "close_position", "oco", "take_profit", "stop_loss", "position_side",
))
_LIMIT_TYPES = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)

MarkRow = tuple[str, DecimalLike, DecimalLike | None, int | None]


class Handlers:
    """The names and grids of an exchange, and a handler for each of its commands."""

    core: Any
    assets_by_index: list[Asset]
    instruments_by_index: list[Instrument]
    funds_by_index: list[str]
    #: (account, order id) -> (seq of acceptance, client id or None), oldest first: an id
    #: may be used again, and events of its earlier order may not be drained yet.
    client_ids: dict[tuple[int, int], tuple[tuple[int, str | None], ...]]
    _funds: dict[tuple[int, str], int]
    _assets: dict[str, Asset]
    _instruments: dict[str, Instrument]
    #: seq of a refused command -> what was wrong, by the reason that it explains.
    _details: dict[int, dict[RejectReason, str]]
    _handlers: dict[str, Callable[[Mapping[str, Any], int], None]]

    # --- what rendering asks for ------------------------------------------------------

    def client_order_id(self, account: int, order_id: int, seq: int) -> str | None:
        """Return the client's own id that an order had at a command, if it had one."""
        for accepted, name in reversed(self.client_ids.get((account, order_id), ())):
            if accepted <= seq:
                return name
        return None

    def rejection_detail(self, seq: int, reason: RejectReason) -> str | None:
        """Return what was wrong with a refused command, and forget it."""
        return self._details.pop(seq, {}).get(reason)

    def asset_index(self, name: str) -> int:
        """Return an asset's index, -1 where there is none."""
        asset = self._assets.get(name)
        return -1 if asset is None else asset.index

    def symbol_index(self, symbol: str) -> int:
        """Return a symbol's index, -1 where there is none."""
        instrument = self._instruments.get(symbol)
        return -1 if instrument is None else instrument.index

    def _known(self, symbol: str) -> Instrument:
        """The instrument of a symbol; KeyError where there is none."""
        instrument = self._instruments.get(symbol)
        if instrument is None:
            raise KeyError(f"no such symbol: {symbol!r:.80}")
        return instrument

    # --- handlers: one a command, numbers to integers ---------------------------------

    def _reject(
        self, command: Command, reason: RejectReason, ts: int, detail: str | None = None,
        account: int = NONE, symbol: int = NONE, order_id: int = NONE,
    ) -> None:
        self.core.reject(int(command), int(reason), account, symbol, order_id, ts)
        if detail is not None:
            self._details[int(self.core.seq)] = {reason: detail}

    def _do_asset(self, line: Mapping[str, Any], ts: int) -> None:
        name, decimals = line["asset"], line["decimals"]
        if not 0 <= decimals <= 18:
            self._reject(Command.ASSET, RejectReason.MALFORMED, ts, "decimals must be 0 to 18")
        elif name in self._assets:
            self._reject(Command.ASSET, RejectReason.ALREADY_EXISTS, ts)
        else:
            before = len(self.assets_by_index)
            asset = make_asset(before, name, decimals)
            self.assets_by_index.append(asset)
            self._assets[name] = asset
            self.core.add_asset(ts)
            if not self._was_accepted:  # only a `ts` going back can fail here
                del self._assets[name], self.assets_by_index[before]

    @property
    def _was_accepted(self) -> bool:
        return bool(self.core.rejected_seq != self.core.seq)

    def _do_instrument(self, line: Mapping[str, Any], ts: int) -> None:
        try:
            check_form(line, self.core.ts if ts == NONE else ts)
            if line["symbol"] in self._instruments:
                raise TermsError(RejectReason.ALREADY_EXISTS, "declared before")
            settle = self._assets.get(line["settle"])
            if settle is None:
                raise TermsError(RejectReason.UNKNOWN_ASSET, f"no asset {line['settle']}")
            tiers = parse_tiers(line["tiers"], settle)
            index = len(self.instruments_by_index)
            instrument = build_instrument(index, line, settle)
            if self.core.collateral_view(settle.index) is not None:
                raise TermsError(
                    RejectReason.BAD_INSTRUMENT, f"{settle.name} is a collateral asset")
            profile = core_profile(line.get("profile"), settle)
            calls = core_calls(line.get("profile"))
            check_closing_fee(profile, line, tiers)
        except TermsError as error:
            self._reject(Command.INSTRUMENT, error.reason, ts, error.detail)
            return
        self.instruments_by_index.append(instrument)
        self._instruments[instrument.symbol] = instrument
        known = len(self.funds_by_index)
        fund = self._fund_number(settle, line.get("fund"))
        self.core.add_instrument(
            *core_terms(instrument, tiers), ts, *core_limits(instrument), tuple(profile), fund,
            *core_mark_rules(instrument), list(calls.levels), calls.hysteresis)
        if not self._was_accepted:
            del self._instruments[instrument.symbol], self.instruments_by_index[index]
            if len(self.funds_by_index) > known:
                del self._funds[settle.index, self.funds_by_index.pop()]

    def _fund_number(self, settle: Asset, name: str | None) -> int:
        """Number of a settle asset's fund, a new one for a new name; NONE: the pooled one."""
        if name is None:
            return NONE
        if (settle.index, name) not in self._funds:
            self._funds[settle.index, name] = len(self.funds_by_index)
            self.funds_by_index.append(name)
        return self._funds[settle.index, name]

    def _do_tiers(self, line: Mapping[str, Any], ts: int) -> None:
        instrument = self._instruments.get(line["symbol"])
        if instrument is None:
            self._reject(Command.TIERS, RejectReason.UNKNOWN_SYMBOL, ts)
            return
        try:
            tiers = parse_tiers(line["tiers"], instrument.settle)
        except TermsError as error:
            self._reject(
                Command.TIERS, error.reason, ts, error.detail, symbol=instrument.index)
            return
        self.core.set_tiers(instrument.index, tiers, ts)

    def _do_profile(self, line: Mapping[str, Any], ts: int) -> None:
        instrument = self._instruments.get(line["symbol"])
        if instrument is None:
            self._reject(Command.PROFILE, RejectReason.UNKNOWN_SYMBOL, ts)
            return
        try:
            profile = core_profile(line.get("profile"), instrument.settle)
            calls = core_calls(line.get("profile"))
        except TermsError as error:
            self._reject(
                Command.PROFILE, error.reason, ts, error.detail, symbol=instrument.index)
            return
        self.core.set_profile(
            instrument.index, tuple(profile), ts, list(calls.levels), calls.hysteresis)

    def _do_account(self, line: Mapping[str, Any], ts: int) -> None:
        mode = MarginMode[line.get("margin_mode", "cross").upper()]
        legs = PositionMode[line.get("position_mode", "one_way").upper()]
        levels = line.get("margin_call_levels")
        self.core.open_account(
            line["account"], int(mode), ts, _int_or_none(line.get("stp_group")),
            None if levels is None else _levels(levels),
            _rate_or_none(line.get("margin_call_hysteresis")), _int_or_none(line.get("parent")),
            int(legs))

    def _do_position_mode(self, line: Mapping[str, Any], ts: int) -> None:
        mode = PositionMode[line["mode"].upper()]
        self.core.set_position_mode(line["account"], int(mode), ts)

    def _do_margin_call_levels(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.set_margin_call_levels(
            line["account"], _levels(line["levels"]), _rate_or_none(line.get("hysteresis")), ts)

    def _do_margin_multiplier(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.set_margin_multiplier(
            self.symbol_index(line["symbol"]), RATE.units(line["maintenance"]),
            RATE.units(line["initial"]), _int_or_none(line.get("effective_ts")), ts)

    def _do_account_multiplier(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.set_account_multiplier(line["account"], RATE.units(line["multiplier"]), ts)

    def _do_transfer(self, line: Mapping[str, Any], ts: int) -> None:
        amount = -1 if sign_of(line["amount"]) < 0 else self._amount(
            line["asset"], line["amount"])
        self.core.transfer(
            line["account"], line["to"], self.asset_index(line["asset"]), amount, ts)

    def _do_auto_top_up(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.set_auto_top_up(
            line["account"], self.symbol_index(line["symbol"]), line["enabled"], ts)

    def _amount(self, asset: str, amount: DecimalLike) -> int:
        """Minor units of an amount; of an unknown asset only the sign is of interest."""
        known = self._assets.get(asset)
        return known.minor.units(amount) if known else sign_of(amount)

    def _do_deposit(self, line: Mapping[str, Any], ts: int) -> None:
        amount = -1 if sign_of(line["amount"]) < 0 else self._amount(
            line["asset"], line["amount"])
        self.core.deposit(line["account"], self.asset_index(line["asset"]), amount, ts)

    def _do_withdraw(self, line: Mapping[str, Any], ts: int) -> None:
        amount = -1 if sign_of(line["amount"]) < 0 else self._amount(
            line["asset"], line["amount"])
        self.core.withdraw(line["account"], self.asset_index(line["asset"]), amount, ts)

    def _do_insurance(self, line: Mapping[str, Any], ts: int) -> None:
        amount = self._amount(line["asset"], line["amount"])
        asset, name = self.asset_index(line["asset"]), line.get("fund")
        fund = NONE if name is None else self._funds.get((asset, name), -1)
        self.core.fund_insurance(asset, amount, ts, fund)

    def _do_backstop(self, line: Mapping[str, Any], ts: int) -> None:
        asset, symbol = line.get("asset"), line.get("symbol")
        settle = self._assets.get(asset) if asset is not None else None
        if symbol in self._instruments:
            settle = self._instruments[symbol].settle
        sign = sign_of(line["commitment"])
        commitment = sign if sign < 0 or settle is None else settle.minor.units(
            line["commitment"])
        self.core.set_backstop(
            line["account"], NONE if asset is None else self.asset_index(asset),
            NONE if symbol is None else self.symbol_index(symbol), commitment,
            _rate_or_none(line.get("discount")), ts)

    def _do_leverage(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.set_leverage(
            line["account"], self.symbol_index(line["symbol"]), RATE.positive_units(
                line["leverage"]), ts)

    def _do_margin_mode(self, line: Mapping[str, Any], ts: int) -> None:
        mode = MarginMode[line["mode"].upper()]
        self.core.set_margin_mode(
            line["account"], self.symbol_index(line["symbol"]), int(mode), ts)

    def _do_isolated_margin(self, line: Mapping[str, Any], ts: int) -> None:
        symbol = self.symbol_index(line["symbol"])
        amount = sign_of(line["amount"])
        if symbol >= 0:
            amount = self.instruments_by_index[symbol].settle.minor.units(line["amount"])
        self.core.adjust_isolated_margin(
            line["account"], symbol, amount, ts, _position_side(line))

    def _price(self, symbol: int, price: DecimalLike | None) -> int:
        if price is None:
            return NONE
        return _units(self.instruments_by_index[symbol].tick if symbol >= 0 else None, price)

    def _lots(self, symbol: int, quantity: DecimalLike | None) -> int:
        if quantity is None:
            return NONE
        return _units(self.instruments_by_index[symbol].lot if symbol >= 0 else None, quantity)

    def _leaves(self, symbol: int, leaves: DecimalLike | None) -> int:
        """Open quantity of an amend: at or below zero it cancels, whatever the grid."""
        if leaves is None:
            return NONE
        return max(0, self._lots(symbol, leaves)) if sign_of(leaves) <= 0 else self._lots(
            symbol, leaves)

    def _do_order(self, line: Mapping[str, Any], ts: int) -> None:
        account, order_id = line["account"], line["order_id"]
        symbol = self.symbol_index(line["symbol"])
        order_type = OrderType[line["type"].upper()]
        time_in_force = line.get("time_in_force")
        if time_in_force is None:
            tif = TimeInForce.GTC if order_type in _LIMIT_TYPES else TimeInForce.IOC
        else:
            tif = TimeInForce[time_in_force.upper()]
        stp = StpMode[(line.get("stp") or "none").upper()]
        client_id = line.get("client_order_id")
        self.core.place_order(
            account, symbol, order_id, int(Side[line["side"].upper()]), int(order_type),
            self._lots(symbol, line.get("quantity", 1)), self._price(symbol, line.get("price")),
            int(tif), bool(line.get("post_only")), bool(line.get("reduce_only")), int(stp), ts,
            *self._special_terms(symbol, line))
        if not self._was_accepted:
            return
        key = (account, order_id)
        if client_id is not None or key in self.client_ids:
            known = self.client_ids.get(key, ())
            self.client_ids[key] = (*known, (int(self.core.seq), client_id))
        # The ids of attached orders are taken from now on; an earlier name is no longer theirs.
        for attached in (line.get("take_profit"), line.get("stop_loss")):
            key = (account, attached["order_id"] if attached else 0)
            if key in self.client_ids:
                self.client_ids[key] += ((int(self.core.seq), None),)

    def _special_terms(self, symbol: int, line: Mapping[str, Any]) -> tuple[Any, ...]:
        """What an order has beyond the plain ones; nothing for those."""
        if _SPECIAL.isdisjoint(line) or all(
                line.get(name) is None or line[name] is False for name in _SPECIAL):
            return ()
        rate = line.get("callback_rate")
        return (
            self._mark_price(symbol, line.get("trigger_price")),
            _trigger_by(line.get("trigger_by")),
            NONE if rate is None else RATE.units(rate),
            self._lots(symbol, line.get("display_quantity")),
            _int_or_none(line.get("expire_ts")), bool(line.get("close_position")),
            _int_or_none(line.get("oco")), self._attached(symbol, line.get("take_profit")),
            self._attached(symbol, line.get("stop_loss")), _position_side(line),
        )

    def _attached(
        self, symbol: int, attached: Mapping[str, Any] | None
    ) -> tuple[int, int, int, int] | None:
        if attached is None:
            return None
        return (
            attached["order_id"], self._mark_price(symbol, attached["trigger_price"]),
            _trigger_by(attached.get("trigger_by")), self._price(symbol, attached.get("price")))

    def _mark_price(self, symbol: int, price: DecimalLike | None) -> int:
        if price is None:
            return NONE
        return _units(self.instruments_by_index[symbol].mark if symbol >= 0 else None, price)

    def _do_amend(self, line: Mapping[str, Any], ts: int) -> None:
        symbol = self.symbol_index(line["symbol"])
        self.core.amend_order(
            line["account"], symbol, line["order_id"], self._price(symbol, line.get("price")),
            self._lots(symbol, line.get("quantity")), self._leaves(symbol, line.get("leaves")),
            ts, self._mark_price(symbol, line.get("trigger_price")))

    def _do_cancel(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.cancel(
            line["account"], self.symbol_index(line["symbol"]), line["order_id"], ts)

    def _do_cancel_all(self, line: Mapping[str, Any], ts: int) -> None:
        account, symbol = line.get("account"), line.get("symbol")
        self.core.cancel_all(
            NONE if account is None else account,
            NONE if symbol is None else self.symbol_index(symbol), ts,
            NONE if line.get("side") is None else int(Side[line["side"].upper()]))

    def _do_cancel_all_after(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.cancel_all_after(line["account"], line["timeout"], ts)

    def _do_protection(self, line: Mapping[str, Any], ts: int) -> None:
        symbol = self.symbol_index(line["symbol"])
        self.core.set_protection(
            line["account"], symbol, _int_or_none(line.get("window")),
            self._lots(symbol, line.get("quantity")), _int_or_none(line.get("count")),
            line.get("freeze") or 0, ts)

    def _do_fill(self, line: Mapping[str, Any], ts: int) -> None:
        symbol = self.symbol_index(line["symbol"])
        quantity = self._lots(symbol, line["quantity"])
        value, fee = 0 if sign_of(line["price"]) > 0 else -1, 0
        if symbol >= 0:
            instrument = self.instruments_by_index[symbol]
            value = instrument.fill_value(quantity, line["price"])
            fee = instrument.settle.minor.units(line.get("fee", 0))
        self.core.fill(
            line["account"], symbol, int(Side[line["side"].upper()]), quantity, value, fee, ts,
            _position_side(line))

    def _mark_row(
        self, symbol: str, mark: DecimalLike, index: DecimalLike | None, feed_seq: int | None
    ) -> tuple[int, int, int, int]:
        at = self.symbol_index(symbol)
        grid = self.instruments_by_index[at].mark if at >= 0 else None
        return (
            at, _units(grid, mark), NONE if index is None else _units(grid, index),
            NONE if feed_seq is None else feed_seq)

    def _do_mark(self, line: Mapping[str, Any], ts: int) -> None:
        row = self._mark_row(
            line["symbol"], line["mark_price"], line.get("index_price"), line.get("feed_seq"))
        self.core.mark(*row, ts, _int_or_none(line.get("cause")))

    def _do_marks(self, line: Mapping[str, Any], ts: int) -> None:
        rows = [
            self._mark_row(
                row["symbol"], row["mark_price"], row.get("index_price"), row.get("feed_seq"))
            for row in line["marks"]]
        self.core.marks(rows, ts, _int_or_none(line.get("cause")))

    def _do_funding(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.funding(self.symbol_index(line["symbol"]), RATE.units(line["rate"]), ts)

    def _do_halt(self, line: Mapping[str, Any], ts: int) -> None:
        mode = HaltMode[line["mode"].upper()]
        self.core.halt(self.symbol_index(line["symbol"]), int(mode), ts)

    def _do_resume(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.resume(self.symbol_index(line["symbol"]), ts)

    def _do_settle(self, line: Mapping[str, Any], ts: int) -> None:
        symbol = self.symbol_index(line["symbol"])
        self.core.settle_contract(symbol, self._mark_price(symbol, line.get("price")), ts)

    def _do_time(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.advance(ts)

    def _do_collateral(self, line: Mapping[str, Any], ts: int) -> None:
        if line["asset"] == line["value_asset"]:
            self._reject(
                Command.COLLATERAL, RejectReason.MALFORMED, ts,
                "an asset is no collateral of itself")
            return
        asset, value = (self._assets.get(line[name]) for name in ("asset", "value_asset"))
        self.core.set_collateral(
            -1 if asset is None else asset.index, -1 if value is None else value.index,
            *collateral_terms(line, asset, value), ts)

    def _do_asset_price(self, line: Mapping[str, Any], ts: int) -> None:
        self.core.set_asset_price(
            self.asset_index(line["asset"]), RATE.positive_units(line["price"]), ts)


def _int_or_none(value: int | None) -> int:
    return NONE if value is None else value


def _rate_or_none(value: DecimalLike | None) -> int:
    return NONE if value is None else RATE.units(value)


def _levels(values: Iterable[DecimalLike]) -> list[int]:
    return [RATE.units(value) for value in values]


def _position_side(line: Mapping[str, Any]) -> int:
    name = line.get("position_side")
    return NONE if name is None else int(PositionSide[name.upper()])


def _trigger_by(name: str | None) -> int:
    return NONE if name is None else int(TriggerBy[name.upper()])


def _units(grid: Grid | None, value: DecimalLike) -> int:
    """Units of a positive number; without a grid (unknown symbol) only its sign."""
    return sign_of(value) if grid is None else grid.positive_units(value)
