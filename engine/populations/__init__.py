"""Populations of accounts: drawn from distributions, fitted to stated totals, loaded packed.

`Plan` says what a population is made of, `draw_population` makes it for the instruments of an
exchange, `load_population` opens it there. `read_parquet` and `write_parquet` keep one in a
file. docs/populations.md has the plan's fields and how the fit works.
"""

from __future__ import annotations

from engine.populations.accounts import Accounts, load_population
from engine.populations.draw import draw_population
from engine.populations.plan import Band, Plan, SymbolPlan, read_plan
from engine.populations.tables import is_parquet, read_parquet, write_parquet

__all__ = [
    "Accounts",
    "Band",
    "Plan",
    "SymbolPlan",
    "draw_population",
    "is_parquet",
    "load_population",
    "read_parquet",
    "read_plan",
    "write_parquet",
]
