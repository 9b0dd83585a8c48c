"""Liquidation cascades as experiments: scenarios, runs, causes, metrics, sweeps, reports.

Everything exact is the engine's; the lab draws populations and prices, lets agents act by
commands, and measures. Guide: docs/lab.md.
"""

from __future__ import annotations

from engine.lab.recorder import Run
from engine.lab.scenario import (
    CollateralSpec,
    FundSpec,
    MakerSpec,
    MarginSpec,
    MarkSpec,
    PopulationSpec,
    Scenario,
    Shock,
    SymbolSpec,
    TraderSpec,
)

__all__ = [
    "CollateralSpec",
    "FundSpec",
    "MakerSpec",
    "MarginSpec",
    "MarkSpec",
    "PopulationSpec",
    "Run",
    "Scenario",
    "Shock",
    "SymbolSpec",
    "TraderSpec",
]
