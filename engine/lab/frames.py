"""Runs as frames and Parquet files, each with its provenance inside."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import RunError
from engine.lab import answers, exante
from engine.lab.causes import Causes, find_causes
from engine.lab.market import MINOR
from engine.lab.recorder import Run
from engine.messages import EventKind

if TYPE_CHECKING:
    import pandas as pd

_EVENTS = {
    "steps": EventKind.LIQUIDATION_STEP, "takeovers": EventKind.LIQUIDATION_TAKEOVER,
    "adl": EventKind.ADL, "fund": EventKind.INSURANCE, "margin_calls": EventKind.MARGIN_CALL,
    "trades": EventKind.TRADE, "finished": EventKind.LIQUIDATION_FINISHED,
    "conversions": EventKind.COLLATERAL_CONVERTED, "started": EventKind.LIQUIDATION_STARTED,
}
#: Tables that the headlines of a report can be made of again, of every run and of its twin.
TRACED = (
    "positions", "r0", "started", "steps", "takeovers", "adl", "fund", "liquidations", "lines")
TRACED_OF_TWIN = ("started", "liquidations", "lines")


def frames(run: Run, causes: Causes) -> dict[str, pd.DataFrame]:
    """Return a run's tables as frames, in the core's units.

    Returns
    -------
    dict
        ``positions``: as they were opened. ``liquidations``: one row for each, with its parent,
        generation, what the pool held (``lots_`` and the symbol) and what closed it, notional in
        the settle asset. ``steps``, ``takeovers``, ``adl``, ``fund``,
        ``margin_calls``, ``trades`` (forced ones), ``finished``, ``conversions``,
        ``started``: the events, as `engine.messages.EVENT_LAYOUTS` names their fields, with
        `seq`: the number of the command. ``lines``: a row for each step and symbol. ``r0``:
        the ex-ante reproduction number by symbol and price. ``funding``:
        its settlements. ``answers``: what the population sent
        in answer to margin calls and deleveraging, with whose liquidation led to it;
        ``own_trades``: the trades of such orders, and of stop orders.
    """
    import pandas as pd

    out = {name: pd.DataFrame(run.table(kind)) for name, kind in _EVENTS.items()}
    out["trades"]["liquidation"] = causes.trade_of
    liquidations = pd.DataFrame(run.breaches)
    liquidations["notional"] /= MINOR
    liquidations["parent"], liquidations["generation"] = causes.parent, causes.generation
    for name in ("book", "fund", "adl"):
        liquidations[name] = getattr(causes, name) / MINOR
    names = [symbol.name for symbol in run.scenario.symbols]
    for at, name in enumerate(names):
        liquidations[f"lots_{name}"] = run.breach_lots[:, at]
    out["liquidations"] = liquidations
    steps, count = run.lines["mark"].shape
    lines = {name: values.ravel() for name, values in run.lines.items()}
    people = run.population
    out["positions"] = pd.DataFrame({
        "account": people.holder + 1, "symbol": people.symbol, "quantity": people.quantity,
        "entry_value": people.entry})
    out["lines"] = pd.DataFrame({
        "ts": np.repeat(run.clock["ts"], count), "seq": np.repeat(run.clock["seq"], count),
        "symbol": np.tile(names, steps), **lines})
    out["funding"] = pd.DataFrame(run.funding)
    out |= answers.frames(run, causes)
    out["r0"] = exante.frame(run)
    return out


def write_parquet(frame: pd.DataFrame, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write a frame with its provenance in the file's metadata, under the key ``engine.lab``.

    Raises
    ------
    RunError
        The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    note = {b"engine.lab": json.dumps(provenance).encode()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **note})
    try:
        pq.write_table(table, path)
    except OSError as error:
        raise RunError(f"{path}: cannot write: {(error.strerror or '').lower()}") from None


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance that `write_parquet` put into a file."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(path).metadata
    return dict(json.loads(metadata[b"engine.lab"]))


def write_run(
    run: Run, causes: Causes, folder: Path, names: Sequence[str] | None = None
) -> None:
    """Write the tables of a run into a folder, one Parquet file each: all, or some by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames(run, causes).items():
        if names is None or name in names:
            write_parquet(frame, folder / f"{name}.parquet", run.provenance())


def write_pair(run: Run, causes: Causes, twin: Run | None, folder: Path) -> None:
    """Write what the headlines of a report are made of, of a run and its twin, or nothing."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    write_run(run, causes, part, TRACED)
    if twin is not None:
        write_run(twin, find_causes(twin), part / "twin", TRACED_OF_TWIN)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
