"""`engine run`: a scenario stream in, one JSON object a line out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn, TextIO

from engine.commands import check_shape
from engine.errors import CommandError, InputError
from engine.exchange import Exchange


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number here")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"field {name!r:.80} twice")
        found[name] = value
    return found


def parse_line(text: str) -> dict[str, Any]:
    """Return the object of one scenario line.

    Raises
    ------
    CommandError
        Not JSON, or not an object; one line that says what is wrong.
    """
    try:
        line = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_reject_duplicates)
    except json.JSONDecodeError as error:
        raise CommandError(f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"not JSON: {str(error)[:120]}") from None
    if not isinstance(line, dict):
        raise CommandError("not a JSON object")
    return line


def run(
    lines: Iterable[str], name: str, out: TextIO, exchange: Exchange | None = None
) -> Exchange:
    """Apply a scenario to an exchange, printing every event and reply as a JSON line.

    Parameters
    ----------
    lines : iterable of str
        One JSON object each; blank lines are skipped.
    name : str
        What to call the input in an error.
    out : text file
        Gets one line for each event and reply, in order.
    exchange : Exchange, optional
        Default: a fresh one.

    Returns
    -------
    Exchange
        After the last line.

    Raises
    ------
    InputError
        ``name:line: what was wrong``. Earlier lines have been applied and their output
        written; nothing after is read.
    """
    exchange = exchange or Exchange()
    number = 0
    try:
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            line = parse_line(text)
            if check_shape(line) == "cmd":
                for event in exchange.apply(line):
                    write_line(out, event)
            else:
                write_line(out, exchange.query(line))
    except CommandError as error:
        raise InputError(f"{name}:{number}: {error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name}:{number + 1}: not UTF-8: {error.reason}") from None
    return exchange


def write_line(out: TextIO, value: dict[str, Any]) -> None:
    """Write one object as a line of compact JSON."""
    out.write(json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n")
