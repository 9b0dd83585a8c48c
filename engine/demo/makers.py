"""Market makers of the demo: layered depth that follows the mark and thins when it runs.

Each symbol has a few maker accounts with deep pockets. Every so many steps they
cancel and place their ladders again around the last mark. When the mark has
moved fast they show less, and it takes them a while to come back: that is what
leaves liquidations to the fund and to ADL near the bottom.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from engine.demo.market import SETTLE, Market

Command = dict[str, Any]

#: Makers stand far above the population's account ids.
FIRST_ACCOUNT = 900_000_001
MAKERS_PER_SYMBOL = 3
#: Ladder: distance from the mark in 1e-4, share of one side's depth in percent.
_LADDER = ((2, 4), (5, 6), (10, 10), (20, 15), (40, 20), (80, 22), (150, 23))
_DEPOSIT = "2000000000"
#: Depth of one side in a calm market, per million of the symbol's open value.
_DEPTH_PPM = 30_000
#: A move of this many 1e-4 between two quotes halves the depth.
_HALF_DEPTH_MOVE = 30
_DEPTH_SHARE_PPM_MIN = 50_000


class Makers:
    """The makers' accounts and ladders.

    Parameters
    ----------
    markets : sequence of Market
    open_value_minor : dict
        Symbol → value of the population's positions, which sizes the depth.
    """

    def __init__(self, markets: Sequence[Market], open_value_minor: dict[str, int]) -> None:
        self._markets = markets
        self._accounts = {
            market.symbol: [FIRST_ACCOUNT + at * MAKERS_PER_SYMBOL + maker
                            for maker in range(MAKERS_PER_SYMBOL)]
            for at, market in enumerate(markets)
        }
        self._depth_minor = {
            market.symbol: open_value_minor.get(market.symbol, 0) * _DEPTH_PPM // 1_000_000
            for market in markets
        }
        self._quoted_ticks: dict[str, int] = {}
        self._fear: dict[str, int] = {}
        self._next_order_id = 1

    def opening_commands(self) -> Iterator[Command]:
        """Yield the commands that open and fund the maker accounts."""
        for market in self._markets:
            for account in self._accounts[market.symbol]:
                yield {"cmd": "account", "account": account, "margin_mode": "cross"}
                yield {
                    "cmd": "deposit", "account": account, "asset": SETTLE, "amount": _DEPOSIT,
                }
                yield {
                    "cmd": "leverage", "account": account, "symbol": market.symbol,
                    "leverage": "1",
                }

    def quote_commands(self, marks: dict[str, str]) -> Iterator[Command]:
        """Yield the commands that move all ladders to new marks.

        Parameters
        ----------
        marks : dict
            Symbol → last mark of the feed, as a decimal string.
        """
        for market in self._markets:
            accounts = self._accounts[market.symbol]
            # All go before one comes back: a maker never trades with another's old quote.
            for account in accounts:
                yield {"cmd": "cancel_all", "account": account, "symbol": market.symbol}
            ticks = int(Decimal(marks[market.symbol]).scaleb(-market.tick_exponent))
            depth = self._depth_minor[market.symbol] * self._depth_share_ppm(market, ticks)
            for at, account in enumerate(accounts):
                # Staggered by a tick each, so that levels hold one order and queues form rarely.
                yield from self._ladder(market, account, ticks, depth // len(accounts), at)

    def _depth_share_ppm(self, market: Market, ticks: int) -> int:
        before = self._quoted_ticks.get(market.symbol, ticks)
        self._quoted_ticks[market.symbol] = ticks
        move = abs(ticks - before) * 10_000 // before
        # Fear comes at once and fades by an eighth a quote.
        fear = max(move, self._fear.get(market.symbol, 0) * 7 // 8)
        self._fear[market.symbol] = fear
        calm = _HALF_DEPTH_MOVE**2
        return max(1_000_000 * calm // (calm + fear * fear), _DEPTH_SHARE_PPM_MIN)

    def _ladder(
        self, market: Market, account: int, ticks: int, depth_scaled: int, shift: int
    ) -> Iterator[Command]:
        for distance, percent in _LADDER:
            offset = ticks * distance // 10_000 + 1 + shift
            for side, price_ticks in (("buy", ticks - offset), ("sell", ticks + offset)):
                if price_ticks <= 0:
                    continue
                value_minor = depth_scaled * percent // (100 * 1_000_000)
                lots = value_minor // (price_ticks * market.lot_value_minor)
                if lots == 0:
                    continue
                order_id = self._next_order_id
                self._next_order_id += 1
                yield {
                    "cmd": "order",
                    "account": account,
                    "symbol": market.symbol,
                    "order_id": order_id,
                    "side": side,
                    "type": "limit",
                    "quantity": market.quantity_text(lots),
                    "price": market.price_text(price_ticks),
                }


def describe_makers(symbol_count: int) -> list[tuple[str, str]]:
    """Return the makers' parameters as `(name, value)` for the report."""
    reach = " / ".join(f"{distance / 100:g} %" for distance, _ in (_LADDER[0], _LADDER[-1]))
    return [
        ("Maker accounts", f"{symbol_count * MAKERS_PER_SYMBOL}"),
        ("Ladder", f"{len(_LADDER)} levels a side, nearest / farthest {reach} from the mark"),
        ("Depth of one side, calm", f"{_DEPTH_PPM / 10_000:g} % of the symbol's open notional"),
        ("Thins out", f"to half after a move of {_HALF_DEPTH_MOVE / 100:g} % between two quotes"),
    ]
