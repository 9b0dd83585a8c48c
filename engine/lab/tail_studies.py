"""Studies of what leverage does to the tails of returns."""

from __future__ import annotations

from engine.lab.scenario import (
    FundSpec,
    MakerSpec,
    MarkSpec,
    PopulationSpec,
    Scenario,
    SymbolSpec,
    TraderSpec,
)
from engine.lab.study import Study

_FULL = {"close_policy": "full"}
_TO_TARGET = {"close_policy": "to_target", "target_ratio": "0.8"}

#: Price and index are all there is: the population does nothing, and stands for depth.
_MARKET = Scenario(
    name="fat_tails", duration_s=4_000, volatility=0.0, own_volatility=0.0, shocks=(),
    symbols=(SymbolSpec("X", "100", tiers=((None, "0.08", 12),)),),
    population=PopulationSpec(
        accounts=40, leverage_median=1.2, leverage_sigma=0.0, notional_median=1e6,
        notional_sigma=0.1, several_share=0.0, top_up_share=0.0, reduce_share=0.0,
        stop_share=0.0, reopen_share=0.0),
    makers=MakerSpec(
        count=1, depth=1.0, levels=3, impact=0.1, impact_half_life_s=200.0,
        refill_half_life_s=0.5, volatility_half=10.0, inventory_limit=1e9, interval_s=1),
    traders=TraderSpec(noise_rate=0.0, momentum_size=0.0, gaussian_size=0.04),
    funds=FundSpec(count=10, wealth=0.06, appetite_low=100.0, appetite_high=300.0),
    mark=MarkSpec(("basis_ema",), ema_s=0.0), insurance=1e9)


STUDIES = (
    Study(
        "fat_tails", "Margin calls turn Gaussian shocks into fat tails",
        "Gaussian order flow pushes the price off the index and fades; ten funds buy what is "
        "cheap (Thurner, Farmer and Geanakoplos). They take no leverage, or up to ten. Above 12.5 "
        "the venue sells: down to ten again, or all of it. The twins have the same shocks and "
        "the same leverage and no margin calls.",
        _MARKET,
        {"funds.leverage,profile": {
            "none": (1.0, _FULL), "ten, down to ten again": (10.0, _TO_TARGET),
            "ten, closed in full": (10.0, _FULL)}},
        (("return_tail", "Hill index of losses"),
         ("return_tail_twin", "the same without margin calls"),
         ("return_kurtosis", "excess kurtosis"),
         ("return_kurtosis_twin", "the same without margin calls"),
         ("worst_return", "worst return, standard deviations"),
         ("margin_calls_of_funds", "margin calls"))),
)
