"""The examples in docstrings run and print what they show, those of the compiled core too."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from engine.embedding import example_exchange

ROOT = Path(__file__).parents[2]
SHOWN = "    >>> "


def modules() -> list[str]:
    """Return the names of the modules whose docstrings show something."""
    sources = [*(ROOT / "engine").rglob("*.py"), *(ROOT / "ext" / "engine").rglob("*.pyx")]
    return sorted(
        ".".join(path.relative_to(ROOT / "ext" if path.suffix == ".pyx" else ROOT)
                 .with_suffix("").parts).removesuffix(".__init__")
        for path in sources if SHOWN in path.read_text("utf-8"))


def test_both_layers_show_something() -> None:
    assert {"engine.exchange", "engine.core.orderbook"} <= set(modules())


@pytest.mark.parametrize("name", modules())
def test_examples_of_docstrings(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(importlib.import_module(name), name):
        if name.startswith("engine.embedding."):
            example.globs["exchange"] = example_exchange()  # each has a market of its own
        runner.run(example)
    assert runner.failures == 0
    assert runner.tries > 0, "no test finder sees these examples"
