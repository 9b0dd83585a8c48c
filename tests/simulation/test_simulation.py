"""Seeds that run with the suite, the bugs that must be found, and every operation of the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from simulation.__main__ import main
from simulation.canaries import CANARIES, run_seed
from simulation.faults import Faults
from simulation.run import Simulation

ROOT = Path(__file__).resolve().parents[2]
#: Seeds that run with every suite; those behind them are for the slow tests and the tool.
SEEDS = 30


def run(seed: int, core: str = "compiled") -> Counter[str]:
    result = Simulation(seed, core).run()
    assert result.problem is None, f"tools/simulate {seed} --log: {result.problem}"
    assert result.starts >= 1
    return result.counts


def test_seeds():
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        counts += run(seed)
    assert set(counts) >= {
        "kill", "power_cut", "crash", "torn", "torn_eio", "sync_eio", "lie", "slow", "disk_full",
        "stopped_serving", "snapshot_damage", "journal_damage", "lost", "doubled", "delayed",
        "reordered", "disconnected", "client_restart", "clock_jump", "garbage", "flood",
        "queue_full", "feed_restart"}


def test_seeds_on_the_reference():
    for seed in range(2):
        run(seed, "reference")


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, 500))
def test_many_seeds(first):
    for seed in range(first, first + 500):
        run(seed)


TRACE = "from simulation.run import Simulation; print(Simulation({seed}).run().trace)"


def test_a_seed_repeats_itself():
    """In another process, with other hashes of strings, to the last message."""
    for seed in (3, 18, 33):
        own = Simulation(seed).run()
        assert own.trace == Simulation(seed, is_logged=True).run().trace
        assert own.trace != Simulation(seed + 1).run().trace
        for hash_seed in ("0", "77"):
            done = subprocess.run(
                [sys.executable, "-c", TRACE.format(seed=seed)], capture_output=True, text=True,
                check=True, env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}",
                                 "PYTHONHASHSEED": hash_seed})
            assert done.stdout.strip() == own.trace


@pytest.mark.parametrize("canary", sorted(CANARIES))
def test_a_bug_is_found(canary):
    for seed in range(CANARIES[canary][1]):
        found = run_seed(seed, "compiled", canary)
        if found.problem is not None:
            break
    assert found.problem is not None, f"{CANARIES[canary][1]} seeds do not find {canary}"
    again = run_seed(seed, "compiled", canary)
    assert (again.trace, again.problem is None) == (found.trace, False)
    run(seed)  # it was the bug


def fail_everywhere(fail_with: str, power_cut_share: float, step: int) -> int:
    """Let the N-th operation that can fail in this way do so, for N = 1, 2, 3 …; count them."""
    count = at = 0
    while True:
        faults = Faults(
            Random(at), fail_at=at + 1, fail_with=fail_with, power_cut_share=power_cut_share)
        result = Simulation(7, faults=faults, commands=12).run()
        assert result.problem is None, f"{fail_with} at operation {faults.fail_at}: {result}"
        if not result.counts[fail_with]:
            return count
        count += 1
        at = faults.fail_at + step - 1


@pytest.mark.parametrize("power_cut_share", [0.0, 1.0])
@pytest.mark.parametrize("fail_with", ["crash", "torn"])
def test_some_operations_of_the_disk_fail(fail_with, power_cut_share):
    assert fail_everywhere(fail_with, power_cut_share, step=9) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("power_cut_share", [0.0, 1.0])
@pytest.mark.parametrize("fail_with", ["crash", "torn", "torn_eio", "eio", "enospc", "sync_eio"])
def test_every_operation_of_the_disk_fails(fail_with, power_cut_share):
    assert fail_everywhere(fail_with, power_cut_share, step=1) >= 15


def test_the_tool(capsys):
    done = subprocess.run(
        [sys.executable, "-m", "simulation", "0", "1", "--jobs", "2"], capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"})
    assert (done.returncode, done.stderr) == (0, "")
    rows = dict(line.split() for line in done.stdout.splitlines())
    assert (rows["seeds"], rows["failed"]) == ("2", "0")
    assert main(["0", "2", "--jobs", "1", "--canary", "answer_another"]) == 1
    said = capsys.readouterr()
    assert "again: tools/simulate 0 --log --canary answer_another" in said.err
    assert main(["1", "--log"]) == 0
    assert "server: ready: commands at ipc://commands" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["5", "4"])
