"""Coin-margined instruments that fit a feed: inverse contracts of ten units of the quote.

A contract is worth 10 (BTC: 100) of the quote and settles in the coin that it is on, as
Binance's coin-margined perpetuals do. Tiers are those of the linear instruments made for feeds,
at the first price.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from engine.demo.market import TIER_SHAPE, scaled_text
from engine.errors import InputError

_DECIMALS = 8
_NAME = re.compile(r"([A-Z0-9]{1,16}?)[-_/]?(USD[TC]?)(?:[-_./:].*)?")
#: Tiers of a middling market: so many thousand times the shape's notionals.
_SCALE = 300


def coin_commands(first_prices: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the commands that declare coins and an inverse instrument for each symbol.

    Parameters
    ----------
    first_prices : mapping of str to str

    Raises
    ------
    InputError
        A symbol that does not name its coin.
    """
    declared = set()
    for symbol, price in first_prices.items():
        found = _NAME.fullmatch(symbol)
        if found is None:
            raise InputError(
                f"{symbol}: cannot tell its coin; rename it to COINUSD with --map, or give a "
                "--scenario")
        coin = found[1]
        if coin not in declared:
            declared.add(coin)
            yield {"cmd": "asset", "asset": coin, "decimals": _DECIMALS}
        exponent = Decimal(price).adjusted() - 5
        yield {
            "cmd": "instrument", "symbol": symbol, "kind": "inverse", "base": coin,
            "quote": "USD", "settle": coin, "tick_size": scaled_text(1, exponent),
            "mark_tick": scaled_text(1, exponent - 1), "lot_size": "1",
            "contract_size": "100" if coin == "BTC" else "10", "maker_fee": "0",
            "taker_fee": "0.0005", "liquidation_fee": "0.002", "tiers": _tiers(Decimal(price)),
        }


def _tiers(price: Decimal) -> list[dict[str, Any]]:
    rows, low = [], "0"
    for cap, rate, leverage in TIER_SHAPE:
        high = None
        if cap is not None:
            coins = Decimal(cap * _SCALE) / price
            # Two digits are enough to say how much that is in coins.
            high = f"{coins.quantize(Decimal(1).scaleb(max(coins.adjusted() - 1, -_DECIMALS))):f}"
        rows.append({
            "min_notional": low, "max_notional": high, "maintenance_margin_rate": rate,
            "max_leverage": str(leverage)})
        low = high or low
    return rows
