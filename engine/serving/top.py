"""`engine top`: what a server is doing, on a terminal, a frame at a time.

Everything comes by queries over the commands socket, so it needs a key with role `read` where
there are keys. A frame compares two readings; the first compares with the server's start.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engine.client import Client, NoAnswer
from engine.errors import InputError, RunError
from engine.serving.figures import quantile_ns, state_line

#: Symbols shown where none are named, and entries of the liquidation queue.
SYMBOLS_SHOWN, QUEUE_SHOWN = 3, 5
#: A queue longer than this is not asked for: the answer would hold up the server.
_QUEUE_MAX = 500

_BUY, _SELL, _BAD, _DIM, _HEAD = "green", "red", "bold red", "dim", "bold cyan"
_BAR = "▏▎▍▌▋▊▉█"
_BAR_WIDTH = 10
#: Narrower than this a frame has no bars and leaves out what is not needed.
_WIDE = 100
#: What a book needs, without and with its bars.
_BOOK_WIDTH, _WIDE_BOOK_WIDTH = 26, 38


@dataclass
class Reading:
    """What a server said at one moment.

    Attributes
    ----------
    server : mapping
        Answer to the query `server`.
    instruments, books : dict
        By symbol, for those that are shown.
    queue : list
        Entries of the liquidation queue.
    """

    server: Mapping[str, Any]
    instruments: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    books: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    queue: Sequence[Mapping[str, Any]] = ()


def read(client: Client, symbols: Sequence[str], depth: int) -> Reading:
    """Ask a server for everything that a frame shows.

    Raises
    ------
    NoAnswer
    InputError
        A symbol that the server does not have.
    """
    server = client.query({"query": "server"})
    known = server["symbols"] or []
    reading = Reading(server)
    for symbol in symbols or known[:SYMBOLS_SHOWN]:
        book = client.query({"query": "book", "symbol": symbol, "depth": depth})
        if book.get("event") == "rejected":
            raise InputError(f"--symbol {symbol}: the server has no such symbol")
        reading.books[symbol] = book
        reading.instruments[symbol] = client.query({"query": "instrument", "symbol": symbol})
    if 0 < (server["queue_depth"] or 0) <= _QUEUE_MAX:
        reading.queue = client.query({"query": "liquidation_queue"})["entries"]
    return reading


def frame(
    reading: Reading, before: Reading | None, endpoint: str, width: int
) -> RenderableType:
    """Return one frame.

    Parameters
    ----------
    reading : Reading
    before : Reading, optional
        Of the same server; None: rates and latencies since its start.
    endpoint : str
    width : int, columns
    """
    is_wide = width >= _WIDE
    if before is not None and before.server["epoch"] != reading.server["epoch"]:
        before = None  # it was restarted, and counts from nothing
    upper = Table.grid(expand=True, padding=(0, 1))
    upper.add_column(ratio=2)
    upper.add_column(ratio=3)
    upper.add_row(_rates(reading, before), _latencies(reading, before, is_wide=is_wide))
    lower = Table.grid(expand=True, padding=(0, 1))
    lower.add_column(ratio=3)
    lower.add_column(ratio=2)
    lower.add_row(_queue(reading, is_wide=is_wide), _funds(reading))
    header = _header(reading, endpoint, is_wide=is_wide)
    return Group(header, upper, *_books(reading, width), lower)


def _books(reading: Reading, width: int) -> list[RenderableType]:
    """Rows of books, as many side by side as there is room for."""
    symbols = list(reading.books)
    if not symbols:
        return []
    in_row = max(1, min(len(symbols), width // _BOOK_WIDTH))
    has_bars = width // in_row >= _WIDE_BOOK_WIDTH
    rows: list[RenderableType] = []
    for start in range(0, len(symbols), in_row):
        row = Table.grid(expand=True, padding=(0, 1))
        for _ in range(in_row):
            row.add_column(ratio=1)
        row.add_row(*(
            _book(reading, symbol, has_bars=has_bars)
            for symbol in symbols[start:start + in_row]))
        rows.append(row)
    return rows


def _header(reading: Reading, endpoint: str, *, is_wide: bool) -> RenderableType:
    server = reading.server
    up_s = (server["now_ns"] - server["started_ns"]) / 1e9
    text = Text.assemble(
        ("engine ", "bold"), (server["engine"], "bold"), "  ", endpoint, "  ",
        (server["state"], "bold green" if server["state"] == "serving" else _BAD),
        "  up ", _span(up_s), "  seq ", (f"{server['seq']:,}", "bold"),
        f"  epoch {server['epoch']}" if is_wide else "",
        "  clients ", (str(server["clients_active"]), "bold"))
    drifts = {name: value for name, value in (server["drift"] or {}).items() if value != "0"}
    if drifts:
        text.append(f"  DRIFT {drifts}", _BAD)
    return text


def _span(seconds: float) -> str:
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def _panel(table: RenderableType, title: str, note: str = "") -> Panel:
    return Panel(
        table, title=Text(title, _HEAD), title_align="left", box=box.ROUNDED,
        border_style=_DIM, subtitle=Text(note, _DIM) if note else None, subtitle_align="right")


def _table(*columns: str, has_header: bool = True, has_bars: bool = False) -> Table:
    """A table whose first column is a name, whose others are figures, and bars at its end."""
    table = Table(
        box=None, expand=True, pad_edge=False, header_style=_DIM, show_header=has_header)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    if has_bars:
        table.add_column("", min_width=_BAR_WIDTH, no_wrap=True)
    return table


def _rates(reading: Reading, before: Reading | None) -> RenderableType:
    now, then = reading.server, before.server if before else None
    elapsed_s = max((now["now_ns"] - (then["now_ns"] if then else now["started_ns"])) / 1e9, 1e-9)
    table = _table("", "a second", "in all")

    def row(name: str, count: int, earlier: int, style: str = "") -> None:
        rate = max(count - earlier, 0) / elapsed_s
        table.add_row(name, f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}", f"{count:,}",
                      style=style)

    row("messages", now["messages"], then["messages"] if then else 0)
    for code in sorted(now["outcomes"], key=_severity):
        style = {"accepted": _BUY, "applied": _BUY, "rejected": ""}.get(code, "yellow")
        row(code, now["outcomes"][code], then["outcomes"].get(code, 0) if then else 0, style)
    for code, count in sorted(now["refusals"].items()):
        row(f"refused: {code}", count, then["refusals"].get(code, 0) if then else 0, "yellow")
    row("queries", now["queries"], then["queries"] if then else 0)
    row("batches", now["batches"], then["batches"] if then else 0)
    if now["refused_connections"]:
        row("refused keys", now["refused_connections"],
            then["refused_connections"] if then else 0, "yellow")
    return _panel(table, "Commands", "since the start" if then is None else "")


def _severity(code: str) -> tuple[int, str]:
    order = ("accepted", "applied", "rejected")
    return (order.index(code) if code in order else len(order), code)


def _latencies(
    reading: Reading, before: Reading | None, *, is_wide: bool
) -> RenderableType:
    table = _table("stage", "p50", "p99", "p99.9", has_bars=is_wide)
    stages = {}
    for name, stage in reading.server["stages"].items():
        earlier = before.server["stages"][name]["counts"] if before else [0] * len(stage["counts"])
        stages[name] = [
            count - less for count, less in zip(stage["counts"], earlier, strict=True)]
    if not any(map(sum, stages.values())):
        # Nothing happened meanwhile: what it was like when something did.
        stages = {
            name: stage["counts"] for name, stage in reading.server["stages"].items()}
        before = None
    worst = max((quantile_ns(counts, 0.99) or 0.0 for counts in stages.values()), default=0.0)
    for name, counts in stages.items():
        shares = [quantile_ns(counts, share) for share in (0.5, 0.99, 0.999)]
        bar = _bar((shares[1] or 0.0) / worst, "cyan") if worst else Text()
        table.add_row(name, *(_duration(value) for value in shares), *([bar] * is_wide))
    return _panel(table, "Latency of batches", "" if before else "since the start")


def _bar(share: float, style: str) -> Text:
    eighths = max(1, round(share * _BAR_WIDTH * 8)) if share > 0 else 0
    full, rest = divmod(eighths, 8)
    return Text("█" * full + (_BAR[rest - 1] if rest else ""), style)


def _duration(duration_ns: float | None) -> str:
    if duration_ns is None:
        return "–"
    for unit, size in (("s", 1e9), ("ms", 1e6)):
        if duration_ns >= size:
            return f"{duration_ns / size:.3g} {unit}"
    return f"{duration_ns / 1e3:.3g} µs"


def _book(reading: Reading, symbol: str, *, has_bars: bool) -> RenderableType:
    book, instrument = reading.books[symbol], reading.instruments[symbol]
    table = _table("", "price", "quantity", has_bars=has_bars)
    sides = (("ask", list(reversed(book["asks"])), _SELL), ("bid", book["bids"], _BUY))
    most = max((float(level[1]) for _, levels, _ in sides for level in levels), default=0.0)
    for name, levels, style in sides:
        if not levels:
            table.add_row(name, "–", "–", style=_DIM)
        for number, (price, quantity, *_) in enumerate(levels):
            is_best = number == (len(levels) - 1 if name == "ask" else 0)
            bar = _bar(float(quantity) / most if most else 0.0, style)
            table.add_row(
                name if is_best else "", price, quantity, *([bar] * has_bars), style=style)
        if name == "ask":
            table.add_row(
                "mark", instrument["mark_price"] or "–", f"last {book['last_price'] or '–'}",
                style="bold")
    age = (reading.server["mark_ages_ns"] or {}).get(symbol)
    notes = [f"mark {_span_short(age)} old" if age is not None else ""]
    notes += [instrument["halt"] or "", instrument["liquidations_paused"] or ""]
    return _panel(table, symbol, ", ".join(filter(None, notes)))


def _span_short(age_ns: int) -> str:
    return _duration(age_ns) if age_ns < 60e9 else _span(age_ns / 1e9)


def _queue(reading: Reading, *, is_wide: bool) -> RenderableType:
    depth = reading.server["queue_depth"] or 0
    more = ("maintenance", "waits for") if is_wide else ()
    table = _table("account", "pool", "equity", "ratio", *more)
    for entry in reading.queue[:QUEUE_SHOWN]:
        table.add_row(
            str(entry["account"]), entry["symbol"] or entry["asset"], entry["equity"],
            entry["margin_ratio"] or "spent",
            *((entry["maintenance_margin"], entry["waits_for"] or "its turn") * is_wide))
    if not depth:
        table.add_row("empty", style=_DIM)
    elif depth > len(reading.queue[:QUEUE_SHOWN]):
        table.add_row(f"and {depth - len(reading.queue[:QUEUE_SHOWN]):,} more", style=_DIM)
    return _panel(table, f"Liquidation queue: {depth:,}")


def _funds(reading: Reading) -> RenderableType:
    server = reading.server
    table = _table("", "", has_header=False)
    for row in server["funds"] or ():
        name = f"fund {row['asset']}" + (f" {row['fund']}" if row["fund"] else "")
        table.add_row(name, row["balance"])
    for asset, value in (server["drift"] or {}).items():
        table.add_row(f"drift {asset}", value, style=_BAD if value != "0" else "")
    ages = server["mark_ages_ns"] or {}
    if ages:
        symbol = max(ages, key=lambda name: ages[name])
        table.add_row("oldest mark", f"{symbol}, {_span_short(ages[symbol])}")
    if server["snapshot_seq"] is not None:
        age = max(0, server["now_ns"] - server["snapshot_written_ns"])
        table.add_row("snapshot", f"seq {server['snapshot_seq']:,}, {_span_short(age)} old")
    return _panel(table, "Fund and state")


def run(
    client: Client, endpoint: str, symbols: Sequence[str], depth: int, interval_s: float, *,
    is_once: bool, console: Console,
) -> None:
    """Show frames until interrupted, or one.

    Where the terminal cannot move its cursor, or the output is no terminal, the frames come one
    below the other.

    Raises
    ------
    NoAnswer
        Nobody answered the first time; later it is shown and tried again.
    RunError, InputError
    """
    before, reading = None, read(client, symbols, depth)
    if is_once:
        console.print(frame(reading, None, endpoint, console.width))
        return
    is_plain = not console.is_terminal or console.is_dumb_terminal
    with Live(
        frame(reading, None, endpoint, console.width), console=console, screen=not is_plain,
        auto_refresh=False, vertical_overflow="crop",
    ) as live:
        while True:
            shown = frame(reading, before, endpoint, console.width)
            if is_plain:
                console.print(shown)
            else:
                live.update(shown, refresh=True)
            time.sleep(interval_s)
            try:
                before, reading = reading, read(client, symbols, depth)
            except NoAnswer as error:
                lost = Text(f"{error}; trying again", _BAD)
                if is_plain:
                    console.print(lost)
                else:
                    live.update(Group(lost, shown), refresh=True)


def health(client: Client) -> tuple[bool, str]:
    """Ask a server how it is; return whether it takes commands, and a line about it.

    Raises
    ------
    NoAnswer, RunError
    """
    server = client.query({"query": "server"})
    if server.get("reply") != "server":
        raise RunError(f"not an answer: {server!r:.200}")
    is_ready = server["state"] == "serving"
    return is_ready, state_line(server)
