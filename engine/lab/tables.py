"""Numbers and tables of a report, as text and HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.lab import metrics, statistics

if TYPE_CHECKING:
    import pandas as pd

#: Columns of a sweep's rows that are no figures.
LISTS = ("path", "fund_path", "twin_path", "sizes", "haircuts", "first_hits")
_NOTES = ("engine", "code", "numpy", "fingerprint", "state_hash", "twin_hash", "drift",
          "is_balanced")


def number(value: float) -> str:
    """Return a number in few digits; – for NaN."""
    if value != value:
        return "–"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.2f} m"
    if size >= 1e4:
        return f"{value / 1e3:.1f} k"
    return f"{value:,.0f}" if size >= 100 else f"{value:.3g}"


def interval_text(values: Any) -> str:
    """Return mean and 95 % interval."""
    mean, low, high = metrics.interval(values)
    if low != low:
        return number(mean)
    return f"{number(mean)} [{number(low)}, {number(high)}]"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return an HTML table; cells are HTML."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def figure_table(frame: pd.DataFrame, parameters: list[str]) -> str:
    """Return all figures over seeds, by the values of a single parameter."""
    skip = {*LISTS, *_NOTES, *parameters, "seed"}
    names = [name for name in frame.columns if name not in skip]
    if len(parameters) != 1:
        return table(("figure", "mean [95 % interval]", "finds, power 80 %"), [
            (name.replace("_", " "), interval_text(frame[name].to_numpy()),
             number(statistics.detectable(frame[name].to_numpy()))) for name in names])
    path = parameters[0]
    labels = list(dict.fromkeys(frame[path]))
    rows = [(name.replace("_", " "), *(
        interval_text(frame.loc[frame[path] == label, name].to_numpy()) for label in labels))
        for name in names]
    return table(("figure", *(html.escape(str(label)) for label in labels)), rows)


def differences(frame: pd.DataFrame, path: str, names: list[str]) -> str:
    """Return a card with the paired differences from the first value of a parameter."""
    labels = list(dict.fromkeys(frame[path]))
    first = frame[frame[path] == labels[0]].set_index("seed")
    others = [frame[frame[path] == label].set_index("seed") for label in labels[1:]]
    changes = [[(other[name] - first[name]).to_numpy() for other in others] for name in names]
    chances = statistics.adjusted(np.array([
        [statistics.p_value(change) for change in row] for row in changes]).ravel())
    cells = iter(chances.tolist())
    rows = [(name.replace("_", " "), *(
        f"{interval_text(change)}<br><small>{_power_text(change, next(cells))}</small>"
        for change in row)) for name, row in zip(names, changes, strict=True)]
    head = ("", *(html.escape(f"{label} less {labels[0]}") for label in labels[1:]))
    note = ("Paired differences, mean and 95 % interval. Below: p by a paired t-test, adjusted for "
            "all comparisons in the table (Benjamini and Hochberg); the least difference that "
            "this many seeds find with a power of 80 %; and how many seeds would find the "
            "one that was seen.")
    return (f'<section class="card"><p class="how">{note}</p><div class="wide">'
            f"{table(head, rows)}</div></section>")


def _power_text(change: Any, chance: float) -> str:
    needed = statistics.seeds_needed(change)
    said = "–" if chance != chance else "p < 0.001" if chance < 0.001 else f"p = {chance:.2g}"
    return (f"{said} · finds {number(statistics.detectable(change))} · "
            f"{number(needed)} seeds needed")
