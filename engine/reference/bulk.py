"""Bulk reads: the tables of all accounts and all positions, one query at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.messages import ACCOUNT_FIELDS, NONE, POSITION_FIELDS, RATE_SCALE, RATIO_WORST
from engine.reference.margin import ceil_div
from engine.reference.valuation import Valuation

#: The largest number that a cell of a table holds.
CELL_MAX = 2**63 - 1


class Bulk(Valuation):
    """Everything that `account_view` and `position_views` say, as tables."""

    def reserve(self, accounts: int, positions: int) -> None:
        """Make room for so many more; a hint that changes nothing."""

    def discard_records(self) -> int:
        """Forget the records since the last drain; return how many there were."""
        return len(self.drain())

    def accounts_array(self) -> npt.NDArray[np.void]:
        """Figures of all cross pools in use (`engine.messages.ACCOUNT_FIELDS`)."""
        rows = []
        for account in self.account_ids():
            view = self.account_view(account)
            for pool in view["pools"]:
                sums = {name: as_cell(pool[name]) for name in (
                    "equity", "unrealized_pnl", "maintenance_margin")}
                rows.append({
                    "account": account, "status": view["status"],
                    "margin_ratio": bulk_ratio(
                        pool["equity"], pool["maintenance_margin"], pool["is_open"]),
                    **pool, **sums})
        return table(rows, ACCOUNT_FIELDS)

    def positions_array(
        self, symbol: int = NONE, with_prices: bool = True
    ) -> npt.NDArray[np.void]:
        """All open positions, or those of a symbol (`engine.messages.POSITION_FIELDS`)."""
        if symbol != NONE:
            self.instrument_at(symbol)
        rows = []
        for account in self.account_ids():
            for view in self.position_views(account, symbol):
                row = {"account": account, "mark": view["mark_price"], **view}
                for name in ("liquidation_price", "bankruptcy_price"):
                    if not with_prices or row[name] == NONE:
                        row[name] = 0
                rows.append(row)
        return table(rows, POSITION_FIELDS)


def table(
    rows: list[dict[str, int]], fields: tuple[tuple[str, str], ...]
) -> npt.NDArray[np.void]:
    return np.array([tuple(row[name] for name, _ in fields) for row in rows], list(fields))


def as_cell(total: int) -> int:
    """A sum over symbols as a row holds it: 64 bits, the lowest of them left free."""
    return max(-CELL_MAX, min(CELL_MAX, total))


def bulk_ratio(equity: int, maintenance: int, is_open: int) -> int:
    """Maintenance margin over equity in 1e-8 units, rounded up, as queries show it."""
    if equity <= 0:
        return RATIO_WORST if is_open else 0
    return min(RATIO_WORST, ceil_div(maintenance * RATE_SCALE, equity))
