"""Sweeps, studies and the command line, at a small size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from engine.cli import app, call
from engine.errors import InputError
from engine.lab import PopulationSpec, Scenario, Shock, metrics
from engine.lab.studies import PURE, STUDIES, find_study

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("joblib")

from engine.lab.frames import frames, read_provenance, write_run  # noqa: E402
from engine.lab.report import run_study  # noqa: E402
from engine.lab.sweep import sweep  # noqa: E402

SMALL = Scenario(
    duration_s=60, population=PopulationSpec(accounts=400),
    shocks=(Shock("price", 15.0, 15.0, -0.06),))


def test_the_same_on_one_process_and_on_several():
    parameters = {"makers.depth": [0.05, 0.2]}
    one = sweep(SMALL, parameters, seeds=(1, 2), jobs=1)
    two = sweep(SMALL, parameters, seeds=(1, 2), jobs=2, backend="loky")
    assert one["state_hash"].tolist() == two["state_hash"].tolist()
    assert one["twin_hash"].tolist() == two["twin_hash"].tolist()
    assert one["makers.depth"].tolist() == [0.05, 0.05, 0.2, 0.2]
    assert one["seed"].tolist() == [1, 2, 1, 2]
    assert len(set(one["state_hash"])) == 4


def test_a_sweep_goes_on_where_it_stopped(tmp_path):
    told = []
    sweep(SMALL, seeds=(1,), out=tmp_path, progress=lambda done, total: told.append(done))
    first = sorted(file.read_bytes() for file in (tmp_path / "rows").glob("*.json"))
    frame = sweep(SMALL, seeds=(1, 2), out=tmp_path,
                  progress=lambda done, total: told.append((done, total)))
    assert told == [1, (2, 2)]
    assert len(frame) == 2
    assert first[0] in [file.read_bytes() for file in (tmp_path / "rows").glob("*.json")]


def test_what_other_code_has_run_is_run_again(tmp_path):
    sweep(SMALL, seeds=(1,), twin=False, out=tmp_path)
    (file,) = (tmp_path / "rows").glob("*.json")
    row = json.loads(file.read_text())
    file.write_text(json.dumps({**row, "code": "0" * 16, "liquidations": -1.0}))
    assert sweep(SMALL, seeds=(1,), twin=False, out=tmp_path)["liquidations"][0] >= 0
    assert json.loads(file.read_text()) == row


def test_files_say_where_they_come_from(tmp_path):
    from engine.lab.causes import find_causes

    run = SMALL.run(maps=False)
    causes = find_causes(run)
    write_run(run, causes, tmp_path)
    note = read_provenance(tmp_path / "liquidations.parquet")
    assert Scenario.from_json(note["scenario"]) == SMALL
    assert note["state_hash"] == run.state_hash and note["drift"] == "0"
    table = pd.read_parquet(tmp_path / "liquidations.parquet")
    assert table["seq"].tolist() == run.breaches["seq"].tolist()
    assert set(frames(run, causes)) == {file.stem for file in tmp_path.glob("*.parquet")}


def test_causes_agree_with_the_counterfactual():
    small = PURE.replaced("duration_s", 240).replaced("population.accounts", 2_000).replaced(
        "shocks", (Shock("price", 30.0, 100.0, -0.05),))
    frame = sweep(small, seeds=range(1, 7))
    causes, twin = frame["reproduction_excess"], frame["reproduction_twin"]
    _, low, high = metrics.interval(twin.to_numpy())
    assert 0.1 < twin.mean() < 0.9
    assert low < causes.mean() < high
    assert np.abs(causes - twin).max() < 0.05


@pytest.mark.parametrize("name", list(STUDIES))
def test_studies_run_at_a_small_size(name, tmp_path):
    study = STUDIES[name]
    small = study.resized(150, 20)
    scenario = small.scenario.replaced("shocks", (Shock("price", 5.0, 0.0, -0.06),))
    parameters = {
        path: dict(list(values.items())[:2]) if isinstance(values, dict) else values[:2]
        for path, values in small.parameters.items()}
    small = replace(small, scenario=scenario, parameters=parameters)
    page = run_study(small, tmp_path, seeds=2, jobs=1).read_text(encoding="utf-8")
    assert study.title in page and "{{" not in page.split("</script>")[-1]
    assert page.count("<script src=") == 0
    assert (tmp_path / "seeds.parquet").exists() and (tmp_path / "seeds.csv").exists()


def test_a_scenario_in_a_file(tmp_path, capsys):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"duration_s": 10, "population": {"accounts": 100}}))
    assert call(app, ["cascade", str(file), "--out", str(tmp_path / "out"), "--seeds", "2",
                      "--jobs", "1"]) == 0
    assert (tmp_path / "out" / "report.html").exists()
    assert "report" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nosuch", "nosuch.json"])
def test_an_unknown_study(name, capsys):
    with pytest.raises(InputError):
        find_study(name)
    assert call(app, ["cascade", name]) == 2
    assert capsys.readouterr().err.startswith("error: ")
