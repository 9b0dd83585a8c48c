"""The options of `engine load`, with what `--help` says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MIX = "limit=45,cancel=35,amend=10,market=5,mark=5"

Connect = Annotated[
    str | None,
    typer.Option(
        metavar="ENDPOINT",
        help="A server that runs already (`engine serve --commands`). Default: one of its own."),
]
Key = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Secret key file of a client, where the server of --connect asks for keys: one for "
        "each of --clients. Repeatable."),
]
InProcess = Annotated[
    bool, typer.Option("--in-process", help="An exchange in this process, by packed calls.")
]
Accounts = Annotated[
    list[int] | None,
    typer.Option(
        min=0, metavar="N",
        help="Accounts with a position. Repeatable with --knee. Default 10000; of --knee 10^3, "
        "10^4, 10^5 and 10^6."),
]
Journal = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|off",
        help="Of its own server: an empty folder, or no journal. Default: a temporary folder; of "
        "--knee both on and off."),
]
Fsync = Annotated[str, typer.Option(metavar="batch|always|off", help="Of that journal.")]
Population = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Accounts of its own server: a plan, or parquet."),
]
Symbol = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Trade only this instrument. Repeatable; default all."),
]
Rate = Annotated[
    float | None,
    typer.Option(
        metavar="R", help="Commands per second; default 1000. Of --knee where it begins: 2000."),
]
Duration = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="30s, 10m, 4h. Default 10s; --knee 2s; --soak 1h."),
]
ArrivalsKind = Annotated[
    str,
    typer.Option(metavar="KIND", help="poisson, constant, hawkes[:BRANCHING,DECAY] or tape."),
]
Tape = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="A recorded feed, whose times are brought to the rate."),
]
Mix = Annotated[
    str, typer.Option(metavar="WEIGHTS", help="Of limit, cancel, amend, market and mark.")
]
Swing = Annotated[
    float, typer.Option(metavar="X", help="How far the reference price moves, as a share of it.")
]
Clients = Annotated[int, typer.Option(metavar="N", help="Client processes.")]
Traders = Annotated[int, typer.Option(metavar="N", help="Accounts of each client.")]
Batch = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Commands in one message; default 1. In process most in a call: 64."),
]
PackedTables = Annotated[
    bool, typer.Option("--packed", help="Send the commands of a message as one packed table.")
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="The same sends the same.")]
KneeSearch = Annotated[
    bool, typer.Option("--knee", help="Find the highest rate that holds the target.")
]
Target = Annotated[
    str, typer.Option(metavar="TIME", help="Of --knee: for the 99th percentile, e.g. 10ms.")
]
Repeats = Annotated[int, typer.Option(metavar="N", help="Of --knee: legs at each rate.")]
Precision = Annotated[
    float, typer.Option(metavar="X", help="Of --knee: width of the bracket at the end.")
]
Soak = Annotated[
    bool, typer.Option("--soak", help="Watch drift and memory; fail where memory grows.")
]
Page = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write an HTML page with the curves.")
]
Hgrm = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the latencies as an .hgrm file, in ms.")
]
