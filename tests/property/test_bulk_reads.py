"""The tables of all accounts and positions say what the single queries say, on both cores."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support import CORES
from support.universe import Universe

from engine import Exchange
from engine.messages import (
    ACCOUNT_FIELDS,
    MONEY_MAX,
    NONE,
    POSITION_FIELDS,
    RATE_SCALE,
    RATIO_WORST,
    AccountStatus,
    MarginMode,
)
from engine.units import RATE

_AMOUNTS = [name for name, _ in ACCOUNT_FIELDS[1:8]] + ["collateral"]


def filled(seed: int, count: int, core: str) -> Exchange:
    universe, exchange = Universe(seed), Exchange(core=core)
    for command in universe.opening():
        exchange.submit(command)
    for _ in range(count):
        exchange.submit(universe.next())
    return exchange


def told_accounts(exchange: Exchange) -> list[tuple[Any, ...]]:
    """Rows of the table, written as the `account` query writes them."""
    rows = []
    for row in exchange.accounts_array():
        minor = exchange.assets_by_index[row["asset"]].minor
        ratio = None if row["margin_ratio"] == RATIO_WORST else RATE.text(int(row["margin_ratio"]))
        rows.append((
            int(row["account"]), exchange.assets[row["asset"]],
            AccountStatus(row["status"]).name.lower(),
            {name: minor.text(int(row[name])) for name in _AMOUNTS} | {"margin_ratio": ratio}))
    return rows


def asked_accounts(exchange: Exchange) -> list[tuple[Any, ...]]:
    """The same from the queries."""
    rows = []
    for account in exchange.core.account_ids():
        reply = exchange.query({"query": "account", "account": account})
        for asset in sorted(reply["assets"], key=exchange.assets.index):
            rows.append((account, asset, reply["status"], reply["assets"][asset]))
    return rows


def check_positions(exchange: Exchange) -> int:
    """Compare every field of every position with the query's; return how many there were."""
    table = exchange.positions_array()
    expected = [
        (account, view) for account in exchange.core.account_ids()
        for view in exchange.core.position_views(account)]
    assert len(table) == len(expected)
    for row, (account, view) in zip(table, expected, strict=True):
        assert (row["account"], row["mark"]) == (account, view["mark_price"])
        for name, _ in POSITION_FIELDS:
            if name in view:
                told = 0 if view[name] == NONE else view[name]
                assert row[name] == told, name
        assert MarginMode(row["margin_mode"]) == view["margin_mode"]
    for symbol in exchange.symbols:
        index = exchange.symbol_index(symbol)
        assert (exchange.positions_array(symbol) == table[table["symbol"] == index]).all()
    plain = exchange.positions_array(with_prices=False)
    assert not plain["liquidation_price"].any() and not plain["bankruptcy_price"].any()
    same = [name for name, _ in POSITION_FIELDS if not name.endswith("_price")]
    assert (plain[same] == table[same]).all()
    return len(table)


@pytest.mark.parametrize("core", CORES)
def test_the_tables_say_what_the_queries_say(core: str) -> None:
    seen = 0
    for seed in range(700, 716):
        exchange = filled(seed, 250, core)
        assert told_accounts(exchange) == asked_accounts(exchange)
        seen += check_positions(exchange)
    assert seen > 20


def test_both_cores_give_the_same_tables() -> None:
    for seed in range(720, 728):
        one, other = (filled(seed, 300, core) for core in CORES[:2])
        assert one.accounts_array().dtype == other.accounts_array().dtype
        assert (one.accounts_array() == other.accounts_array()).all()
        assert one.positions_array().dtype == other.positions_array().dtype
        assert (one.positions_array() == other.positions_array()).all()


@pytest.mark.parametrize("core", CORES)
def test_the_tables_are_in_the_order_of_the_ids(core: str) -> None:
    exchange = filled(731, 0, core)
    opened = [30, 11, 97, 12, 50]
    for account in opened:
        exchange.submit({"cmd": "account", "account": account})
        exchange.submit({"cmd": "deposit", "account": account, "asset": "USD", "amount": "1000"})
        for symbol in reversed(exchange.symbols):
            exchange.submit({"cmd": "mark", "symbol": symbol, "mark_price": "100"})
            exchange.submit({"cmd": "fill", "account": account, "symbol": symbol, "side": "buy",
                             "quantity": "1", "price": "100"})
    for table in (exchange.accounts_array(), exchange.positions_array()):
        mine = table["account"][np.isin(table["account"], opened)]
        assert (np.diff(mine) >= 0).all() and set(mine.tolist()) == set(opened)
    assert told_accounts(exchange) == asked_accounts(exchange)
    check_positions(exchange)


@pytest.mark.parametrize("core", CORES)
def test_an_empty_exchange_has_empty_tables(core: str) -> None:
    exchange = Exchange(core=core)
    assert exchange.accounts_array().dtype.names == tuple(name for name, _ in ACCOUNT_FIELDS)
    assert len(exchange.accounts_array()) == len(exchange.positions_array()) == 0
    with pytest.raises(KeyError):
        exchange.positions_array("A")
    with pytest.raises(LookupError):
        exchange.core.positions_array(0)


#: Lots of account 1 in each symbol: at a mark of 1000 nearly 2^62 minor units.
LOTS = 46 * 10**12


def steep(core: str, risen: str) -> Exchange:
    """Long A, B and C, short D, at a mark of 1; then some of them rise to 1000."""
    exchange = Exchange(core=core)
    exchange.apply({"cmd": "asset", "asset": "USD", "decimals": 2})
    for symbol in "ABCD":
        exchange.apply({
            "cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol,
            "quote": "USD", "settle": "USD", "tick_size": "1", "lot_size": "1",
            "tiers": [{"min_notional": "0", "max_notional": None,
                       "maintenance_margin_rate": "0.79", "max_leverage": "1"}]})
        exchange.apply({"cmd": "mark", "symbol": symbol, "mark_price": "1"})
    for account, lots, amount in ((1, LOTS, 3 * 10**14), (2, 1, 100)):
        exchange.apply({"cmd": "account", "account": account})
        exchange.apply({
            "cmd": "deposit", "account": account, "asset": "USD", "amount": str(amount)})
        for symbol in "ABCD":
            exchange.apply({"cmd": "fill", "account": account, "symbol": symbol, "price": "1",
                            "quantity": str(lots), "side": "sell" if symbol == "D" else "buy"})
    for symbol in risen:
        exchange.apply({"cmd": "mark", "symbol": symbol, "mark_price": "1000"})
    return exchange


@pytest.mark.parametrize("core", CORES)
def test_an_initial_margin_beyond_the_range_is_its_bound(core: str) -> None:
    exchange = steep(core, "AB")
    rich, poor = exchange.accounts_array()
    gain = 2 * LOTS * 999 * 100
    assert (rich["unrealized_pnl"], rich["equity"]) == (gain, gain + 3 * 10**16)
    assert rich["initial_margin"] == MONEY_MAX < 2 * LOTS * 1000 * 100
    assert rich["maintenance_margin"] == 2002 * LOTS * 79
    assert (poor["initial_margin"], poor["available_margin"]) == (2002_00, 96_00)
    assert told_accounts(exchange) == asked_accounts(exchange)
    check_positions(exchange)


@pytest.mark.parametrize("core", CORES)
def test_a_row_holds_what_64_bits_hold_of_a_larger_sum(core: str) -> None:
    exchange = steep(core, "ABC")
    rich, poor = exchange.accounts_array()
    equity, needed = 3 * LOTS * 999 * 100 + 3 * 10**16, 3001 * LOTS * 79
    assert rich["equity"] == rich["unrealized_pnl"] == rich["maintenance_margin"] == 2**63 - 1
    assert rich["initial_margin"] == MONEY_MAX
    assert rich["available_margin"] == equity - 3001 * LOTS * 100 > 0
    assert rich["margin_ratio"] == -(-needed * RATE_SCALE // equity)
    assert (poor["equity"], poor["available_margin"]) == (3097_00, 96_00)
    reply = exchange.query({"query": "account", "account": 1})
    assert reply["equity"] == f"{equity // 100}"
    assert Fraction(reply["maintenance_margin"]) == Fraction(needed, 100)
    assert RATE.text(int(rich["margin_ratio"])) == reply["margin_ratio"]
    assert told_accounts(exchange)[1:] == asked_accounts(exchange)[1:]
    check_positions(exchange)


@pytest.mark.parametrize("core", CORES)
def test_prices_stand_on_sums_beyond_64_bits(core: str) -> None:
    exchange = steep(core, "ABC")
    prices = exchange.positions_array("D")["liquidation_price"]
    # What is left over its requirement, over what a mark more costs and asks for.
    spare = 3 * LOTS * 999 * 100 + 3 * 10**16 - 3001 * LOTS * 79
    assert prices[0] == 1 + -(-spare // (LOTS * 179))
    reply = exchange.query({"query": "liquidation_map", "symbol": "D", "bucket": "1000"})
    assert [bucket["quantity"] for bucket in reply["buckets"]] == [str(LOTS + 1)]
    broke = exchange.positions_array("D")["bankruptcy_price"]
    assert broke[0] == 1 + (3 * LOTS * 999 * 100 + 3 * 10**16) // (LOTS * 100)
