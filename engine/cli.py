"""The command line: `engine` and `python -m engine`.

Exit codes: 0 done, 1 the run failed, 2 the input was wrong. What goes wrong is
one line on stderr that begins with `error:`.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine import Exchange, __version__, logs
from engine import access_options as access
from engine import instruments_command as listing
from engine import operations_command as operations
from engine import replay_options as options
from engine.data import command as data_command
from engine.errors import EngineError, InputError, RunError
from engine.load import options as load_options

if TYPE_CHECKING:
    from engine.server import RunFigures
    from engine.tally import Tally

app = typer.Typer(
    name="engine",
    help="Matching and liquidation engine for perpetual futures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_ENDPOINT = "tcp://127.0.0.1:5555"

AllowRemote = Annotated[
    bool,
    typer.Option("--allow-remote", help="Accept an endpoint beyond this machine. Needs keys."),
]
Core = Annotated[str, typer.Option(help="Implementation: compiled, or reference (plain, slow).")]
Scenario = Annotated[
    str | None, typer.Option(metavar="FILE", help="Scenario that is applied before the feed.")
]

# Options of `engine serve`: None where a file or the default decides.
Marks = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[NAME=]ENDPOINT[,RESEND]",
        help=f"Where the marks are published, {_ENDPOINT}. Repeatable, with names; a second "
        "endpoint is where that publisher sends steps again.",
    ),
]
MinSources = Annotated[
    int | None,
    typer.Option(metavar="N", help="A mark needs so many publishers that agree; 1."),
]
MaxDeviation = Annotated[
    str | None,
    typer.Option(
        metavar="X|none",
        help="A publisher further than this part from their median is set aside; 0.02.",
    ),
]
StaleAfter = Annotated[
    float | None,
    typer.Option(
        metavar="S", help="Older prices do not count; without one a symbol's liquidations stop. "
        "10 seconds with named publishers, else no rule.",
    ),
]
Pricing = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="TOML: symbols whose marks, funding and multipliers are made here, "
        "from what the publishers say."),
]
Events = Annotated[
    str | None, typer.Option(metavar="ENDPOINT", help="Publish every event here.")
]
MarketDataAt = Annotated[
    str | None,
    typer.Option(
        "--market-data", metavar="ENDPOINT",
        help="Publish market data here, a topic for each channel of a symbol. Needs a journal."),
]
SnapshotsAt = Annotated[
    str | None,
    typer.Option(
        metavar="ENDPOINT",
        help="Answer here with the state of a topic, for listeners who begin or lost messages."),
]
Channels = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Channels of --market-data, of l3, l2, l1, trades, auction, status (default: all), "
        "with commas between."),
]
JournalFolder = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Keep a journal here; go on from the one there is."),
]
Commands = Annotated[
    str | None,
    typer.Option(metavar="ENDPOINT", help="Take commands and queries here. Needs a journal."),
]
Fsync = Annotated[
    str | None,
    typer.Option(
        metavar="always|batch|off",
        help="Flush each command, or (default) what has been waiting at once; off survives "
        "the end of the process, not of the machine.",
    ),
]
Clock = Annotated[
    str | None,
    typer.Option(
        metavar="commands|wall",
        help="Who gives the time: what arrives (default), or this machine's clock.",
    ),
]
Checkpoint = Annotated[
    int | None,
    typer.Option(metavar="N", help="State hash into the journal each N commands; 100000."),
]
Snapshot = Annotated[
    int | None,
    typer.Option(metavar="N", help="A snapshot each N commands too, not only at the end."),
]
Retain = Annotated[
    str | None,
    typer.Option(
        metavar="all|snapshots|N",
        help="Keep all of the journal (default), or what the latest two or N snapshots need: a "
        "snapshot fits only the build that wrote it. Connected standbys get what they need.",
    ),
]
Replication = Annotated[
    str | None, typer.Option(metavar="ENDPOINT", help="Standbys connect here.")
]
Follow = Annotated[
    str | None,
    typer.Option(
        metavar="ENDPOINT",
        help="Be a standby of the primary whose --replication this is, until told to take over "
        "(`engine promote`, or SIGUSR1).",
    ),
]
StandbyRequired = Annotated[
    int | None,
    typer.Option(metavar="N", help="Answer once N standbys have it on their disk, too; 0."),
]
StandbyTimeout = Annotated[
    float | None, typer.Option(metavar="S", help="How long to wait for them; 5 seconds.")
]
StandbyLost = Annotated[
    str | None,
    typer.Option(
        metavar="wait|degrade",
        help="Then: answer nothing until they are back (default), or go on without them.",
    ),
]
FenceWait = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        help="With --replication: listen so long for a server that took over, before it "
        "serves; 1 second.",
    ),
]
SegmentSize = Annotated[
    int | None, typer.Option(metavar="MIB", help="Size of a journal file, 1 to 1024; 64.")
]
Timeout = Annotated[
    float | None, typer.Option(metavar="S", help="Longest silence of the feed; 30 seconds.")
]
ServerCore = Annotated[
    str | None, typer.Option(help="Implementation: compiled (default), or reference.")
]
ServerRemote = Annotated[
    bool | None,
    typer.Option("--allow-remote", help="Accept endpoints beyond this machine. Needs keys."),
]
Config = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="TOML with options by their long names; the command line wins."
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"engine {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Scenario; - is stdin.")],
    core: Core = "compiled",
) -> None:
    """Apply a scenario to a fresh exchange; print every event and reply as a JSON line."""
    from engine import scenario

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        source = sys.stdin.fileno() if file == "-" else file
        lines = open(source, encoding="utf-8")  # noqa: SIM115 -- closed below
    except OSError as error:
        raise InputError(f"{file}: cannot open: {(error.strerror or '').lower()}") from None
    with lines:
        exchange = make_exchange(core)
        try:
            scenario.run(lines, "<stdin>" if file == "-" else file, sys.stdout, exchange)
        except InputError as error:
            # What was wrong with a line stands on its own: FILE:LINE: reason.
            sys.stdout.flush()
            _say(str(error))
            raise typer.Exit(2) from None


@app.command()
def serve(
    scenario: Scenario = None,
    marks: Marks = None,
    min_sources: MinSources = None,
    max_deviation: MaxDeviation = None,
    stale_after: StaleAfter = None,
    pricing: Pricing = None,
    events: Events = None,
    journal: JournalFolder = None,
    commands: Commands = None,
    fsync: Fsync = None,
    clock: Clock = None,
    checkpoint: Checkpoint = None,
    snapshot: Snapshot = None,
    retain: Retain = None,
    segment_size: SegmentSize = None,
    timeout: Timeout = None,
    market_data: MarketDataAt = None,
    snapshots_at: SnapshotsAt = None,
    channels: Channels = None,
    replication: Replication = None,
    follow: Follow = None,
    standby_required: StandbyRequired = None,
    standby_timeout: StandbyTimeout = None,
    standby_lost: StandbyLost = None,
    fence_wait: FenceWait = None,
    core: ServerCore = None,
    allow_remote: ServerRemote = None,
    key: access.Key = None,
    clients: access.Clients = None,
    feed_key: access.FeedKey = None,
    follow_key: access.FollowKey = None,
    local_role: access.LocalRole = None,
    metrics: operations.Metrics = None,
    log: operations.Log = None,
    config: Config = None,
) -> None:
    """Hold an exchange: take commands over ZeroMQ, follow a mark feed, publish events.

    With a journal every command is durable before it is applied and acknowledged; the server
    goes on where the journal ends, and runs until SIGTERM or SIGINT. Without --commands it
    ends with its feed; the exit code is 1 when the feed did not arrive whole. Without a
    journal it follows the feed only, and needs a scenario.
    """
    given = {**locals(), "marks": marks or None}  # the parameters, which are named as in a file
    from engine.serving.settings import OPTIONS, merge_options

    _serve(merge_options(config, {name: given[name] for name in OPTIONS}))


def _serve(options: Mapping[str, Any]) -> None:
    from engine.serving.feed_settings import feed_settings
    from engine.serving.settings import Settings

    if options["log"] not in logs.FORMATS:
        raise InputError(f"--log {options['log']}: expected {' or '.join(logs.FORMATS)}")
    logs.configure(options["log"])
    _check_timeout(options["timeout"])
    feed, feeds = feed_settings(options["marks"] or [], options)
    if options["journal"] is None:
        _check_without_journal(options, feeds is not None)
        _serve_feed(
            options["scenario"], feed or _ENDPOINT, options["events"],
            options["timeout"], options["core"], options["allow_remote"])
        return
    from engine.serving.command import serve as serve_journaled

    if feed is None and feeds is None and not options["commands"]:
        feed = _ENDPOINT
    settings = Settings(
        options["journal"], options["scenario"], options["commands"], feed, options["events"],
        options["fsync"], options["clock"], options["segment_size"] << 20, options["checkpoint"],
        options["snapshot"], options["retain"], options["timeout"], options["allow_remote"],
        feeds,
        standby_timeout_s=options["standby_timeout"], fence_wait_s=options["fence_wait"],
        **{name: options[name] for name in (
            "key", "clients", "feed_key", "follow_key", "local_role", "replication", "follow",
            "standby_required", "standby_lost", "metrics", "market_data",
            "snapshots_at", "channels")})
    rows, is_whole = serve_journaled(settings, partial(make_exchange, options["core"]), _say)
    _print_rows(rows)
    if not is_whole:
        raise RunError("the feed did not arrive whole; the figures are of what did")


def _check_without_journal(options: Mapping[str, Any], has_feeds: bool) -> None:
    """Refuse what a server that only follows a feed cannot do."""
    if has_feeds:
        raise InputError("--marks with names, and rules for them, need --journal")
    if options["commands"] is not None:
        raise InputError("--commands needs --journal: what is acknowledged has to be durable")
    if options["replication"] is not None or options["follow"] is not None:
        raise InputError("--replication and --follow need --journal: that is what is copied")
    if options["scenario"] is None:
        raise InputError("Missing option '--scenario' (or --journal)")
    for name in ("key", "metrics", "market_data", "snapshots_at"):
        if options[name] is not None:
            raise InputError(f"--{name.replace('_', '-')} needs --journal")


def _serve_feed(
    scenario: str, marks: str, events: str | None, timeout: float, core: str, allow_remote: bool
) -> None:
    from engine.endpoints import check_endpoint
    from engine.server import EventPublisher, exchange_rows, load_scenario, run_steps
    from engine.subscriber import MarkSubscriber

    for endpoint in filter(None, (marks, events)):
        check_endpoint(endpoint, allow_remote=allow_remote)
    exchange = make_exchange(core)
    load_scenario(exchange, scenario, _say)
    with ExitStack() as stack:
        publisher = stack.enter_context(EventPublisher(events)) if events else None
        subscriber = stack.enter_context(
            MarkSubscriber(marks, timeout_s=timeout, report=lambda line: _say(f"feed: {line}"))
        )
        figures = _with_bar(
            lambda progress: run_steps(exchange, subscriber.steps(), progress, publisher)
        )
    health = subscriber.health
    _print_rows([("feed", marks), *health.rows(), *exchange_rows(exchange, figures)])
    if not health.is_complete:
        raise RunError("the feed did not arrive whole; the figures are of what did")


@app.command()
def promote(
    endpoint: Annotated[
        str, typer.Argument(metavar="ENDPOINT", help="The standby's --replication.")
    ],
    timeout: Annotated[
        float, typer.Option(metavar="S", help="Longest wait for it to serve.")
    ] = 30.0,
    allow_remote: AllowRemote = False,
    key: access.Key = None,
    server_key: access.ServerKey = None,
) -> None:
    """Tell a standby to take over; come back when it serves.

    Exit code 1: it does not answer, or it is no standby. Make sure first that the old primary is
    gone: it ends by itself when it hears of this, but not while nobody reaches it.
    """
    from engine.endpoints import check_endpoint
    from engine.keys import read_client_keys
    from engine.replication.promotion import promote as promote_standby

    _check_timeout(timeout)
    keys = read_client_keys(key, server_key)
    check_endpoint(endpoint, allow_remote=allow_remote, has_keys=keys is not None)
    _print_rows(promote_standby(endpoint, timeout, keys))


@app.command()
def verify(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Of the journal.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    core: Core = "compiled",
) -> None:
    """Re-execute a journal, from its start and from its newest snapshot; compare state hashes.

    Exit code 1: the first that differs is named with its seq and place. Exit code 2: the
    journal is damaged, of another version, or not there. Changes nothing.
    """
    from engine.serving import command

    rows, difference = command.verify(folder, partial(make_exchange, core), _say)
    if as_json:
        print(command.verify_json(rows, difference))
    else:
        _print_rows(rows)
    if difference is not None:
        raise difference


@app.command()
def replay(
    files: options.Files,
    speed: options.Speed = None,
    in_process: options.InProcess = False,
    scenario: Scenario = None,
    population: options.Population = None,
    contracts: options.Contracts = "linear",
    fund: options.Fund = None,
    no_funding: options.NoFunding = False,
    twice: options.Twice = False,
    page: options.Page = None,
    crowd: options.Crowd = None,
    crowd_mark: options.CrowdMark = "book",
    bind: options.Bind = _ENDPOINT,
    resend: options.Resend = None,
    records: options.Records = False,
    subscribers: options.Subscribers = 1,
    timeout: options.Timeout = 60.0,
    strict: options.Strict = False,
    price: options.Price = "auto",
    clock: options.Clock = "exchange",
    start: options.Start = None,
    end: options.End = None,
    loop: options.Loop = 1,
    rebase: options.Rebase = None,
    map_: options.Map = None,
    symbol: options.Symbol = None,
    date: options.Date = None,
    derive: options.Derive = None,
    limit: options.Limit = None,
    core: Core = "compiled",
    allow_remote: AllowRemote = False,
    key: access.Key = None,
    clients: access.Clients = None,
) -> None:
    """Publish a recorded market feed over ZeroMQ, or feed it to an engine in this process.

    Prices become marks: of each symbol the best source that the feed has. Bad rows are told
    at the end.
    """
    from engine.endpoints import check_endpoint
    from engine.feeds.compose import parse_renames
    from engine.replay import Replay, Setup, parse_speed, replay_over_zmq
    from engine.replay_command import play_in_process

    plan = Replay.plan(
        files, symbol=symbol, date=date, renames=parse_renames(map_ or []), derived=derive or [],
        price=price, clock=clock, start=start, end=end, loop=loop, rebase=rebase, limit=limit,
        is_strict=strict, keep_records=records or crowd is not None,
        has_funding=in_process and not no_funding)
    if in_process:
        if key is not None or clients is not None:
            raise InputError("--key and --clients: an engine in this process has no socket")
        if records:
            raise InputError("--records: an engine in this process takes the marks alone")
        rows = play_in_process(
            plan, Setup(scenario, population, contracts, fund), partial(make_exchange, core),
            parse_speed(speed or "max"), _with_bar, _say, twice=twice, page=page,
            crowd=None if crowd is None else (crowd, crowd_mark))
    else:
        if scenario is not None:
            raise InputError("--scenario goes with --in-process; `engine serve` has its own")
        if population is not None or crowd is not None:
            raise InputError("--population and --crowd go with --in-process")
        if contracts != "linear" or fund is not None or twice or page is not None:
            raise InputError("--contracts, --fund, --twice and --page go with --in-process")
        _check_timeout(timeout)
        keys = access.publisher_keys(key, clients)
        for endpoint in filter(None, (bind, resend)):
            check_endpoint(endpoint, allow_remote=allow_remote, has_keys=keys is not None)
        rows = replay_over_zmq(
            plan, bind, parse_speed(speed or "1"), subscribers, timeout, _say, keys, resend)
    _print_rows(rows)


@app.command()
def load(
    connect: load_options.Connect = None,
    in_process: load_options.InProcess = False,
    accounts: load_options.Accounts = None,
    journal: load_options.Journal = None,
    fsync: load_options.Fsync = "batch",
    scenario: Scenario = None,
    population: load_options.Population = None,
    symbol: load_options.Symbol = None,
    rate: load_options.Rate = None,
    duration: load_options.Duration = None,
    arrivals: load_options.ArrivalsKind = "poisson",
    tape: load_options.Tape = None,
    mix: load_options.Mix = load_options.DEFAULT_MIX,
    swing: load_options.Swing = 0.005,
    clients: load_options.Clients = 1,
    traders: load_options.Traders = 8,
    batch: load_options.Batch = None,
    packed: load_options.PackedTables = False,
    seed: load_options.Seed = 1,
    knee: load_options.KneeSearch = False,
    target: load_options.Target = "10ms",
    repeats: load_options.Repeats = 3,
    precision: load_options.Precision = 0.1,
    soak: load_options.Soak = False,
    page: load_options.Page = None,
    hgrm: load_options.Hgrm = None,
    key: load_options.Key = None,
    server_key: access.ServerKey = None,
    allow_remote: AllowRemote = False,
) -> None:
    """Send commands at a rate, and measure what each waits from when it was meant to be sent.

    Against a server that it starts, one that runs, or an exchange in this process. With --knee
    it finds the highest rate at which the 99th percentile stays within the target.
    """
    make_exchange("compiled")  # says what to do where it is not built
    from engine.load.command import Options, run_and_print

    run_and_print(Options(
        connect, in_process, accounts or (), journal, fsync, scenario, population,
        tuple(symbol or ()), rate, duration, arrivals, tape, mix, swing, clients, traders, batch,
        packed, seed, knee, target, repeats, precision, soak, page, hgrm, tuple(key or ()),
        server_key, allow_remote))


@app.command()
def bench(
    what: Annotated[
        str, typer.Argument(metavar="[mark|risk|book|market|liquidation|journal|serve|all]")
    ] = "all",
    size: Annotated[
        str, typer.Option(metavar="full|smoke", help="Canonical, or tiny: only whether it runs.")
    ] = "full",
    accounts: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of mark and risk; default 10^4, 10^5, 10^6. "
                     "Of liquidation; default 10^6. Of serve; default 10^5."),
    ] = None,
    breach: Annotated[
        list[int] | None,
        typer.Option(
            min=1, metavar="N", help="Of liquidation: how many one tick liquidates. Repeatable; "
            "default 10^3, 10^4, 10^5."),
    ] = None,
    commands: Annotated[
        int | None,
        typer.Option(
            min=1000, metavar="N", help="Of each stream of the book benchmark; default 10^6."),
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Of the book benchmark: canonical, flat, deep, wide, cancel, sweep. Repeatable; "
            "default all."),
    ] = None,
    largest: Annotated[
        bool, typer.Option("--largest", help="Risk with 10^7 accounts as well (20 GB).")
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Risk: cost by number of accounts as an HTML page."),
    ] = None,
    rate: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of serve: marks a second.")] = None,
    clients: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="Of serve: processes.")] = None,
    journal: Annotated[
        list[str] | None,
        typer.Option(metavar="batch|always|off", help="Of serve: --fsync of the server. "
                     "Repeatable; default batch, then off."),
    ] = None,
) -> None:
    """Run the canonical benchmarks: mark, order, market data, liquidations, durable batch, server.

    Prints machine and versions, figures with percentiles, and a hash of each result. Whatever
    is measured in several ways has to come to the same; if not, the exit code is 1. The full
    size takes about half an hour and three gigabytes of memory.
    """
    from engine import bench as benches
    from engine.bench.command import run_and_print, serve_options

    if what not in (*benches.NAMES, "all"):
        raise InputError(f"bench {what}: expected {', '.join(benches.NAMES)} or all")
    if size not in benches.SIZES:
        raise InputError(f"--size {size}: expected full or smoke")
    if accounts is not None and what in ("book", "market", "journal"):
        raise InputError("--accounts goes with mark, risk, liquidation, serve or all")
    if breach and what not in ("liquidation", "all"):
        raise InputError("--breach goes with liquidation or all")
    if what not in ("risk", "all") and (largest or page):
        raise InputError("--largest and --page go with risk or all")
    if what not in ("book", "all") and (commands is not None or stream):
        raise InputError("--commands and --stream go with book or all")
    for name in stream or ():
        if name not in benches.stream_names():
            raise InputError(f"--stream {name}: expected {', '.join(benches.stream_names())}")
    serve = serve_options(what, rate, clients, journal)
    make_exchange("compiled")  # says what to do where it is not built
    run_and_print(
        what, size, accounts, commands, stream or (), largest, page, breach or (), serve)


@app.command()
def cascade(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="crash (the default), pure, close_policy, mark, fund, adl, tiers, "
            "tier_schedules, tier_change, margin_raise, margin_spiral, depeg, makers, oct10, "
            "fat_tails, fat_tails_gentle, phase, uniform; or a .json file with a scenario.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets report.html and the tables.")
    ] = Path("out/cascade"),
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Paired seeds.")] = 8,
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes. Default: one a core.")
    ] = None,
    tape: Annotated[
        str | None,
        typer.Option(metavar="FEED", help="The index follows the steepest fall of a feed."),
    ] = None,
    tiers: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Compare the margin schedules of files. Repeatable."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(metavar="png|svg|pdf", help="The figures as files for papers, too."),
    ] = None,
    morris: Annotated[
        int,
        typer.Option(
            min=0, metavar="N",
            help="Screen what matters by N Morris trajectories: 18 N runs for each seed."),
    ] = 0,
) -> None:
    """Run a liquidation-cascade experiment; write a report and tables.

    Every seed is run twice with the same random numbers, once with liquidation switched off.
    Started again with the same DIR, runs that are there already are not run again.
    """
    from engine.lab.margin_studies import with_schedules
    from engine.lab.path_studies import with_tape
    from engine.lab.report import run_study
    from engine.lab.studies import find_study
    from engine.progress import ProgressBar

    chosen = find_study(study)
    if tape is not None:
        chosen = with_tape(chosen, tape)
    if tiers:
        chosen = with_schedules(chosen, tiers)
    make_exchange("compiled")  # says what to do where it is not built
    with ProgressBar("cascade", unit="seeds") as bar:
        path = run_study(chosen, out, seeds, jobs or os.cpu_count() or 1,
                         lambda done, total: bar.update(done, f"of {total}"), images, morris)
    _print_rows([("study", chosen.name), ("seeds", str(seeds)), ("report", str(path))])


@app.command()
def tiers(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="ccxt leverage tiers, Binance leverageBracket, Bybit risk limits, OKX position "
            "tiers, Hyperliquid meta, tier rows, or a CSV table; told by the content.",
        ),
    ],
    symbol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this symbol of the file. Repeatable."),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FILESYMBOL=SYMBOL", help="Rename a symbol. Repeatable."),
    ] = None,
    contract: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SIZE:PRICE[:inverse]",
            help="Size and reference price of a contract, for tiers in contracts (OKX). "
            "Repeatable.",
        ),
    ] = None,
    maintenance_fraction: Annotated[
        str | None,
        typer.Option(
            metavar="X",
            help="Maintenance rate as a fraction of 1 / leverage, for tables without one.",
        ),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="A table with deductions instead of commands.")
    ] = False,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write here instead of to stdout.")
    ] = None,
) -> None:
    """Print the margin schedules of a venue's file as `tiers` commands, one JSON object a line.

    What was read by a rule and not by the letter is said on stderr.
    """
    from engine.schedules.command import print_schedules

    print_schedules(
        file, symbols=symbol or (), renames=map_ or (), contracts=contract or (),
        maintenance_fraction=maintenance_fraction, as_table=table, out=out)


def _check_timeout(seconds: float) -> None:
    if not 0.1 <= seconds <= 86_400:  # also refuses what is not a number
        raise InputError(f"--timeout {seconds:g}: expected seconds between 0.1 and 86400")


def make_exchange(core: str) -> Exchange:
    """Return a fresh exchange for `--core`, with a clear line where there is none.

    Parameters
    ----------
    core : str

    Returns
    -------
    engine.Exchange
    """
    if core not in ("compiled", "reference"):
        raise InputError(f"--core {core}: expected compiled or reference")
    try:
        return Exchange(core=core)
    except ImportError as error:
        raise RunError(str(error)) from None


def _with_bar(work: Callable[[Callable[[Tally], None]], RunFigures]) -> RunFigures:
    from engine.progress import ProgressBar

    with ProgressBar("marks") as bar:
        return work(lambda tally: bar.update(tally.mark_count, f"{len(tally.breached)} breached"))


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        print(f"{key:<{width}}  {value}")


_say = logs.say

app.command()(listing.instruments)
app.command()(operations.top)
app.command()(operations.health)
app.add_typer(data_command.app, name="data")
app.add_typer(access.app, name="keys")


def call(application: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run a typer application under the engine's rules for errors and exit codes.

    Parameters
    ----------
    application : typer.Typer
    arguments : sequence of str, optional
        Default: the process's.

    Returns
    -------
    int
        Exit code.
    """
    logs.configure("text")
    try:
        code = application(args=arguments, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except InputError as error:
        _fail(str(error))
        return 2
    except EngineError as error:
        _fail(str(error))
        return 1
    except BrokenPipeError:
        _drop_stdout()
        return 1
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted")
        return 1
    except Exception as error:
        # The argument parser's own errors: told by what they offer, because the class
        # has moved between typer's versions.
        if not (hasattr(error, "format_message") and hasattr(error, "exit_code")):
            raise
        message = " ".join(str(error.format_message()).split())
        if message:
            _fail(message)
        return 2


def _fail(problem: str) -> None:
    _say(f"error: {problem}", "error", logging.ERROR)


def _drop_stdout() -> None:
    """Whoever read our output has gone: the flush at exit must not complain about it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(call(app, arguments))
