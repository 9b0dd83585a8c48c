"""Keys with the same 32 bits of hash are told apart, whatever else has come and gone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.core.exchange import ExchangeCore
from engine.messages import (
    MONEY_MAX,
    NONE,
    RATE_SCALE,
    MarginMode,
    OrderType,
    Side,
    StpMode,
    TierRule,
    TimeInForce,
)
from engine.reference import ReferenceCore

Core = ExchangeCore | ReferenceCore
Keys = npt.NDArray[np.uint64]
_PRIME, _OTHER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_HALF = np.uint64(32)


def tags(scope: Keys, key: Keys) -> Keys:
    """What a slot of the compiled core's tables has of a key."""
    mixed = key * _PRIME ^ (scope + np.uint64(1)) * _OTHER
    return ((mixed ^ mixed >> _HALF) * _PRIME) >> _HALF


def sharing(found: Keys) -> npt.NDArray[np.int64]:
    """Places of keys whose tag another one has too, neighbours by tag."""
    order = np.argsort(found, kind="stable")
    same = found[order][1:] == found[order][:-1]
    return order[np.append(same, False) | np.append(False, same)].astype(np.int64)


def market(symbols: int) -> tuple[ExchangeCore, ReferenceCore]:
    """Both cores, with the same symbols at 100."""
    both = ExchangeCore(), ReferenceCore()
    for core in both:
        core.add_asset()
        for symbol in range(symbols):
            core.add_instrument(
                0, 1, 1, 0, 0, 0, NONE, NONE, NONE, TierRule.MARGINAL,
                [(0, MONEY_MAX, RATE_SCALE // 100, 20 * RATE_SCALE)])
            core.mark(symbol, 100)
    return both


def agree(both: tuple[ExchangeCore, ReferenceCore]) -> None:
    compiled, reference = both
    compiled.check()
    assert compiled.drain() == reference.drain()
    assert compiled.digest() == reference.digest()


def bid(core: Core, account: int, order_id: int) -> None:
    core.place_order(
        account, 0, order_id, Side.BUY, OrderType.LIMIT, 1, 50, TimeInForce.GTC, False, False,
        StpMode.NONE)


def test_accounts() -> None:
    ids = np.arange(1, 400_000, dtype=np.uint64)
    alike = [int(ids[i]) for i in sharing(tags(np.zeros_like(ids), ids))]
    assert len(alike) >= 10
    both = market(1)
    for core in both:
        for number in alike[::2]:
            core.open_account(number, MarginMode.CROSS)
        for number in alike:  # every other one is unknown, though its tag is there
            core.deposit(number, 0, 1_000 + number)
        assert core.rejected_seq
        for number in alike[1::2]:
            core.open_account(number, MarginMode.CROSS)
            core.deposit(number, 0, 5)
    agree(both)
    assert both[0].account_ids() == sorted(set(alike))


def test_orders_come_and_go() -> None:
    ids = np.arange(1, 400_000, dtype=np.uint64)
    alike = [int(ids[i]) for i in sharing(tags(np.zeros_like(ids), ids))]
    both = market(1)
    for core in both:
        core.open_account(7, MarginMode.CROSS)
        core.deposit(7, 0, 1_000_000)
        for number in alike[::2]:
            bid(core, 7, number)
        for number in alike[1::2]:
            core.cancel(7, 0, number)  # not there, but one with its tag
            bid(core, 7, number)
        for number in alike[::2]:
            core.cancel(7, 0, number)
            core.cancel(7, 0, number)
        for number in alike:
            assert core.has_order(7, number) == (number in alike[1::2])
            bid(core, 7, number)  # refused where the id is taken
    agree(both)


def test_positions() -> None:
    accounts, symbols = 2_000, 100
    rows = np.repeat(np.arange(accounts, dtype=np.uint64), symbols)
    legs = np.tile(np.arange(symbols, dtype=np.uint64), accounts)
    alike = sharing(tags(rows, legs))
    assert len(alike) >= 4
    both = market(symbols)
    for core in both:
        for number in range(accounts):
            core.open_account(number + 1, MarginMode.CROSS)
        for turn in range(2):
            for i in alike.tolist():
                core.deposit(int(rows[i]) + 1, 0, 100_000)
                # Its first symbol is found without the table.
                for symbol in (int(legs[i]) // 2, int(legs[i])):
                    core.fill(int(rows[i]) + 1, symbol, Side.BUY, 1 + turn, 100, 0)
    agree(both)
