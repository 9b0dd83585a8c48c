"""The digest of the whole logical state: equal states give equal digests."""

from __future__ import annotations

import hashlib

from engine.messages import NONE, RATE_SCALE, CallLevels, PositionSide, Profile, Side
from engine.reference.collateral import Collateral
from engine.reference.margin import UNSCALED
from engine.reference.state import (
    DEFAULT_CALL_LEVELS,
    Account,
    Instrument,
    InsuranceFund,
    Order,
    Pool,
    Protection,
    Stage,
)
from engine.reference.views import Views

#: What stands before settings that are digested only where they are not the default.
TAG_CALL_LEVELS = -1
TAG_MULTIPLIERS = -2
TAG_ANNOUNCED = -3
TAG_PARENT = -4
TAG_AUTO_TOP_UP = -5
TAG_KIND = -6
TAG_EXPIRY = -7
TAG_OVER = -8
TAG_COLLATERAL = -60
TAG_CLOSING_FEE = -70
TAG_MAKER_CHECK = -71
TAG_ACCOUNT_MULTIPLIER = -72
TAG_MARK_AGE = -73
TAG_MARK_BAND = -74
TAG_MARK_PAUSE = -75
TAG_PROFILE_CALLS = -76
TAG_CLOSING = -80
TAG_PAUSE = -81
TAG_RAMP = -82
TAG_PATIENT = -83
TAG_SLICES = -84
TAG_FUND_PROFILE = -90
TAG_WORKOFF = -91
TAG_NAMED_FUND = -92
TAG_INSURER = -93
TAG_BACKSTOP = -94
TAG_OFFER_PROFILE = -95
TAG_OFFER = -96
#: Fields of a profile that were there first; the others are digested by themselves.
FIRST_FIELDS = 20
#: Fields of a profile that come behind their own tag: those of the fund, from this one on.
FUND_FIELDS = Profile._fields.index("fund_workoff")
#: The first that comes behind a tag of its own, as do those after it.
SINGLE_FIELDS = Profile._fields.index("closing_fee_reserve")
#: Those of the fund's resting orders, from this one on.
OFFER_FIELDS = Profile._fields.index("fund_workoff_offset")
#: Bits by which what is written beside a smaller number is shifted. One-way accounts have
#: nothing there.
UPPER = 32


def with_leg(symbol: int, leg: PositionSide) -> int:
    """A symbol (NONE: none) and a leg in one number."""
    return symbol + (leg << UPPER)


# What stands in front of what is not always there.
TURNS_TAG, FUND_TAG, PROFILE_TAG, QUEUE_TAG = NONE + 101, NONE + 102, NONE + 103, NONE + 104


class Digest(Views):
    """A canonical walk over everything that later commands could tell apart."""

    def digest(self) -> bytes:
        """Hash of the logical state: a canonical walk, 8 bytes little-endian an integer.

        Rows that hold nothing but defaults are left out, so it makes no difference
        whether anybody ever looked at them.
        """
        out: list[int] = [
            self.ts, self.trade_id, self.arrivals, len(self.assets), len(self.instruments),
        ]
        if self.turns:
            out += [TURNS_TAG, self.turns]
        for number, asset in enumerate(self.assets):
            out += [asset.deposits, asset.withdrawals, asset.pooled.balance, asset.fees,
                    asset.rounding, asset.external]
            self.digest_history(asset.pooled, out)
            for fund in self.funds:
                if fund.asset == number:
                    out += [TAG_NAMED_FUND, fund.number, fund.balance]
                    self.digest_history(fund, out)
            self.digest_collateral(asset.collateral, out)
        for instrument in self.instruments:
            self.digest_instrument(instrument, out)
        for account in sorted(self.accounts):
            self.digest_account(self.accounts[account], out)
        for pool in self.waiting:
            out += [pool.account, pool.asset, with_leg(pool.symbol, pool.leg)]
        data = b"".join(value.to_bytes(8, "little", signed=True) for value in out)
        return hashlib.blake2b(data, digest_size=16).digest()

    def digest_history(self, fund: InsuranceFund, out: list[int]) -> None:
        for peak in self.fund_peaks(fund, self.fund_window(fund)):
            out += [FUND_TAG, *peak]

    @staticmethod
    def digest_collateral(collateral: Collateral | None, out: list[int]) -> None:
        if collateral is not None:
            out += [TAG_COLLATERAL, collateral.value_asset, collateral.exponent,
                    collateral.threshold, collateral.fee, collateral.price,
                    len(collateral.tiers)]
            for tier in collateral.tiers:
                out += tier

    def digest_instrument(self, instrument: Instrument, out: list[int]) -> None:
        out += [
            instrument.settle, instrument.marks_per_tick, instrument.unit_value,
            instrument.maker_fee, instrument.taker_fee, instrument.liquidation_fee,
            instrument.price_band, instrument.max_order_quantity, instrument.max_open_orders,
            instrument.min_order_quantity, instrument.min_order_notional,
            instrument.max_order_notional,
            instrument.schedule.rule, len(instrument.schedule.tiers),
        ]
        for row in instrument.schedule.base:
            out += row
        multipliers = instrument.schedule.multipliers
        if multipliers != UNSCALED:
            out += [TAG_MULTIPLIERS, multipliers.maintenance, multipliers.initial]
        if instrument.announced is not None:
            effective_ts, multipliers = instrument.announced
            out += [TAG_ANNOUNCED, effective_ts, multipliers.maintenance, multipliers.initial]
        out += [
            instrument.mark, instrument.index_price, instrument.last_price,
            instrument.feed_seq, instrument.halt, instrument.fund.quantity,
            instrument.fund.entry_value, instrument.external.quantity,
            instrument.external.entry_value,
        ]
        profile, default = instrument.profile, Profile()
        if profile[:FUND_FIELDS] != default[:FUND_FIELDS]:
            out += [PROFILE_TAG, *profile[:FIRST_FIELDS]]
        if profile[FIRST_FIELDS:FUND_FIELDS] != default[FIRST_FIELDS:FUND_FIELDS]:
            out += [TAG_CLOSING, *profile[FIRST_FIELDS:FUND_FIELDS]]
        for side in Side:
            for order in instrument.book.orders(side):
                out += [order.price, order.account, order.order_id]
        # What only some have, behind a negative tag: nothing else here begins so.
        if instrument.is_inverse:
            out += [TAG_KIND, instrument.kind]
        if instrument.expiry_ts != NONE:
            out += [TAG_EXPIRY, instrument.expiry_ts]
        if instrument.is_over:
            out.append(TAG_OVER)
        if self.slices_taken(instrument):
            out += [TAG_SLICES, instrument.slices_since, instrument.slices_taken]
        if profile[FUND_FIELDS:SINGLE_FIELDS] != default[FUND_FIELDS:SINGLE_FIELDS]:
            out += [TAG_FUND_PROFILE, *profile[FUND_FIELDS:SINGLE_FIELDS]]
        if instrument.insurer.number != NONE:
            out += [TAG_INSURER, instrument.insurer.number]
        workoff = instrument.workoff
        progress = [workoff.lots, workoff.interval, workoff.done]
        if any(progress):
            out += [TAG_WORKOFF, *progress]
        if profile[OFFER_FIELDS:] != default[OFFER_FIELDS:]:
            out += [TAG_OFFER_PROFILE, *profile[OFFER_FIELDS:]]
        if instrument.offer is not None:
            out += [TAG_OFFER, workoff.mark]
            self.digest_order(instrument.offer, out)
        if instrument.profile.closing_fee_reserve:
            out.append(TAG_CLOSING_FEE)
        if instrument.profile.maker_check:
            out.append(TAG_MAKER_CHECK)
        if instrument.mark_max_age != NONE:
            out += [TAG_MARK_AGE, instrument.mark_max_age, instrument.mark_ts]
        if instrument.mark_band != NONE:
            out += [TAG_MARK_BAND, instrument.mark_band]
        if instrument.pause:
            out += [TAG_MARK_PAUSE, instrument.pause]
        if instrument.call_levels != DEFAULT_CALL_LEVELS:
            out += self.calls_digest(TAG_PROFILE_CALLS, instrument.call_levels)

    @staticmethod
    def calls_digest(tag: int, calls: CallLevels) -> list[int]:
        return [tag, len(calls.levels), *calls.levels, calls.hysteresis]

    def digest_account(self, account: Account, out: list[int]) -> None:
        modes = account.margin_mode + (account.position_mode << UPPER)
        out += [account.id, modes, account.stp_group, account.dead_man_due]
        if account.call_levels is not None:
            out += self.calls_digest(TAG_CALL_LEVELS, account.call_levels)
        if account.parent != NONE:
            out += [TAG_PARENT, account.parent]
        for scope in sorted(self.backstops):
            if scope[0] == account.id:
                each = self.backstops[scope]
                out += [TAG_BACKSTOP, *scope[1:], each.commitment, each.discount, each.used]
        if account.multiplier != RATE_SCALE:
            out += [TAG_ACCOUNT_MULTIPLIER, account.multiplier]
        for asset in sorted(account.wallets):
            pool = account.wallets[asset]
            if pool.balance or pool.call_level or pool.in_queue:
                out += [asset, *self.pool_digest(pool)]
        for key in sorted(account.positions):
            position = account.positions[key]
            pool = position.isolated
            is_default = (
                position.leverage == 0 and position.margin_mode is account.margin_mode
                and position.protection is None and not position.auto_top_up
            )
            if position.quantity == 0 and not position.orders and not pool.balance and is_default:
                continue
            out += [
                with_leg(position.symbol, position.leg), position.quantity,
                position.entry_value, position.leverage, position.margin_mode,
                *self.pool_digest(pool), *self.protection_digest(position.protection),
            ]
            if position.auto_top_up:
                out.append(TAG_AUTO_TOP_UP)
            for order in position.orders.values():
                self.digest_order(order, out)

    def pool_digest(self, pool: Pool) -> list[int]:
        out = [
            pool.balance, pool.call_level, pool.in_queue, pool.is_waiting, pool.is_bankrupt,
            pool.steps if pool.in_queue else 0,
        ]
        own = self.accounts[pool.account].call_levels or DEFAULT_CALL_LEVELS
        if pool.call_level and pool.call_levels != own:
            out += self.calls_digest(TAG_PROFILE_CALLS, pool.call_levels)
        if pool.turn or pool.cooldown_until != NONE:
            out += [QUEUE_TAG, pool.turn, pool.cooldown_until]
        if pool.paused_until != NONE:
            out += [TAG_PAUSE, pool.paused_until]
        if pool.ramp_since != NONE:
            out += [TAG_RAMP, pool.ramp_since]
            for key, lots in sorted((with_leg(*key), lots) for key, lots in pool.ramped.items()):
                out += [key, lots]
        if pool.is_patient:
            out.append(TAG_PATIENT)
        return out

    def protection_digest(self, protection: Protection | None) -> list[int]:
        if protection is None:
            return [NONE]
        return [
            protection.window, protection.quantity, protection.count, protection.freeze,
            protection.start, protection.lots, protection.trades, self.frozen_until(protection),
        ]

    def digest_order(self, order: Order, out: list[int]) -> None:
        out += [
            order.order_id, order.side, order.price, order.quantity, order.leaves,
            order.time_in_force, order.post_only, order.reduce_only, order.stp, order.type,
            order.arrival, order.hidden, order.trigger_price, order.trigger_by,
            order.callback_rate, order.display_quantity, order.expire_ts, order.close_position,
            order.oco, order.parent, order.is_waiting, order.peak, *self.bracket_digest(order),
        ]

    @staticmethod
    def bracket_digest(order: Order) -> list[int]:
        """Of an entry: unarmed children whole, armed ones by id, and how much is armed."""
        bracket = order.bracket
        if bracket is None or order is not bracket.entry or bracket.is_over:
            return [NONE, NONE, NONE, NONE, 0]
        out: list[int] = []
        for terms in (bracket.take_profit, bracket.stop_loss):
            out += [NONE] if terms is None else terms
        for child in (bracket.armed_take_profit, bracket.armed_stop_loss):
            is_alive = child is not None and child.stage is not Stage.DEAD
            out.append(child.order_id if child and is_alive else NONE)
        return [*out, bracket.armed_lots]
