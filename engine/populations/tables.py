"""Populations in parquet files (`pyarrow`, an extra).

| column | holds |
|---|---|
| `account` | id; where it is missing, 1, 2, 3, … |
| `symbol` | name of an instrument |
| `quantity` | long above zero, short below |
| `entry_price` or `entry_value` | of the position; the value exactly |
| `deposit` | in the instrument's settle asset |
| `leverage` | setting; 0, null or missing: as the exchange has it |
| `margin_mode` | `cross` or `isolated`; missing: cross |

Numbers are decimal strings, decimals, integers or floats (taken as the shortest decimal that
means the same float); each must be a multiple of its lot or minor unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import InputError
from engine.messages import MONEY_MAX
from engine.populations.accounts import Accounts, Ints
from engine.units import RATE, decimal_text

if TYPE_CHECKING:
    from engine.exchange import Exchange

_BATCH_ROWS = 1 << 16


def is_parquet(path: str) -> bool:
    """Tell whether a file is one of parquet, by its first bytes."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PAR1"
    except OSError as error:
        raise InputError(f"{path}: cannot open: {(error.strerror or '').lower()}") from None


def read_parquet(exchange: Exchange, path: str) -> Accounts:
    """Read a population for the instruments of an exchange.

    Raises
    ------
    InputError
        With the row (from 1), the column and what is wrong.
    """
    arrow, parquet = _libraries(path)
    parts: list[list[Ints]] = []
    try:
        with parquet.ParquetFile(path) as file:
            names = set(file.schema_arrow.names)
            missing = {"symbol", "quantity", "deposit"} - names
            if missing or not names & {"entry_price", "entry_value"}:
                lacks = sorted(missing) or ["entry_price or entry_value"]
                raise InputError(f"{path}: lacks the column {lacks[0]}")
            row = 0
            for batch in file.iter_batches(_BATCH_ROWS):
                columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
                parts.append(_Rows(exchange, path, row).convert(columns, batch.num_rows))
                row += batch.num_rows
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot read: {reason}") from None
    except arrow.ArrowException as error:
        raise InputError(f"{path}: not a parquet file: {error}") from None
    if not parts:
        raise InputError(f"{path}: no accounts in the file")
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    if len(np.unique(joined[0])) != len(joined[0]):
        raise InputError(f"{path}: an account is there twice; each has one position")
    account, symbol, quantity, value, deposit, leverage, is_isolated = joined
    return Accounts(
        account, symbol, quantity, value, deposit, leverage, is_isolated.astype(np.bool_))


def _libraries(path: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"{path}: parquet needs the pyarrow package: pip install 'perp-engine[parquet]'"
        ) from None
    return pyarrow, parquet


class _Rows:
    """Converts the columns of some rows."""

    def __init__(self, exchange: Exchange, path: str, before: int) -> None:
        self._exchange, self._path, self._before = exchange, path, before
        self._memory: dict[tuple[str, int, Any], int] = {}

    def convert(self, columns: dict[str, list[Any]], count: int) -> list[Ints]:
        exchange = self._exchange
        known = {name: exchange.instrument(name) for name in exchange.symbols}
        instruments = []
        for row, name in enumerate(columns["symbol"]):
            if name not in known:
                raise self._error(row, "symbol", f"no instrument {name!r:.40}")
            instruments.append(known[name])
        first = self._before + 1
        accounts = columns.get("account", range(first, first + count))
        quantity = self._numbers(
            "quantity", columns["quantity"], lambda row, v: instruments[row].lot.units(v),
            [one.index for one in instruments])
        deposit = self._numbers(
            "deposit", columns["deposit"],
            lambda row, v: instruments[row].settle.minor.units(v), [0] * count)
        if "entry_value" in columns:
            value = self._numbers(
                "entry_value", columns["entry_value"],
                lambda row, v: instruments[row].settle.minor.units(v), [0] * count)
        else:
            prices = [
                self._decimal(row, "entry_price", price)
                for row, price in enumerate(columns["entry_price"])]
            value = [
                abs(instrument.fill_value(abs(lots), price))
                for instrument, lots, price in zip(instruments, quantity, prices, strict=True)]
        leverage = self._numbers(
            "leverage", [one or 0 for one in columns.get("leverage", [0] * count)],
            lambda _, v: RATE.units(v), [0] * count)
        modes = columns.get("margin_mode", ["cross"] * count)
        for row in range(count):
            self._check(row, accounts[row], quantity[row], value[row], deposit[row], modes[row])
        lists: Sequence[Sequence[int]] = (
            list(accounts), [one.index for one in instruments], quantity, value, deposit, leverage,
            [mode == "isolated" for mode in modes])
        return [np.array(one, np.int64) for one in lists]

    def _check(
        self, row: int, account: Any, quantity: int, value: int, deposit: int, mode: Any
    ) -> None:
        if type(account) is not int or not 0 < account < 2**62:
            raise self._error(row, "account", f"not a positive whole number: {account!r:.40}")
        if quantity == 0:
            raise self._error(row, "quantity", "is zero")
        if not 0 <= value < MONEY_MAX:
            raise self._error(row, "entry_value", "is out of range")
        if not 0 < deposit < MONEY_MAX:
            raise self._error(row, "deposit", "must be above zero")
        if mode not in ("cross", "isolated"):
            raise self._error(row, "margin_mode", f"must be cross or isolated, not {mode!r:.40}")

    def _numbers(
        self, name: str, values: Sequence[Any], units: Callable[[int, str], int],
        keys: Sequence[int],
    ) -> list[int]:
        out = []
        for row, (value, key) in enumerate(zip(values, keys, strict=True)):
            # The same sizes come again and again.
            known = self._memory.get((name, key, value))
            if known is None:
                known = units(row, self._decimal(row, name, value))
                if abs(known) > MONEY_MAX:
                    raise self._error(row, name, f"not a multiple of its step: {value!r:.40}")
                self._memory[name, key, value] = known
            out.append(known)
        return out

    def _decimal(self, row: int, name: str, value: Any) -> str:
        try:
            text = repr(value) if isinstance(value, float) else str(value)
            number = Decimal(text)
            if isinstance(value, bool) or not number.is_finite() or abs(number.adjusted()) > 30:
                raise ValueError
        except (ArithmeticError, ValueError):
            raise self._error(row, name, f"not a number: {value!r:.40}") from None
        return f"{number:f}"

    def _error(self, row: int, column: str, reason: str) -> InputError:
        return InputError(f"{self._path}: row {self._before + row + 1}: {column}: {reason}")


def write_parquet(exchange: Exchange, accounts: Accounts, path: str) -> None:
    """Write a population as decimal strings; `read_parquet` gives the same again.

    Raises
    ------
    InputError
        Without the library, or where the file cannot be written.
    """
    arrow, parquet = _libraries(path)
    instruments = [exchange.instrument(name) for name in exchange.symbols]
    held = [instruments[k] for k in accounts.symbol.tolist()]
    rows = list(zip(held, accounts.quantity.tolist(), strict=True))
    table = arrow.table({
        "account": accounts.account,
        "symbol": [one.symbol for one in held],
        "quantity": [one.lot.text(lots) for one, lots in rows],
        "entry_value": _amounts(held, accounts.entry_value),
        "deposit": _amounts(held, accounts.deposit),
        "leverage": [decimal_text(value, RATE.decimals) for value in accounts.leverage.tolist()],
        "margin_mode": np.where(accounts.is_isolated, "isolated", "cross").tolist(),
    })
    try:
        parquet.write_table(table, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot write: {reason}") from None


def _amounts(held: Sequence[Any], units: Ints) -> list[str]:
    return [
        one.settle.minor.text(value) for one, value in zip(held, units.tolist(), strict=True)]
