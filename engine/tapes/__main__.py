"""`python -m engine.tapes`: rebuild recorded markets and print how well they agree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from engine.cli import call, make_exchange
from engine.errors import InputError
from engine.progress import ProgressBar
from engine.tapes.agreement import Agreement, Difference
from engine.tapes.compare import compare_depth, compare_orders
from engine.units import Grid, is_decimal

app = typer.Typer(
    help="Rebuild recorded markets in the order book and compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Findings = Annotated[
    bool, typer.Option("--findings", help="Also print each thing that did not fit, by line.")
]
Rows = list[tuple[str, str]]


@app.command()
def orders(
    messages: Annotated[str, typer.Argument(metavar="MESSAGES", help="LOBSTER message file.")],
    quotes: Annotated[str, typer.Argument(metavar="ORDERBOOK", help="LOBSTER order book file.")],
    whole_sweeps: Annotated[
        bool, typer.Option("--whole-sweeps", help="One order for all that it traded at once.")
    ] = False,
    findings: Findings = False,
) -> None:
    """Drive a LOBSTER tape through the book; compare best bids and offers, and priority."""
    make_exchange("compiled")  # says what to do where it is not built
    with ProgressBar("messages", unit="lines") as bar:
        result = compare_orders(
            messages, quotes, whole_sweeps=whole_sweeps, report=_reporter(findings),
            progress=bar.update,
        )
    if findings:
        for difference in result.states.differences:
            _say_difference(result.lines, difference)
    figures = result.figures
    rows = [(f"messages_{kind.name.lower()}", n) for kind, n in sorted(figures.messages.items())]
    rows += [(f"unknown_{kind.name.lower()}", n) for kind, n in sorted(figures.unknown.items())]
    rows += [
        ("unknown_ids", len(figures.unknown_ids)),
        *_counts(figures),
    ]
    _print_rows([
        *((name, str(count)) for name, count in rows),
        *_agreement_rows("states", result.states),
        *_agreement_rows("prices", result.prices),
    ])


@app.command()
def depth(
    capture: Annotated[str, typer.Argument(metavar="CAPTURE", help="Binance stream capture.")],
    tick: Annotated[str, typer.Option(metavar="STEP", help="Step of prices, e.g. 0.1.")],
    lot: Annotated[str, typer.Option(metavar="STEP", help="Step of quantities, e.g. 0.001.")],
    findings: Findings = False,
) -> None:
    """Rebuild the book of a Binance capture; compare best bids and offers with its tickers."""
    make_exchange("compiled")
    with ProgressBar("capture", unit="lines") as bar:
        result = compare_depth(
            capture, _grid("--tick", tick), _grid("--lot", lot), report=_reporter(findings),
            progress=bar.update,
        )
    _print_rows([
        *((f"records_{name}", str(count)) for name, count in sorted(result.records.items())),
        *((name, str(count)) for name, count in _counts(result.depth)),
        *((name, str(count)) for name, count in _counts(result.tickers)),
    ])


def _grid(option: str, text: str) -> Grid:
    try:
        if not is_decimal(text):
            raise ValueError
        return Grid(text)
    except ValueError:
        raise InputError(f"{option} {text}: expected a decimal above zero") from None


def _reporter(is_wanted: bool) -> Callable[[int, str], None] | None:
    return (lambda line, text: print(f"line {line}: {text}")) if is_wanted else None


def _say_difference(lines: Sequence[int], difference: Difference) -> None:
    ours, theirs = difference.ours, difference.theirs
    before = lines[ours.start - 1] if ours.start else 0
    until = lines[ours.stop] if ours.stop < len(lines) else lines[-1]
    print(
        f"between lines {before} and {until}: {len(ours)} states here, "
        f"{len(theirs)} in the record"
    )


def _counts(figures: object) -> list[tuple[str, int]]:
    return [(name, value) for name, value in vars(figures).items() if isinstance(value, int)]


def _agreement_rows(name: str, agreement: Agreement) -> Rows:
    return [
        (f"{name}_here", str(agreement.ours_count)),
        (f"{name}_recorded", str(agreement.theirs_count)),
        (f"{name}_matched", str(agreement.matched_count)),
        (f"{name}_differences", str(len(agreement.differences))),
        (f"{name}_agreement", f"{100 * agreement.share:.3f} %"),
    ]


def _print_rows(rows: Rows) -> None:
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        print(f"{key:<{width}}  {value}")


if __name__ == "__main__":
    sys.exit(call(app))
