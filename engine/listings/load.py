"""Load the instruments of a venue's file, whichever of the known shapes it has."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import ModuleType
from typing import Any

from engine.commands import check_shape
from engine.errors import CommandError, InputError
from engine.listings import binance, bybit, okx, unified
from engine.listings.rows import Contract, Row
from engine.listings.spellings import Spellings
from engine.messages import RATE_SCALE
from engine.schedules.load import Source, parse_json, read_schedules, read_text
from engine.schedules.rows import (
    Loaded,
    Note,
    Place,
    exact_text,
    maintenance_rate,
    make_row,
)

_SHAPES = (
    "Binance exchangeInfo, Bybit instruments-info, OKX instruments, or ccxt markets")
#: Of a settle asset about which the file says nothing.
_DECIMALS = 8
_DECIMALS_MAX = 18

Tiers = Source | Loaded


@dataclass
class Listed:
    """The instruments of a source.

    Attributes
    ----------
    shape : str
        `binance`, `bybit`, `okx` or `ccxt`.
    assets : dict of str to int
        Settle assets and their decimals.
    instruments : dict of str to dict
        `instrument` commands by symbol, in the order of the source.
    skipped : dict of str to int
        How many rows were left out: `spot`, or the state of what is not being traded.
    notes : list of Note
        What was read by a rule and not by the letter.
    """

    shape: str
    assets: dict[str, int] = field(default_factory=dict)
    instruments: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def commands(self) -> list[dict[str, Any]]:
        """Return the commands that declare all of it: `asset`, then `instrument`."""
        return [
            *({"cmd": "asset", "asset": name, "decimals": decimals}
              for name, decimals in self.assets.items()),
            *self.instruments.values()]

    def find(self, name: str) -> dict[str, Any]:
        """Return the instrument that goes by a name (`Spellings.find`).

        Raises
        ------
        InputError
        """
        return self.instruments[Spellings(self.instruments.values()).find(name)]


def load_instruments(
    source: Source,
    *,
    symbols: str | Sequence[str] = (),
    tiers: Tiers | None = None,
    decimals: Mapping[str, int] | None = None,
    terms: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the commands that declare the instruments of a file or of parsed JSON.

    See `read_instruments`, which also says what was left out and by which rules.

    Examples
    --------
    >>> asset, instrument = load_instruments({"code": "0", "data": [{
    ...     "instId": "BTC-USDT-SWAP", "instType": "SWAP", "ctType": "linear", "uly": "BTC-USDT",
    ...     "settleCcy": "USDT", "ctVal": "0.01", "ctMult": "1", "ctValCcy": "BTC", "lever": "100",
    ...     "tickSz": "0.1", "lotSz": "0.01", "minSz": "0.01", "state": "live"}]})
    >>> asset
    {'cmd': 'asset', 'asset': 'USDT', 'decimals': 8}
    >>> instrument["symbol"], instrument["contract_size"], instrument["tick_size"]
    ('BTC-USDT-SWAP', '0.01', '0.1')
    """
    return read_instruments(
        source, symbols=symbols, tiers=tiers, decimals=decimals, terms=terms).commands()


def read_instruments(
    source: Source,
    *,
    symbols: str | Sequence[str] = (),
    tiers: Tiers | None = None,
    decimals: Mapping[str, int] | None = None,
    terms: Mapping[str, Any] | None = None,
) -> Listed:
    """Read instruments; the shape is told by the content, never by a name.

    Parameters
    ----------
    source : path, mapping or list
        A file, or JSON already parsed; floats are refused, so parse with
        ``parse_float=decimal.Decimal``.
    symbols : str or sequence of str, optional
        Those wanted, in any common spelling; the rest of the file may be as it likes. Default:
        all that are being traded.
    tiers : path, mapping, list or Loaded, optional
        Margin schedules (`engine.schedules`), their symbols in any common spelling. Without,
        an instrument has one tier: see docs/instruments.md.
    decimals : mapping of str to int, optional
        Of settle assets. Default: what the file says, else 8, and more where steps need it.
    terms : mapping, optional
        Further fields for every instrument (`taker_fee`, `profile`, …); they come before what
        the file says.

    Returns
    -------
    Listed
        Commands that a fresh exchange accepts.

    Raises
    ------
    InputError
        One line with the file, the symbol and the field.
    """
    label = "<data>"
    if isinstance(source, str | os.PathLike):
        label = os.fspath(source)
        source = parse_json(read_text(label), label)
    shape, reader = _shape_of(source, label)
    listed = Listed(shape)
    wanted = [symbols] if isinstance(symbols, str) else symbols
    found, chosen = _read_rows(reader, source, label, listed, wanted)
    if not chosen:
        left = ", ".join(f"{count} {why}" for why, count in listed.skipped.items())
        raise InputError(f"{label}: no instruments in the file" + (left and f" ({left})"))
    schedules = _Schedules(tiers, found)
    for symbol in chosen:
        contract = found[symbol]
        listed.instruments[symbol] = {
            **contract.command(symbol, schedules.rows_of(symbol, contract)),
            **schedules.rule, **(terms or {})}
    if schedules.made:
        listed.notes.append(Place(label).note(
            f"no schedules given: one tier each for {schedules.made}, at the file's leverage"
            + (" and half of 1 / that as maintenance rate" if schedules.has_halved else "")))
    listed.assets = _assets(listed, label, [found[symbol] for symbol in chosen], decimals or {})
    _try_out(listed, label)
    return listed


def _shape_of(data: Any, label: str) -> tuple[str, ModuleType]:
    first = data[0] if isinstance(data, list) and data else None
    if isinstance(data, Mapping) and data:
        first = next(iter(data.values()))
    if binance.is_reply(data):
        return "binance", binance
    if unified.is_market(first):
        return "ccxt", unified
    if bybit.is_row(first) or (isinstance(data, Mapping) and "retCode" in data):
        return "bybit", bybit
    if okx.is_row(first) or (isinstance(data, Mapping) and {"code", "data"} <= set(data)):
        return "okx", okx
    raise InputError(f"{label}: none of {_SHAPES}")


def _read_rows(
    reader: Any, source: Any, label: str, listed: Listed, wanted: Sequence[str]
) -> tuple[dict[str, Contract], list[str]]:
    """Read what is there, and say which of it is wanted.

    Without a choice a row that cannot be read refuses the file. With one, only if it is chosen:
    the rest is read for its names alone.
    """
    found: dict[str, Contract] = {}
    broken: dict[str, InputError] = {}
    skipped: Counter[str] = Counter()
    for row in reader.rows(source, label, listed.notes):
        if reader.is_spot(row):
            skipped["spot"] += 1
            continue
        if row.symbol in found or row.symbol in broken:
            raise row.place.refuse("the symbol comes twice")
        try:
            state = None if wanted else reader.idle_state(row)
            if state is not None:
                skipped[state] += 1
                continue
            found[row.symbol] = _read_row(reader, row, listed.notes)
        except InputError as error:
            if not wanted:
                raise
            broken[row.symbol] = error
    listed.skipped = dict(skipped)
    if not wanted:
        return found, list(found)
    names = Spellings(_terms(found))
    chosen = []
    for name in wanted:
        if name in broken:
            raise broken[name]
        try:
            symbol = names.find(name)
        except InputError as error:
            raise InputError(f"{label}: {error}") from None
        if symbol not in chosen:
            chosen.append(symbol)
    listed.notes[:] = [note for note in listed.notes if note.symbol in (None, *chosen)]
    return found, chosen


def _read_row(reader: Any, row: Row, notes: list[Note]) -> Contract:
    contract: Contract = reader.read(row, notes)
    return contract


def _terms(contracts: Mapping[str, Contract]) -> Iterator[dict[str, Any]]:
    for symbol, contract in contracts.items():
        yield {"symbol": symbol, "base": contract.base, "quote": contract.quote,
               "settle": contract.settle, "kind": contract.kind, "expiry_ts": contract.expiry_ts}


class _Schedules:
    """Schedules given for contracts, else the one tier that the file gives.

    Parameters
    ----------
    tiers : source of schedules or Loaded, optional
    contracts : mapping of str to Contract
        All of the file: among them the names of the schedules are looked up.
    """

    def __init__(self, tiers: Tiers | None, contracts: Mapping[str, Contract]) -> None:
        self.made = 0
        self.has_halved = False
        self.rule: dict[str, str] = {}
        self._rows: dict[str, list[Any]] = {}
        self._label: str | None = None
        if tiers is None:
            return
        loaded = tiers if isinstance(tiers, Loaded) else read_schedules(tiers)
        self._label = "the tiers given"
        if isinstance(tiers, str | os.PathLike):
            self._label = os.fspath(tiers)
        if loaded.tier_rule != "marginal":
            self.rule = {"tier_rule": loaded.tier_rule}
        names = Spellings(_terms(contracts))
        self._rows = {name: rows for name, rows in loaded.schedules.items() if name in contracts}
        given = dict.fromkeys(self._rows, "")
        for name, rows in loaded.schedules.items():
            try:
                symbol = names.find(name)
            except InputError:
                continue  # of an instrument that is not in the file, or of none in particular
            if symbol not in given:
                self._rows[symbol], given[symbol] = rows, name
            elif given[symbol] != "" and name != symbol:
                raise InputError(
                    f"{self._label}: {given[symbol]} and {name} are both names of {symbol}")

    def rows_of(self, symbol: str, contract: Contract) -> list[Any]:
        """Return the tier rows of a contract."""
        if symbol in self._rows:
            return self._rows[symbol]
        if self._label is not None:
            raise contract.place.refuse(
                f"no schedule for it in {self._label}; say which symbols are wanted")
        if contract.max_leverage is None:
            raise contract.place.refuse("the file does not tell its leverage; give tiers")
        if contract.max_leverage < 1:
            raise contract.place.refuse("its leverage is below 1")
        self.made += 1
        leverage = Fraction(contract.max_leverage * RATE_SCALE // 1, RATE_SCALE)
        rate = contract.maintenance_rate
        if rate is None:
            self.has_halved = True
            rate = maintenance_rate(leverage, Fraction(1, 2), contract.place, [])
        return [make_row(Fraction(0), None, rate, leverage)]


def _digits(value: Fraction) -> int:
    """Return how many decimals a number has; 0 for one that no decimal string is."""
    try:
        return len(exact_text(value).partition(".")[2])
    except ValueError:
        return 0  # the engine says what is wrong with it


def _assets(
    listed: Listed, label: str, contracts: Sequence[Contract], given: Mapping[str, int]
) -> dict[str, int]:
    """Return the decimals of each settle asset: given, or enough for all."""
    found = {contract.settle: _DECIMALS for contract in contracts}
    found.update(
        {contract.settle: contract.decimals for contract in contracts
         if contract.decimals is not None})
    for name, decimals in given.items():
        if name not in found:
            raise InputError(f"{label}: decimals of {name}: no instrument settles in it")
        found[name] = decimals
    for contract in contracts:
        needed = _digits(contract.step_value())
        name = contract.settle
        if name not in given and found[name] < needed <= _DECIMALS_MAX:
            listed.notes.append(contract.place.note(
                f"{name} has {needed} decimals in place of {found[name]}, for one lot and tick"))
            found[name] = needed
    return found


def _try_out(listed: Listed, label: str) -> None:
    """Refuse what an exchange would refuse: its own checks decide."""
    from engine.exchange import Exchange

    exchange = Exchange(core="reference")
    for command in listed.commands():
        name = command.get("symbol") or command["asset"]
        try:
            check_shape(command)
        except CommandError as error:
            raise Place(label, name).refuse(str(error)) from None
        for event in exchange.apply(command):
            if event["event"] == "rejected":
                raise Place(label, name).refuse(
                    f"the engine refuses it: {event['reason']}: {event['detail']}")


__all__ = ["Listed", "load_instruments", "read_instruments"]
