"""Figures as image files for papers: the same as in the report, on white paper.

Drawn by kaleido (the extra `images`), which needs a Chrome or Chromium on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import InputError, RunError

if TYPE_CHECKING:
    from engine.lab.cards import Card

FORMATS = ("png", "svg", "pdf")
#: Logical pixels; a png has three of its own to each, 300 dpi at a width of 9 inches.
WIDTH, _SCALE = 900, 3


def check_format(form: str) -> None:
    """Check that images of a format can be drawn, before anything is run.

    Raises
    ------
    InputError
        No such format.
    RunError
        kaleido is missing.
    """
    if form not in FORMATS:
        raise InputError(f"--images {form}: expected {', '.join(FORMATS)}")
    try:
        import kaleido  # noqa: F401
    except ImportError:
        raise RunError("kaleido is missing: install the extra `images`") from None


def write_images(cards: Sequence[Card], folder: Path, form: str = "png") -> list[Path]:
    """Write every figure of some cards into a file of its own.

    Returns
    -------
    list of Path
        Named after the card, numbered where it has several figures.

    Raises
    ------
    InputError
        No such format.
    RunError
        kaleido is missing, it finds no browser, or a file cannot be written.
    """
    check_format(form)
    import plotly.io

    papers, files = [], []
    for card in cards:
        for at, chart in enumerate(card.charts):
            number = f"-{at + 1}" if len(card.charts) > 1 else ""
            papers.append(on_paper(chart))
            files.append(folder / f"{card.name}{number}.{form}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plotly.io.write_images(
            papers, [str(file) for file in files], width=WIDTH,
            height=[paper.layout.height or 450 for paper in papers],
            scale=_SCALE if form == "png" else 1)
    except OSError as error:
        raise RunError(f"{folder}: cannot write: {(error.strerror or '').lower()}") from None
    except Exception as error:
        if "chrome" in f"{type(error).__name__} {error}".lower():
            said = "images need Chrome or Chromium on the PATH, or at BROWSER_PATH"
            raise RunError(said) from None
        raise
    return files


def on_paper(chart: Any) -> Any:
    """Return a copy of a figure on white, in black."""
    import plotly.graph_objects as go

    paper = go.Figure(chart)
    paper.update_layout(paper_bgcolor="white", plot_bgcolor="white",
                        font={"color": "#1d2330", "size": 14}, margin_b=60)
    return paper
