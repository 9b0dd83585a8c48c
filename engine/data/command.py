"""`engine data`: recorded market data from public archives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import InputError

app = typer.Typer(
    help="Recorded market data from public archives.", no_args_is_help=True,
    add_completion=False, pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    pass


@app.command()
def get(
    source: Annotated[str, typer.Argument(metavar="binance|tardis")],
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="aggTrades, markPriceKlines, trades, …")],
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="As the source writes it.")],
    day: Annotated[str, typer.Argument(metavar="DAY", help="YYYY-MM-DD, UTC.")],
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="And all days up to this one.")] = None,
    market: Annotated[
        str, typer.Option(metavar="um|cm|spot", help="Of Binance: USD-M, COIN-M or spot.")
    ] = "um",
    interval: Annotated[
        str, typer.Option(metavar="TIME", help="Of Binance's klines: 1m, 5m, 1h, …")] = "1m",
    exchange: Annotated[
        str, typer.Option(metavar="NAME", help="Of Tardis: binance-futures, deribit, …")
    ] = "binance-futures",
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", path_type=Path,
            help="Where files are kept; default: ENGINE_DATA, or perp-engine in the user's cache."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Of a mirror with the same layout.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="S", help="Longest silence of the server.")] = 30.0,
) -> None:
    """Download files of a public archive; print where they are, one a line.

    What is in the cache already is not downloaded again. Binance's checksums are verified. Tardis
    gives first days of months freely; others need a key in TARDIS_API_KEY.
    """
    from engine.data import fetch
    from engine.progress import ProgressBar

    days = fetch.parse_days(day, until)
    if source not in fetch.BASE_URLS:
        raise InputError(f"{source}: expected {' or '.join(fetch.BASE_URLS)}")
    base = base_url or fetch.BASE_URLS[source]
    headers = {"User-Agent": "perp-engine"}
    if source == "binance":
        items = fetch.plan_binance(base, market, kind, symbol, days, interval)
    else:
        key = os.environ.get("TARDIS_API_KEY")
        if key:
            headers["Authorization"] = f"Bearer {key}"
        items = fetch.plan_tardis(base, exchange, kind, symbol, days, has_key=bool(key))
    directory = fetch.cache_directory(cache)
    fetch.free_space_check(directory)
    with ProgressBar("downloading", unit="bytes") as bar:
        fetcher = fetch.Fetcher(
            directory, headers, timeout_s=timeout,
            on_bytes=lambda name, count: bar.update(count, name))
        for item in items:
            place, _ = fetcher.get(item)
            print(place)
