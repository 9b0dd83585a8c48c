"""Pages about load: a heading, tiles, cards with charts and tables, in one file."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.errors import InputError, RunError
from engine.report import fill_page

_TEMPLATE = Path(__file__).with_name("page.html")
_CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def write_page(
    path: Path, *, kind: str, headline: str, lead: str, badges: Iterable[str],
    tiles: Iterable[tuple[str, str, str]], cards: Iterable[str], footer: str,
) -> None:
    """Write a page; texts are escaped here, cards are HTML.

    Raises
    ------
    RunError
        plotly is not installed, or the file cannot be written.
    """
    require_plotly()
    from plotly.offline import get_plotlyjs

    fill_page(_TEMPLATE, {
        "page_title": html.escape(headline), "kind": html.escape(kind),
        "headline": html.escape(headline), "lead": html.escape(lead),
        "badges": "".join(
            f'<span class="badge plain">{html.escape(one)}</span>' for one in badges),
        "tiles": "".join(
            f'<div class="tile"><span>{html.escape(label)}</span><b>{html.escape(value)}</b>'
            f"<small>{html.escape(note)}</small></div>" for label, value, note in tiles),
        "cards": "".join(cards), "footer": html.escape(footer), "plotly_js": get_plotlyjs(),
    }, path)


def require_plotly() -> None:
    """Say before a run what its page needs.

    Raises
    ------
    RunError
    """
    try:
        import plotly  # noqa: F401
    except ImportError:
        raise RunError("the page needs plotly: install the extra `report`") from None


def require_place(option: str, path: Path | None) -> None:
    """Say before a run that a file cannot be written.

    Raises
    ------
    InputError
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{option} {path}: a folder")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{option} {path}: cannot be written")


def card(title: str, how: str, *inside: Any) -> str:
    """Return a card: a heading, how to read it, and charts or HTML."""
    parts = [
        one if isinstance(one, str) else one.to_html(
            full_html=False, include_plotlyjs=False, config=_CONFIG) for one in inside]
    return (
        f'<section class="card"><h2>{html.escape(title)}</h2><p class="how">'
        f'<em>How to read this.</em> {html.escape(how)}</p>{"".join(parts)}</section>')


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as HTML."""
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)] if head else []
    lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
