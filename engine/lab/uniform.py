"""A market in which the reproduction number is the same at every price, and known beforehand.

Longs alone, all of the same size, with liquidation prices spread log-uniformly over `REACH` below
the first mark. One maker whose quotes give way to flow in proportion and for good, refilled at
once; the mark is the mid; nobody else trades. With O lots open and a calm depth of d O, a fall of
the log mark by x makes O x / REACH lots due, and selling these moves the log mark by another
impact / (d O) x O x / REACH. So

    R = impact / (d REACH),

whatever the price. A jump by J then makes L0 = O J / REACH due by itself, and L0 / (1 - R) in all.
"""

from __future__ import annotations

from engine.lab.scenario import (
    MakerSpec,
    MarkSpec,
    PopulationSpec,
    Scenario,
    Shock,
    SymbolSpec,
    TraderSpec,
)
from engine.lab.study import Study

#: Of liquidation prices, in logs.
REACH = 0.1
_DEPTH = 1.0


def scenario_of(reproduction: float, accounts: int = 3_000) -> Scenario:
    """Return the scenario with this reproduction number, below 1.

    Notes
    -----
    The jump is by 1.5 %, and bankruptcy 6 % beyond a liquidation price, so that all is sold in the
    book.

    Examples
    --------
    >>> scenario_of(0.4).makers.impact
    0.04
    """
    return Scenario(
        name="uniform", duration_s=60, volatility=0.0, own_volatility=0.0,
        symbols=(SymbolSpec("X", "100", tiers=((None, "0.06", 10),)),),
        profile={"close_policy": "full"},
        population=PopulationSpec(
            accounts=accounts, notional_sigma=0.0, long_share=1.0, several_share=0.0,
            entry_spread=0.0, top_up_share=0.0, reduce_share=0.0, stop_share=0.0,
            reopen_share=0.0, trigger_reach=REACH),
        makers=MakerSpec(
            count=1, depth=_DEPTH, half_spread=0.00001,
            impact=round(reproduction * _DEPTH * REACH, 12), impact_half_life_s=1e9,
            refill_half_life_s=0.001, volatility_half=1e3, inventory_limit=1e9, interval_s=1),
        traders=TraderSpec(noise_rate=0.0, momentum_size=0.0),
        mark=MarkSpec(("basis_ema",), ema_s=0.0, band=None),
        shocks=(Shock("price", 5.0, 0.0, -0.015),), insurance=1e6)


STUDIES = (
    Study(
        "uniform", "One reproduction number, four ways",
        "Liquidation prices are spread evenly below the mark, and the makers give way to what is "
        "sold in proportion: the reproduction number is the same at every price, and impact says "
        "which. Ex ante, by causes, by the twin, and by the amplification 1 ÷ (1 − R) it must come "
        "out the same.",
        scenario_of(0.2),
        {"makers.impact": {f"R = {r:g}": scenario_of(r).makers.impact for r in (0.2, 0.4, 0.6)}},
        (("r0_path", "R₀, ex ante"), ("reproduction", "R, by causes"),
         ("reproduction_twin", "R, counterfactual"), ("amplification", "amplification"))),
)
