"""Margin schedules as data: tier tables of venues, and schedules made from a formula.

`load_schedules` turns a file, or parsed JSON, into the rows that the `instrument` and `tiers`
commands take; `read_schedules` also says by which rules. The generators make rows from a
linear or a square-root formula, and `scale_schedule` applies a user's multiplier. Everything
is exact; nothing is a float.
"""

from __future__ import annotations

from engine.schedules.generate import linear_schedule, scale_schedule, square_root_schedule
from engine.schedules.load import load_schedules, read_schedules
from engine.schedules.okx import Contract, read_contracts
from engine.schedules.rows import Loaded, Note, Row, deductions, tiers_commands

__all__ = [
    "Contract",
    "Loaded",
    "Note",
    "Row",
    "deductions",
    "linear_schedule",
    "load_schedules",
    "read_contracts",
    "read_schedules",
    "scale_schedule",
    "square_root_schedule",
    "tiers_commands",
]
