"""`python -m engine.demo`: the main job, its summary and its report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.cli import call, make_exchange
from engine.demo.run import DemoOptions, DemoResult, run_demo
from engine.demo.summary import summary_rows
from engine.errors import InputError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def demo(
    feed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Recorded market data (docs/formats.md lists the formats); may be given several "
            "times. Default: a generated crash.",
        ),
    ] = None,
    accounts: Annotated[int, typer.Option(min=1, help="Accounts in the population.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the population and the generated feed.")] = 1,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets report.html.", path_type=Path)
    ] = Path("out/demo"),
    marks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N marks of the feed.")
    ] = None,
    core: Annotated[str, typer.Option(help="compiled, or reference (plain, slow).")] = "compiled",
) -> None:
    """Crash a population of accounts and write a report about it.

    A second process publishes the marks over ZeroMQ; this one holds the accounts. They
    breach, are liquidated in steps through the books, the fund takes over what the books
    do not take, and auto-deleveraging closes the rest. The same arguments give the same
    state_hash.
    """
    from engine.load.page import require_plotly
    from engine.report import write_report

    require_plotly()
    make_exchange(core)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: {(error.strerror or str(error)).lower()}") from None
    result = run_demo(DemoOptions(tuple(feed or ()), accounts, seed, marks, core))
    path = out / "report.html"
    write_report(result, path)
    _print_summary(result, path)


def _print_summary(result: DemoResult, report: Path) -> None:
    rows = [*summary_rows(result), ("report", str(report))]
    if sys.stdout.isatty():
        table = Table(show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right")
        for key, value in rows:
            table.add_row(key.replace("_", " "), value)
        Console().print(table)
    else:
        width = max(len(key) for key, _ in rows)
        for key, value in rows:
            print(f"{key:<{width}}  {value}")
    print(f"drift  {result.drift}")
    print(f"state_hash  {result.state_hash}")


if __name__ == "__main__":
    sys.exit(call(app))
