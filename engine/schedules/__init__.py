"""Margin schedules as data: tier tables of venues.

`load_schedules` turns a file, or parsed JSON, into the rows that the `instrument` and `tiers`
commands take; `read_schedules` also says by which rules. Everything is exact; nothing is a
float.
"""

from __future__ import annotations

from engine.schedules.load import load_schedules, read_schedules
from engine.schedules.okx import Contract, read_contracts
from engine.schedules.rows import Loaded, Note, Row, deductions, tiers_commands

__all__ = [
    "Contract",
    "Loaded",
    "Note",
    "Row",
    "deductions",
    "load_schedules",
    "read_contracts",
    "read_schedules",
    "tiers_commands",
]
