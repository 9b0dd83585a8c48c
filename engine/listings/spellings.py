"""The names under which one contract goes: at venues, in libraries, in files.

Every contract is entered under all its spellings, so that a name is never taken apart: what
is looked up is what was listed, and two contracts under one spelling are told, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.errors import InputError

if TYPE_CHECKING:
    from engine.exchange import Exchange

#: Assets that some venues write otherwise.
_ALSO = {"BTC": ("XBT",), "XBT": ("BTC",), "DOGE": ("XDG",), "XDG": ("DOGE",)}
_PERPETUAL = ("PERP", "SWAP", "PERPETUAL", "P")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
#: Letters of the months in codes of futures.
_CODES = "FGHJKMNQUVXZ"
#: Venues that some programs write before (`BINANCE:`) or behind (`.BINANCE`) a name.
_VENUES = (
    "BINANCE", "BITFINEX", "BITGET", "BITMEX", "BYBIT", "COINBASE", "CRYPTOFACILITIES", "DERIBIT",
    "DYDX", "GATE", "GATEIO", "HTX", "HUOBI", "HYPERLIQUID", "KRAKEN", "KUCOIN", "MEXC", "OKEX",
    "OKX", "PHEMEX",
)
_BEFORE = re.compile(rf"(?:{'|'.join(_VENUES)}):(?=[^:]+\Z)")
_BEHIND = re.compile(rf"\.(?:{'|'.join(_VENUES)})\Z")
_SEPARATORS = re.compile(r"[-/:_. ]+")
_SHOWN_MAX = 8


def unified_name(instrument: Mapping[str, Any]) -> str:
    """Return ccxt's name of an instrument, which is the same for all venues.

    Parameters
    ----------
    instrument : mapping
        An `instrument` command, or its terms.

    Examples
    --------
    >>> unified_name({"base": "BTC", "quote": "USD", "settle": "BTC"})
    'BTC/USD:BTC'
    """
    name = f"{instrument['base']}/{instrument['quote']}:{instrument['settle']}"
    expiry = _expiry(instrument)
    return name if expiry is None else f"{name}-{expiry:%y%m%d}"


def _expiry(instrument: Mapping[str, Any]) -> datetime | None:
    ts = instrument.get("expiry_ts")
    return None if ts is None else datetime.fromtimestamp(ts // 10**9, UTC)


def _key(name: str) -> str:
    """Return a name in capitals, without its venue, whatever it is joined with."""
    plain = _BEHIND.sub("", _BEFORE.sub("", name.strip().upper()))
    return _SEPARATORS.sub("-", plain)


def _spellings(instrument: Mapping[str, Any]) -> Iterator[str]:
    base, quote, settle = (instrument[name] for name in ("base", "quote", "settle"))
    expiry = _expiry(instrument)
    kraken = "I" if instrument.get("kind") == "inverse" else "F"
    for one in (base, *_ALSO.get(base.upper(), ())):
        for other in (quote, *_ALSO.get(quote.upper(), ())):
            pairs = (one + other, f"{one}-{other}", f"{one}-{other}-{settle}")
            if expiry is None:
                yield from _of_perpetual(one, pairs, kraken)
            else:
                yield from _of_future(one, pairs, kraken, expiry)


def _of_perpetual(base: str, pairs: tuple[str, ...], kraken: str) -> Iterator[str]:
    yield base
    yield from pairs
    yield f"P{kraken}-{pairs[0]}"
    yield pairs[0] + "M"  # KuCoin
    for ending in _PERPETUAL:
        yield from (f"{name}-{ending}" for name in (base, *pairs))
    yield from (base + "PERP", pairs[0] + "PERP")


def _of_future(
    base: str, pairs: tuple[str, ...], kraken: str, expiry: datetime
) -> Iterator[str]:
    year, month, day = f"{expiry:%y}", _MONTHS[expiry.month - 1], expiry.day
    code = _CODES[expiry.month - 1]
    dates = (
        f"{expiry:%y%m%d}", f"{expiry:%Y%m%d}", f"{day}{month}{year}", f"{day:02}{month}{year}",
        f"{year}{code}{day:02}")
    for date in dates:
        yield from (f"{name}-{date}" for name in (base, *pairs))
        yield f"F{kraken}-{pairs[0]}-{date}"
    yield from (f"{name}{code}{year}" for name in (base, pairs[0]))


class Spellings:
    """Finds instruments by any of their common names.

    Parameters
    ----------
    instruments : iterable of mappings
        `instrument` commands: their `symbol`, `base`, `quote`, `settle`, `kind`, `expiry_ts`.

    Examples
    --------
    >>> names = Spellings([{"symbol": "BTCUSDT", "base": "BTC", "quote": "USDT", "settle": "USDT"}])
    >>> names.find("BTC/USDT:USDT"), names.find("btc-usdt-swap"), names.find("XBTUSDT.P")
    ('BTCUSDT', 'BTCUSDT', 'BTCUSDT')
    """

    def __init__(self, instruments: Iterable[Mapping[str, Any]]) -> None:
        self._instruments = {one["symbol"]: one for one in instruments}
        self._symbols: dict[str, list[str]] = {}
        for symbol, instrument in self._instruments.items():
            # A set: spellings may coincide. Symbols are in the order of the source.
            for key in {_key(name) for name in (symbol, *_spellings(instrument))}:
                self._symbols.setdefault(key, []).append(symbol)

    @classmethod
    def of(cls, exchange: Exchange) -> Spellings:
        """Return the spellings of the instruments that an exchange has declared."""
        return cls(exchange.instrument(symbol).terms for symbol in exchange.symbols)

    def find(self, name: str) -> str:
        """Return the symbol of the instrument that goes by a name.

        A symbol itself always means that instrument. Else capitals, and what the parts are
        joined with, make no difference.

        Parameters
        ----------
        name : str
            `BTCUSDT`, `BTC-USDT-SWAP`, `BTC/USDT:USDT`, `BTC-PERP`, `BTCUSD_241227`,
            `BTC-27DEC24`, `XBTZ24`, …

        Returns
        -------
        str

        Raises
        ------
        InputError
            None goes by it, or several: they are named.

        Notes
        -----
        Complexity: O(1).
        """
        if name in self._instruments:
            return name
        found = self._symbols.get(_key(name), [])
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputError(f"{name[:64]!r}: no instrument goes by this name")
        shown = [f"{symbol} ({unified_name(self._instruments[symbol])})" for symbol in found]
        more = [f"{len(shown) - _SHOWN_MAX} more"] if len(shown) > _SHOWN_MAX else []
        raise InputError(
            f"{name[:64]!r} may be any of {', '.join(shown[:_SHOWN_MAX] + more)}; say which")
