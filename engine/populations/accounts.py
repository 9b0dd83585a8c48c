"""Accounts with one position each, as columns, and how they get into an exchange."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engine.batches import account_commands, deposit_commands, fill_commands, leverage_commands
from engine.errors import RunError
from engine.messages import MarginMode

if TYPE_CHECKING:
    from engine.exchange import Exchange

Ints = npt.NDArray[np.int64]
_CHUNK = 50_000


@dataclass(frozen=True)
class Accounts:
    """One row an account.

    Attributes
    ----------
    account : array of int64
        Ids, each once.
    symbol : array of int64
        Index of the instrument.
    quantity : array of int64, lots
        Long > 0.
    entry_value : array of int64, minor units
        What all the lots cost, not negative.
    deposit : array of int64, minor units
    leverage : array of int64, 1e-8 units
        0: as the exchange has it.
    is_isolated : array of bool
    """

    account: Ints
    symbol: Ints
    quantity: Ints
    entry_value: Ints
    deposit: Ints
    leverage: Ints
    is_isolated: npt.NDArray[np.bool_]

    @property
    def count(self) -> int:
        return len(self.account)

    def fingerprint(self) -> str:
        """Hash of all columns, 16 hex digits."""
        digest = hashlib.blake2b(digest_size=8)
        for column in fields(self):
            values = np.ascontiguousarray(getattr(self, column.name)).astype("<i8")
            digest.update(values.tobytes())
        return digest.hexdigest()

    def open_interest(self, symbol: int) -> tuple[int, int]:
        """Return the lots that are long and short in a symbol."""
        quantity = self.quantity[self.symbol == symbol]
        return int(quantity[quantity > 0].sum()), int(-quantity[quantity < 0].sum())


def load_population(exchange: Exchange, accounts: Accounts) -> None:
    """Open every account and position in an exchange whose instruments have marks.

    Parameters
    ----------
    exchange : engine.Exchange
    accounts : Accounts

    Raises
    ------
    RunError
        A command was refused.

    Notes
    -----
    Packed commands: `account`, `deposit`, `leverage` where one is given, `fill`. Events of the
    loading are dropped. The other side of the fills is the external account; where longs and
    shorts are equal it is left with nothing.
    """
    assets = np.array(
        [exchange.asset_index(exchange.instrument(name).settle.name) for name in exchange.symbols],
        np.int64)
    exchange.reserve(accounts.count, accounts.count)
    for start in range(0, accounts.count, _CHUNK):
        part = slice(start, start + _CHUNK)
        ids, symbol = accounts.account[part], accounts.symbol[part]
        modes = np.where(accounts.is_isolated[part], MarginMode.ISOLATED, MarginMode.CROSS)
        is_set = accounts.leverage[part] > 0
        batches = (
            account_commands(ids, modes),
            deposit_commands(ids, assets[symbol], accounts.deposit[part]),
            leverage_commands(ids[is_set], symbol[is_set], accounts.leverage[part][is_set]),
            fill_commands(ids, symbol, accounts.quantity[part], accounts.entry_value[part]),
        )
        for commands in batches:
            if exchange.submit_many(commands):
                refused = [one for one in exchange.drain() if one["event"] == "rejected"]
                first = refused[0]
                raise RunError(
                    f"the population does not load: {len(refused)} commands were refused, the "
                    f"first: {first['cmd']}, {first['reason']} ({first['detail']})")
            exchange.discard_events()
