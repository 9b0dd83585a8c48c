"""Studies of what leverage does to the tails of returns."""

from __future__ import annotations

from dataclasses import replace

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

#: Funds at 18 that are sold back to 18 from 21 on. More flow than above, that fades sooner: the
#: limit is reached often, and in many episodes.
_LARGE = replace(
    _MARKET, name="fat_tails_gentle",
    symbols=(SymbolSpec("X", "100", tiers=((None, "0.0475", 20),)),),
    makers=replace(_MARKET.makers, impact_half_life_s=60.0),
    traders=replace(_MARKET.traders, gaussian_size=0.12),
    funds=FundSpec(count=10, wealth=0.17, leverage=18.0, appetite_low=360.0,
                   appetite_high=900.0, pace=0.05, pays_out=True),
    profile={"close_policy": "to_target", "target_ratio": "0.855"})

_RETURNS = (
    ("return_tail", "Hill index of losses"),
    ("return_tail_twin", "the same without margin calls"),
    ("return_kurtosis", "excess kurtosis"),
    ("return_kurtosis_twin", "the same without margin calls"),
    ("worst_return", "worst return, standard deviations"),
    ("margin_calls_of_funds", "margin calls"))

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
        _RETURNS),
    Study(
        "fat_tails_gentle", "Gentle margin calls, and how large the funds are",
        "As in the study of fat tails, but margin calls close no more than what is beyond the "
        "limit. A fund at leverage L that loses x of the price has to sell x (L - 1) of its "
        "position, so all of them at their limit turn a fall of x into one of g x more, g = "
        "(L - 1) times what selling all they hold moves the price by. Funds take no leverage, or "
        "up to 18, and have 0.02, 0.06 or 0.17 depths of capital: g is 0.6, 1.8 and 5.2.",
        _LARGE,
        {"funds.leverage,funds.wealth": {
            "none": (1.0, 0.17), "g 0.6": (18.0, 0.02), "g 1.8": (18.0, 0.06),
            "g 5.2": (18.0, 0.17)}},
        _RETURNS),
)
