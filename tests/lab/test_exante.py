"""R0(p) before anything happens: against a small book and a small map worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.lab import Scenario, Shock, exante
from engine.lab.market import MINOR
from engine.lab.recorder import Run
from engine.lab.scenario import MakerSpec, PopulationSpec
from engine.lab.summary import summarize
from engine.liquidation_map import LONG, MAP_FIELDS, SHORT

SMALL = Scenario(
    duration_s=60, population=PopulationSpec(accounts=400),
    shocks=(Shock("price", 10.0, 20.0, -0.06),))


def _map(*rows):
    """Rows of (price from, price to, side, notional in the settle asset)."""
    table = np.zeros(len(rows), list(MAP_FIELDS))
    for at, (low, high, side, notional) in enumerate(rows):
        table[at]["price_low"], table[at]["price_high"], table[at]["side"] = low, high, side
        table[at]["notional"] = notional * MINOR
    return table


def test_a_buckets_notional_is_spread_over_it():
    table = _map((900, 910, LONG, 50), (920, 940, LONG, 40))
    below = exante.notional_below(table, np.array([890.0, 905.0, 910.0, 925.0, 1_000.0]))
    assert below == pytest.approx([0, 25, 50, 60, 90])


def test_impact_of_a_small_book():
    prices = np.array([100.0, 99.0, 97.0, 100.0])
    notional = np.array([1_000.0, 3_000.0, 50_000.0, 1_000.0])
    # 5,000 rest down to 2 % below the best, so one unit moves the bid by 0.02 / 5,000.
    assert exante.impact_of_book(prices, notional, 0.02) == pytest.approx(4e-6)
    assert exante.impact_of_book(prices, notional, 0.0) == 0.0
    assert exante.impact_of_book(prices[:0], notional[:0]) == float("inf")


def test_r0_of_a_small_map():
    # 600 wait between 900 and 910: within 20 below 910 that is 30 per unit of price. Selling one
    # unit moves the price by 4e-5 of itself: 30 x 4e-5 x 910.
    table = _map((900, 910, LONG, 600), (940, 950, LONG, 100))
    out = exante.reproduction_at(table, np.array([910.0, 900.0, 945.0]), 20.0, 4e-5)
    assert out == pytest.approx([1.092, 0.0, 50 / 20 * 4e-5 * 945])


def _run(table, low):
    scenario = Scenario(makers=MakerSpec(impact=0.01))
    marks = np.array([[1e6], [low]])
    depth = np.array([2_000.0])  # worth 2,000 in the settle asset at the first mark
    run = Run(scenario, False, depth, None)
    run.lines = {"mark": marks, "bid_depth": np.array([[500.0], [500.0]])}
    run.first_map = [table]
    return run


def test_the_figures_of_a_run_by_hand():
    # The first mark is 1e6, a bucket 2,500, h five of them: 12,500. 1,000 wait evenly in the
    # bucket from 990,000 and 400 from 980,000; shorts and what is above do not count.
    table = _map((990_000, 992_500, LONG, 1_000), (980_000, 982_500, LONG, 400),
                 (985_000, 987_500, SHORT, 9_000), (1_010_000, 1_012_500, SHORT, 9_000))
    run = _run(table, 985_000.0)
    # rho = 0.01 / 2,000 of the quotes, 0.01 / 500 of the book.
    quotes, book = 0.01 / 2_000, 0.01 / 500
    figures = exante.figures_of(run)
    assert figures["r0_start"] == pytest.approx(1_000 / 12_500 * quotes * 1e6)
    # Within 12,500 below 992,500 lie both buckets.
    assert figures["r0_max"] == pytest.approx(1_400 / 12_500 * quotes * 992_500)
    assert figures["r0_max_at"] == pytest.approx(-0.0075)
    assert figures["r0_low"] == pytest.approx(400 / 12_500 * quotes * 985_000)
    assert figures["r0_book"] == pytest.approx(1_400 / 12_500 * book * 992_500)
    # On the way there the fall goes through the first bucket alone, from its upper edge.
    assert figures["r0_path"] == pytest.approx(figures["r0_max"])


def test_nothing_waits_nothing_follows():
    run = _run(_map(), 985_000.0)
    run.lines["bid_depth"][:] = 0.0
    figures = exante.figures_of(run)
    assert figures["r0_max"] == figures["r0_book"] == figures["r0_low"] == 0.0
    assert np.isnan(figures["r0_path"])


def test_r0_of_a_run_does_not_depend_on_maps_and_follows_depth():
    run = SMALL.run(maps=False)
    row = summarize(run)
    with_maps = exante.figures_of(SMALL.run())
    assert {name: row[name] for name in with_maps} == with_maps
    assert row["r0_max"] >= row["r0_start"] > 0
    # Half the depth, and what is sold moves the quotes twice as far.
    thin = exante.figures_of(SMALL.replaced("makers.depth", SMALL.makers.depth / 2).run(maps=False))
    assert thin["r0_start"] == pytest.approx(2 * row["r0_start"], rel=0.02)


def test_r0_is_a_table_of_all_symbols():
    pytest.importorskip("pandas")
    run = SMALL.run(maps=False)
    table = exante.frame(run)
    assert set(table["symbol"]) == {one.name for one in SMALL.symbols}
    first = table[table["symbol"] == SMALL.symbols[0].name]
    assert first["r0"].max() == exante.figures_of(run)["r0_max"]
    assert (first["price"].diff().dropna() < 0).all()
    assert (table["seq"] == run.clock["seq"][0]).all()
