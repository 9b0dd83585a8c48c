"""The command line of `engine instruments`."""

from __future__ import annotations

from typing import Annotated

import typer


def instruments(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Binance exchangeInfo (USD-M, COIN-M), Bybit instruments-info, OKX instruments, "
            "or ccxt markets; told by the content.",
        ),
    ],
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this instrument, in any common spelling. Repeatable."),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FILESYMBOL=SYMBOL", help="Rename a symbol. Repeatable."),
    ] = None,
    tiers: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Margin schedules, as `engine tiers` reads them."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE",
            help="A field of every instrument, as taker_fee=0.0005. Repeatable."),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="A table instead of commands.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write here instead of to stdout.")
    ] = None,
) -> None:
    """Print the contracts of a venue's file as `asset` and `instrument` commands.

    They make a scenario, or its beginning. What was left out, and what was read by a rule and
    not by the letter, is said on stderr.
    """
    from engine.listings.command import print_instruments

    print_instruments(
        file, symbols=symbol or (), renames=map_ or (), tiers=tiers, terms=set_ or (),
        as_table=table, out=out)
