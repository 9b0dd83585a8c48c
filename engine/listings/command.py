"""What `engine instruments` does: the contracts of a venue's file as commands, or as a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from engine.commands import COMMANDS
from engine.errors import InputError
from engine.feeds.compose import parse_renames
from engine.listings.load import Listed, read_instruments
from engine.listings.spellings import unified_name
from engine.schedules.command import align, write_lines

_COLUMNS = ("symbol", "unified", "kind", "tick_size", "lot_size", "contract_size", "settle")


def parse_terms(arguments: Sequence[str]) -> dict[str, Any]:
    """Read `FIELD=VALUE` arguments: fields of the `instrument` command.

    Raises
    ------
    InputError
    """
    fields = COMMANDS["instrument"]
    found: dict[str, Any] = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if not value:
            raise InputError(f"--set {argument}: expected FIELD=VALUE")
        if name not in fields:
            raise InputError(f"--set {argument}: `instrument` has no field {name!r}")
        if name in found:
            raise InputError(f"--set {argument}: {name} is set twice")
        is_int = fields[name].wants.startswith("an integer") and value.isdecimal()
        found[name] = int(value) if is_int else value
        if not fields[name].check(found[name]):
            raise InputError(f"--set {argument}: {name} must be {fields[name].wants}")
    return found


def print_instruments(
    file: str,
    *,
    symbols: Sequence[str] = (),
    renames: Sequence[str] = (),
    tiers: str | None = None,
    terms: Sequence[str] = (),
    as_table: bool = False,
    out: str | None = None,
) -> None:
    """Print the instruments of a file; what was left out, and notes, go to stderr.

    Parameters
    ----------
    file : str
    symbols : sequence of str
        Those to print, in any common spelling; default all.
    renames : sequence of str
        `FILESYMBOL=SYMBOL`.
    tiers : str, optional
        File with margin schedules.
    terms : sequence of str
        `FIELD=VALUE`.
    as_table : bool
        A table in place of commands.
    out : str, optional
        File to write; default stdout.

    Raises
    ------
    InputError
        Before anything is written.
    """
    listed = read_instruments(file, symbols=symbols, tiers=tiers, terms=parse_terms(terms))
    _rename(listed, renames, file)
    for why, count in listed.skipped.items():
        print(f"left out: {count} {why}", file=sys.stderr)
    for note in listed.notes:
        print(f"note: {note.text}", file=sys.stderr)
    write_lines(_table(listed) if as_table else _commands(listed), out)


def _rename(listed: Listed, renames: Sequence[str], file: str) -> None:
    new_names = parse_renames(renames)
    for name in new_names:
        if name not in listed.instruments:
            raise InputError(f"{file}: no symbol {name} in the file")
    before = list(listed.instruments.values())
    listed.instruments = {}
    for command in before:
        command["symbol"] = new_names.get(command["symbol"], command["symbol"])
        listed.instruments[command["symbol"]] = command
    if len(listed.instruments) < len(before):
        raise InputError("--map: two symbols would have one name")


def _commands(listed: Listed) -> Iterator[str]:
    for command in listed.commands():
        yield json.dumps(command, separators=(",", ":"))


def _table(listed: Listed) -> Iterator[str]:
    cells = [[*_COLUMNS, "max_leverage", "tiers"]]
    for command in listed.instruments.values():
        shown = {**command, "unified": unified_name(command)}
        tiers = command["tiers"]
        cells.append([
            *(shown[name] for name in _COLUMNS), tiers[0]["max_leverage"], str(len(tiers))])
    return align(cells)
