"""The options of `engine replay`, with what `--help` says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="Recorded market data, told by its content (docs/formats.md lists the formats), "
        "or synthetic[:seed=N,steps=N]; several are merged by time.",
    ),
]
Speed = Annotated[
    str | None,
    typer.Option(
        metavar="N|max",
        help="1: recorded pace (default over ZeroMQ); N times faster; or max (default in process).",
    ),
]
InProcess = Annotated[
    bool, typer.Option("--in-process", help="Feed an engine in this process instead.")
]
Population = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Accounts that are opened before the feed: a plan (JSON) or a parquet file; "
        "docs/populations.md. With --in-process.",
    ),
]
Contracts = Annotated[
    str,
    typer.Option(
        metavar="linear|inverse",
        help="Instruments that are made to fit the feed: of one currency, or each of its coin.",
    ),
]
Fund = Annotated[
    str | None,
    typer.Option(
        metavar="X", help="Give the insurance funds this share of the value of all longs."
    ),
]
NoFunding = Annotated[
    bool,
    typer.Option("--no-funding", help="Leave out settlements of funding that are recorded."),
]
Twice = Annotated[
    bool, typer.Option("--twice", help="In process: play it again, and compare the state hashes.")
]
Page = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="In process: write an HTML page, liquidations over time and load."
    ),
]
Crowd = Annotated[
    str | None,
    typer.Option(
        metavar="displace|restore",
        help="Play recorded depth as a crowd's orders in the engine's own book, which users' "
        "orders and liquidations take from: for good, or until the next change there. With "
        "--in-process.",
    ),
]
CrowdMark = Annotated[
    str,
    typer.Option(
        metavar="book|feed", help="With --crowd, marks follow the engine's own book, or the feed."
    ),
]
Bind = Annotated[str, typer.Option(metavar="ENDPOINT", help="Where to publish.")]
Resend = Annotated[
    str | None,
    typer.Option(metavar="ENDPOINT", help="Where to send steps again to those who missed some."),
]
Records = Annotated[
    bool, typer.Option("--records", help="Publish what was recorded too, not marks alone.")
]
Subscribers = Annotated[
    int, typer.Option(min=0, help="Wait for so many subscribers before the first mark.")
]
Timeout = Annotated[
    float, typer.Option(metavar="S", help="Longest wait for subscribers, in seconds.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop at the first bad row instead of counting it.")
]
Price = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="What sets the marks: auto (the best there is), mark, quote, book, last, "
        "liquidation.",
    ),
]
Clock = Annotated[
    str,
    typer.Option(
        metavar="exchange|local", help="Play by when it happened, or when it was recorded."
    ),
]
Start = Annotated[
    str | None, typer.Option(metavar="TIME", help="Leave out what is before (UTC, or ns).")
]
End = Annotated[str | None, typer.Option(metavar="TIME", help="Stop before this (UTC, or ns).")]
Loop = Annotated[
    int, typer.Option(min=0, metavar="N", help="Play N times over; 0: without end.")
]
Rebase = Annotated[
    str | None,
    typer.Option(metavar="now|TIME", help="Move the feed in time so that it begins then."),
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="FEEDSYMBOL=SYMBOL", help="Rename a feed's symbol."),
]
Symbol = Annotated[
    str | None, typer.Option(metavar="NAME", help="Symbol of files that do not tell theirs.")
]
Date = Annotated[
    str | None,
    typer.Option(metavar="DAY", help="Day of files that have times of day and no date."),
]
Derive = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SYMBOL=SOURCE:BETA:FIRSTPRICE",
        help="Add a symbol that follows another one's returns, times a beta.",
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop after N marks (whole steps).")
]
