"""Every headline of a report, made again of the recorded events alone."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("joblib")
pytest.importorskip("plotly")
pytest.importorskip("pyarrow")

import pandas as pd

from engine.lab.frames import read_provenance
from engine.lab.report import run_study
from engine.lab.studies import DEFAULT, STUDIES

SEEDS = 3
#: The default study at a small size: slide and gap earlier, and a small fund.
STUDY = replace(STUDIES[DEFAULT], scenario=STUDIES[DEFAULT].scenario.replaced(
    "duration_s", 210).replaced("population.accounts", 900).replaced(
    "shocks.0.at_s", 20.0).replaced("shocks.1.at_s", 130.0).replaced("insurance", 2_000.0))
#: One lot at a mark of one mark tick is worth this much of the settle asset; ticks in mark ticks.
MONEY, TICK = 1e-6, 10


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cascade")
    run_study(STUDY, folder, SEEDS, 1)
    return folder


def read(folder):
    return {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}


def marks(tables, symbol):
    """A symbol's lines, a row for each step."""
    return tables["lines"][tables["lines"]["symbol"] == symbol].sort_values("seq")


def first_breaches(tables):
    return tables["liquidations"].sort_values("row").drop_duplicates("account")


def notional_due(tables, names):
    """Notional of each account's first breach: what it held, at the marks that it met."""
    rows, total = first_breaches(tables), 0.0
    for name in names:
        line = marks(tables, name)["mark"].to_numpy()
        total = total + rows[f"lots_{name}"].abs().to_numpy() * line[rows["step"]]
    return rows, total


def excess(tables, names, scenario):
    """Who was due at the marks, and at no shadow mark from then on."""
    rows, total = notional_due(tables, names)
    rate = {one["name"]: float(one["tiers"][0][1]) for one in scenario["symbols"]}
    out = np.zeros(len(rows), bool)
    slopes, shadows, mark = [], [], []
    for name in names:
        lots, line = rows[f"lots_{name}"].to_numpy(float), marks(tables, name)
        assert (line["multiplier"] == 1).all()
        slopes.append(lots - rate[name] * np.abs(lots))
        shadows.append(line["shadow"].to_numpy())
        mark.append(line["mark"].to_numpy())
    slopes, shadows, mark = np.array(slopes).T, np.array(shadows).T, np.array(mark).T
    health = (rows["equity"] - rows["maintenance"]).to_numpy(float)
    for at, step in enumerate(rows["step"].tolist()):
        path = health[at] + (shadows[step:] - mark[step]) @ slopes[at]
        out[at] = path[0] > 0 and path.min() > 0
    return total[out].sum() / total.sum()


def headlines(folder):
    """The figures of the report's tiles, of one run and its twin, from their event tables."""
    run, twin = read(folder), read(folder / "twin")
    scenario = json.loads(read_provenance(folder / "lines.parquet")["scenario"])
    names = [one["name"] for one in scenario["symbols"]]
    steps, taken, adl = run["steps"], run["takeovers"], run["adl"]
    by_adl = (adl["quantity"] * adl["price"]).sum() * TICK * MONEY
    closed = steps["filled_value"].abs().sum() * MONEY + by_adl + (
        taken["quantity"] * taken["price"]).sum() * TICK * MONEY
    opened = run["positions"]["entry_value"].abs().sum() * MONEY
    mark, without = (marks(one, names[0])["mark"].to_numpy() for one in (run, twin))
    due, due_twin = (notional_due(one, names)[1].sum() for one in (run, twin))
    # R0: what waits within the next five buckets, per unit of price, times the move of one unit.
    table = run["r0"][run["r0"]["symbol"] == names[0]]
    price, bucket = table["price"].to_numpy(), -np.diff(table["price"].to_numpy()[:2])[0]
    held = run["positions"][run["positions"]["symbol"] == 0]["quantity"].abs().sum()
    calm = held * scenario["makers"]["depth"] * mark[0] * MONEY
    waits = np.convolve(table["notional"].to_numpy(), np.ones(5))[4:]
    r0 = waits / (5 * bucket) * scenario["makers"]["impact"] / calm * price
    return {
        "liquidated_share": closed / opened, "low": mark.min() / mark[0] - 1,
        "overshoot_twin": (without.min() - mark.min()) / mark[0],
        "amplification": due / due_twin, "reproduction_twin": 1 - due_twin / due,
        "reproduction_excess": excess(run, names, scenario), "r0_max": r0[:-5].max(),
        "by_adl": by_adl,
        "fund_end": run["fund"].sort_values("seq")["balance"].iloc[-1] * MONEY,
    }


def test_every_headline_is_made_of_events(out):
    from scipy.stats import t

    frame = pd.read_parquet(out / "seeds.parquet")
    made = []
    for row in frame.to_dict("records"):
        folder = out / "events" / row["fingerprint"]
        assert read_provenance(folder / "steps.parquet")["state_hash"] == row["state_hash"]
        assert read_provenance(folder / "twin" / "lines.parquet")["state_hash"] == row["twin_hash"]
        made.append(headlines(folder))
        for name, value in made[-1].items():
            assert value == pytest.approx(row[name], rel=1e-9, abs=1e-12), name
    # And as the page says it: the mean over seeds, and Student's interval.
    page = (out / "report.html").read_text(encoding="utf-8")
    tiles = re.findall(r'<div class="tile"><span>([^<]*)</span><b>([^<]*)</b>'
                       r"<small>[^<]*?95 %: ([^<]*) to ([^<]*)</small>", page)
    assert len(tiles) == len(made[0])
    for (label, *shown), name in zip(tiles, made[0], strict=True):
        values = np.array([one[name] for one in made])
        half = t.ppf(0.975, SEEDS - 1) * values.std(ddof=1) / SEEDS**0.5
        for text, value in zip(shown, (0, -half, half), strict=True):
            digits = html.unescape(text).replace(",", "").split()
            scale = {"k": 1e3, "m": 1e6, "%": 1e-2}.get((digits[1:] or [""])[0], 1.0)
            scale = 1e-2 if shown[0].endswith("%") else scale
            assert float(digits[0]) * scale == pytest.approx(
                values.mean() + value, rel=6e-3), (label, text)


def test_the_events_are_those_of_commands(out):
    for folder in (out / "events").iterdir():
        tables = read(folder)
        started = tables["started"]
        rows = tables["liquidations"].merge(
            started, on=["row", "seq", "account"], suffixes=("", "_event"))
        # Each liquidation is an event of a command, with the equity that the event had.
        assert len(rows) == len(tables["liquidations"]) > 30
        assert (rows["equity"] == rows["equity_event"]).all()
        # And each event belongs to a command of its own step, or before the first marks.
        last = tables["lines"]["seq"].max()
        for name in ("steps", "takeovers", "adl", "fund"):
            assert tables[name]["seq"].is_monotonic_increasing and tables[name]["seq"].max() <= last
        children = tables["liquidations"][tables["liquidations"]["parent"] >= 0]
        parents = tables["liquidations"].iloc[children["parent"]]
        assert (parents["seq"].to_numpy() < children["seq"].to_numpy()).all()


def test_a_study_goes_on_where_rows_and_events_are_there(out):
    before = {path: path.stat().st_mtime_ns for path in out.glob("events/*/lines.parquet")}
    assert len(before) == SEEDS
    gone = next(iter(before))
    for path in sorted(gone.parent.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    gone.parent.rmdir()
    run_study(STUDY, out, SEEDS, 1)
    after = {path: path.stat().st_mtime_ns for path in out.glob("events/*/lines.parquet")}
    assert after.keys() == before.keys()
    assert [path for path in before if after[path] != before[path]] == [gone]
