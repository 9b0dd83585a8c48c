"""A small market to try things on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.embedding.terms import Tier

if TYPE_CHECKING:
    from engine.exchange import Exchange


def example_exchange(core: str = "compiled") -> Exchange:
    """Return an exchange with a market: the one of the examples in the docstrings.

    Parameters
    ----------
    core : {"compiled", "reference"}

    Returns
    -------
    Exchange
        USDT with two decimals; BTC with a tick and a lot of 1, 5 % maintenance and leverage up
        to 10, marked at 100; accounts 1 and 2 with 10,000 USDT each.

    Examples
    --------
    >>> example_exchange().account(2)["balances"]
    {'USDT': '10000'}
    """
    from engine.exchange import Exchange

    exchange = Exchange(core)
    exchange.add_asset("USDT", 2)
    exchange.add_instrument(
        "BTC", settle="USDT", tick_size=1, lot_size=1, tiers=[Tier("0", None, "0.05", "10")])
    exchange.mark("BTC", 100)
    for account in (1, 2):
        exchange.open_account(account)
        exchange.deposit(account, "USDT", 10_000)
    exchange.discard_events()
    return exchange
