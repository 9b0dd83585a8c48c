"""Without extras: everything imports, and whoever needs an extra says which, in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What extras bring, as it is imported.
MODULES = {
    "SALib", "dask", "databento_dbn", "distributed", "hdrh", "joblib", "kaleido", "lmdb", "numba",
    "pandas", "plotly", "prometheus_client", "pyarrow", "scipy", "zstandard",
}
#: Python reads this first, and then finds none of them, as if they were not installed.
SITECUSTOMIZE = f"""\
import sys
from importlib.machinery import PathFinder
class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {MODULES!r} else PathFinder.find_spec(name, path, target)
sys.meta_path = [Finder if each is PathFinder else each for each in sys.meta_path]
"""
IMPORT_ALL = """\
import importlib, pkgutil, sys, engine
names = [module.name for module in pkgutil.walk_packages(engine.__path__, "engine.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
SYNTHETIC = ["engine", "replay", "synthetic:seed=1,steps=20", "--in-process"]
NEEDS = [
    ("lab", ["engine", "cascade", "--out", "out"]),
    ("load", ["engine", "load", "--in-process", "--rate", "100", "--duration", "1s"]),
    ("server", ["engine", "serve", "--journal", "journal", "--commands", "ipc://commands",
                "--metrics", "127.0.0.1:9"]),
    ("feeds", ["engine", "replay", "a.csv.zst", "--in-process"]),
    ("parquet", ["engine", "replay", "BTC_USDT-1h-futures.feather", "--in-process"]),
    ("parquet", [*SYNTHETIC, "--population", "a.parquet"]),
    ("databento", ["engine", "replay", "a.dbn", "--in-process"]),
    ("report", [*SYNTHETIC, "--page", "page.html"]),
    ("report", ["engine.demo"]),
]
#: The first bytes by which a file is told from others.
FILES = {
    "a.csv.zst": b"\x28\xb5\x2f\xfd" + bytes(60), "a.dbn": b"DBN\x03" + bytes(100),
    "BTC_USDT-1h-futures.feather": b"ARROW1\0\0" + bytes(60), "a.parquet": b"PAR1" + bytes(60),
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose sitecustomize hides what extras bring."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return folder


def run(bare: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{bare}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=60)


def test_every_module_imports_without_extras(bare: Path, tmp_path: Path) -> None:
    done = run(bare, tmp_path, "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 300


@pytest.mark.parametrize(("extra", "command"), NEEDS, ids=lambda each: str(each)[:40])
def test_the_missing_extra_is_named_in_one_line(
    bare: Path, tmp_path: Path, extra: str, command: list[str]
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    done = run(bare, tmp_path, "-m", *command)
    assert done.returncode in (1, 2)
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert f"[{extra}]" in line or f"the extra `{extra}`" in line


PARTS = [
    ("lab", "joblib",
     "from engine.lab import Scenario\n"
     "from engine.lab.sweep import sweep\n"
     "sweep(Scenario(), seeds=[1])\n"),
    ("lab", "scipy",
     "from engine.lab import Scenario\n"
     "from engine.lab.summary import summarize\n"
     "summarize(Scenario().run())\n"),
    ("sensitivity", "SALib",
     "from engine.lab import Scenario\n"
     "from engine.lab.sensitivity import Factor, sensitivity\n"
     "sensitivity(Scenario(), 'morris', [Factor('makers.depth', 0.02, 0.2)], size=2)\n"),
    ("images", "kaleido",
     "from pathlib import Path\n"
     "from engine.lab.images import write_images\n"
     "write_images([], Path('out'))\n"),
]


@pytest.mark.parametrize(("extra", "package", "program"), PARTS)
def test_what_the_lab_may_have_besides_names_its_extra(
    bare: Path, tmp_path: Path, extra: str, package: str, program: str
) -> None:
    done = run(bare, tmp_path, "-c", program)
    assert done.stderr.splitlines()[-1] == (
        f"engine.errors.RunError: {package} is missing: install the extra `{extra}`")


def test_what_needs_no_extra_runs(bare: Path, tmp_path: Path) -> None:
    done = run(bare, tmp_path, "-m", *SYNTHETIC)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("state_hash")


def test_all_extras_that_users_may_name_are_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    tried = {*(extra for extra, _, _ in PARTS), *(extra for extra, _ in NEEDS)}
    # These are for working on the project; bench leaves its comparisons out.
    assert set(project["optional-dependencies"]) - tried == {
        "bench", "build", "dev", "docs", "test"}
