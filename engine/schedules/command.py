"""What `engine tiers` does: margin schedules of a file as commands, or as a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain

from engine.errors import InputError, RunError
from engine.feeds.compose import parse_renames
from engine.schedules.load import read_schedules
from engine.schedules.okx import Contract
from engine.schedules.rows import Row, deductions, tiers_commands
from engine.units import is_decimal

_COLUMNS = (
    "tier", "min_notional", "max_notional", "maintenance_margin_rate", "max_leverage",
    "maintenance_amount",
)


def parse_contracts(arguments: Sequence[str]) -> dict[str, Contract]:
    """Read `NAME=SIZE:PRICE` or `NAME=SIZE:PRICE:inverse` arguments.

    Raises
    ------
    InputError
    """
    found = {}
    for argument in arguments:
        name, _, terms = argument.partition("=")
        size, _, rest = terms.partition(":")
        price, _, kind = rest.partition(":")
        if not (name and is_decimal(size) and is_decimal(price) and kind in ("", "inverse")):
            raise InputError(f"--contract {argument}: expected NAME=SIZE:PRICE[:inverse]")
        is_inverse = kind == "inverse"
        found[name] = Contract(size, price, 8 if is_inverse else 2, is_inverse=is_inverse)
    return found


def print_schedules(
    file: str,
    *,
    symbols: Sequence[str] = (),
    renames: Sequence[str] = (),
    contracts: Sequence[str] = (),
    maintenance_fraction: str | None = None,
    as_table: bool = False,
    out: str | None = None,
) -> None:
    """Print the schedules of a file; notes go to stderr.

    Parameters
    ----------
    file : str
    symbols : sequence of str
        Those to print, as the file names them; default all.
    renames, contracts : sequence of str
        `FILESYMBOL=SYMBOL`, `NAME=SIZE:PRICE[:inverse]`.
    maintenance_fraction : str, optional
    as_table : bool
        A table with deductions in place of `tiers` commands.
    out : str, optional
        File to write; default stdout.

    Raises
    ------
    InputError
        Before anything is written.
    """
    new_names = parse_renames(renames)
    loaded = read_schedules(
        file, symbol=symbols[0] if len(symbols) == 1 else None,
        contracts=parse_contracts(contracts), maintenance_fraction=maintenance_fraction)
    for name in chain(symbols, new_names):
        if name not in loaded.schedules:
            raise InputError(f"{file}: no symbol {name} in the file")
    wanted = symbols or list(loaded.schedules)
    schedules = {new_names.get(name, name): loaded.schedules[name] for name in wanted}
    if len(schedules) < len(set(wanted)):
        raise InputError("--map: two symbols would have one name")
    for note in loaded.notes:
        if note.symbol is None or note.symbol in wanted:
            print(f"note: {note.text}", file=sys.stderr)
    if loaded.tier_rule != "marginal":
        print(f"note: declare the instruments with tier_rule {loaded.tier_rule}", file=sys.stderr)
    lines = _table(schedules, loaded.tier_rule) if as_table else _commands(schedules)
    write_lines(lines, out)


def write_lines(lines: Iterable[str], out: str | None) -> None:
    """Print lines, or write them to a file.

    Raises
    ------
    RunError
        The file cannot be written.
    """
    with ExitStack() as stack:
        stream = sys.stdout
        if out is not None:
            try:
                stream = stack.enter_context(open(out, "w", encoding="utf-8"))
            except OSError as error:
                raise RunError(f"{out}: cannot write: {(error.strerror or '').lower()}") from None
        for line in lines:
            print(line, file=stream)


def align(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))


def _commands(schedules: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    for command in tiers_commands(schedules):
        yield json.dumps(command, separators=(",", ":"))


def _table(schedules: Mapping[str, Sequence[Row]], tier_rule: str) -> Iterator[str]:
    for symbol, rows in schedules.items():
        taken_off = deductions(rows) if tier_rule == "marginal" else ["0"] * len(rows)
        cells = [list(_COLUMNS)]
        for number, (row, amount) in enumerate(zip(rows, taken_off, strict=True), start=1):
            shown = [row[name] or "none" for name in _COLUMNS[1:-1]]
            cells.append([str(number), *shown, amount])
        yield symbol
        yield from align(cells)
        yield ""
