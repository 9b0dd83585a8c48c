"""What is shipped: a source archive from which a clean environment builds a wheel that works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from support.pages import README, blocks

import engine

ROOT = Path(__file__).resolve().parents[2]
#: Of a core install: the package and all that it depends on, without extras. Files count by their
#: length. pip and setuptools don't count, nor does the bytecode that Python makes of what is
#: installed: `pip install --no-compile` leaves it to the first import.
INSTALLED_BYTES_MAX = 100 * 10**6
#: Of this by the package itself.
OWN_BYTES_MAX = 9 * 10**6
#: Of the checkout alone: how it is tested elsewhere, and what editors and git read.
NOT_SHIPPED = re.compile(r"\.ci/|\.editorconfig$|\.gitignore$")


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environment | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, made from what is tracked, with the tools of this environment."""
    copy, made = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("made")
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", made, ".",
        folder=copy)
    [archive] = made.glob("*.tar.gz")
    return archive


def test_the_archive_has_all_that_is_tracked(shipped: Path) -> None:
    top = f"perp_engine-{engine.__version__}/"
    with tarfile.open(shipped) as archive:
        inside = {name.removeprefix(top) for name in archive.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {name for name in tracked.splitlines() if (ROOT / name).is_file()}
    assert {name for name in names - inside if not NOT_SHIPPED.match(name)} == set()
    assert [name for name in inside if name.endswith((".so", ".pyc"))] == []


def test_the_metadata_is_what_an_index_takes(shipped: Path) -> None:
    said = run(sys.executable, "-m", "twine", "check", "--strict", shipped, folder=shipped.parent)
    assert "PASSED" in said


def find_python(version: str) -> str | None:
    """Return a Python of this machine of a version, by the path of what runs."""
    ask = "import ensurepip, venv, sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    versions = Path("~/.pyenv/versions").expanduser().glob(f"{version}*/bin/python")
    for name in [f"python{version}", *map(str, versions)]:
        try:
            done = subprocess.run([name, "-c", ask], capture_output=True, text=True)
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.startswith(f"{version} "):
            return done.stdout.split(maxsplit=1)[1].strip()
    return None


def installed_bytes(folder: Path) -> Counter[str]:
    """Return the size of what counts as installed, by the name at the top of site-packages."""
    [packages] = folder.glob("env/lib/*/site-packages")
    sizes: Counter[str] = Counter()
    for path in packages.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.suffix != ".pyc":
            sizes[path.relative_to(packages).parts[0]] += path.stat().st_size
    return sizes


@pytest.mark.slow
@pytest.mark.timeout(3600)  # it compiles everything: five minutes on two idle cores
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_clean_environment_builds_installs_and_runs_it(
    shipped: Path, tmp_path: Path, version: str
) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    run(python, "-m", "venv", tmp_path / "env", folder=tmp_path)
    inside = tmp_path / "env" / "bin" / "python"
    run(inside, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, shipped, folder=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        modules = [archive.read(name) for name in names if name.endswith(".so")]
    assert {name.split("/")[0] for name in names} == {
        "engine", f"perp_engine-{engine.__version__}.dist-info"}
    assert [name for name in names if name.endswith((".pyx", ".pxd", ".c", ".pyc"))] == []
    assert modules and not any(b".symtab\0" in module for module in modules), "not stripped"
    before = installed_bytes(tmp_path)
    run(inside, "-m", "pip", "install", wheel, folder=tmp_path)
    installed = installed_bytes(tmp_path) - before
    assert installed.total() <= INSTALLED_BYTES_MAX, installed.most_common()
    assert installed["engine"] <= OWN_BYTES_MAX
    scenario = next(
        block for block in blocks(README) if block.notes.get("saved as") == "market.jsonl")
    (tmp_path / "market.jsonl").write_text(scenario.text)
    shutil.copy(Path(__file__).with_name("smoke.py"), tmp_path)
    said = run(inside, "smoke.py", "market.jsonl", folder=tmp_path)
    # The same to the bit, whichever Python it was compiled for.
    assert json.loads(said)["state_hash"] == "ae22daded5bc0c184f105693f67c1b32"
