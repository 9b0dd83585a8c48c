"""Sweeps on a cluster backend: Dask's, with worker processes of its own on this machine."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("joblib")
distributed = pytest.importorskip("distributed")
pd = pytest.importorskip("pandas")

from engine.errors import RunError  # noqa: E402
from engine.lab import PopulationSpec, Scenario, Shock  # noqa: E402
from engine.lab.sweep import sweep  # noqa: E402

SMALL = Scenario(
    duration_s=40, population=PopulationSpec(accounts=300),
    shocks=(Shock("price", 10.0, 10.0, -0.06),))


@pytest.fixture
def cluster():
    with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
            memory_limit=None) as cluster, distributed.Client(cluster) as client:
        yield client


def test_the_same_on_a_dask_cluster_and_in_one_process(cluster, tmp_path):
    parameters = {"makers.depth": [0.05, 0.2]}
    here = sweep(SMALL, parameters, seeds=(1, 2))
    # The processes that run them are the cluster's.
    assert os.getpid() not in cluster.run(os.getpid).values()
    there = sweep(SMALL, parameters, seeds=(1, 2), jobs=-1, backend="dask", out=tmp_path)
    assert here["state_hash"].tolist() == there["state_hash"].tolist()
    assert len(set(here["state_hash"])) == 4
    # Not the hashes alone: every figure of every run, and what it can be run again from.
    pd.testing.assert_frame_equal(here, there)
    # What the cluster has run is not run again, wherever the rest goes.
    again = sweep(SMALL, parameters, seeds=(1, 2), out=tmp_path)
    pd.testing.assert_frame_equal(there, again)


@pytest.mark.parametrize("backend", ["dask", "nosuch"])
def test_a_backend_that_is_not_there(backend):
    with pytest.raises(RunError, match=f"backend {backend} cannot be used: ") as error:
        sweep(SMALL, seeds=(1,), backend=backend)
    assert "\n" not in str(error.value)
