"""`engine serve --journal` and `engine verify`: recover, report, run."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from engine import __version__
from engine.errors import InputError, RunError
from engine.exchange import Exchange
from engine.journal import Journal, JournalError, JournalReader, Kind, Storage
from engine.journal.reader import first_seq_of, journal_identity, segment_names
from engine.logs import tagged
from engine.progress import ProgressBar
from engine.server import drift_text
from engine.serving.background import Background
from engine.serving.desk import Desk
from engine.serving.feed_command import dump_desk, make_desk, open_feeds
from engine.serving.feeds import Feeds, Recollection
from engine.serving.figures import Figures
from engine.serving.gateway import Gateway
from engine.serving.gauges import Gauges
from engine.serving.keeper import Keeper
from engine.serving.metrics import MetricsServer
from engine.serving.outside import Outside
from engine.serving.publish_command import open_events, open_market_data, publishing_places
from engine.serving.recovery import Replay, ReplayError, replay
from engine.serving.roles import Role
from engine.serving.sequencer import Pending, Sequencer
from engine.serving.service import Service, StopSignal, load_scenario
from engine.serving.sessions import Sessions
from engine.serving.settings import Settings
from engine.serving.snapshots import Restored, Snapshots
from engine.subscriber import MarkSubscriber

Rows = list[tuple[str, str]]
Say = Callable[[str], None]
Make = Callable[[], Exchange]


def serve(
    settings: Settings, make: Make, say: Say, outside: Outside | None = None,
    stop: StopSignal | None = None,
) -> tuple[Rows, bool]:
    """Bring a journal back and serve until told to stop.

    Parameters
    ----------
    settings : Settings
    make : callable
        Makes a fresh exchange.
    say : callable
        Takes one line at a time about what goes on.
    outside : Outside, optional
        Default: this machine.
    stop : StopSignal, optional
        Default: SIGTERM and SIGINT.

    Returns
    -------
    rows : list of (str, str)
        Summary.
    is_whole : bool
        False where the feed is all there was, and it did not arrive whole.

    Raises
    ------
    EngineError
    """
    outside = outside or Outside()
    began, figures = outside.clock.monotonic(), Figures()
    with ExitStack() as stack:
        stop = stack.enter_context(stop or StopSignal())
        pages = _open_pages(stack, settings, figures)
        journal = stack.enter_context(Journal(
            settings.journal, durability=settings.durability,
            segment_size=settings.segment_size, storage=outside.storage, clock=outside.clock))
        exchange, sessions, epoch, snapshot_seq, desk, owed = _recover(
            journal, make, stop, say, settings, outside)
        events = open_events(stack, settings, epoch, outside)
        background = _background(outside, stack)
        sequencer = Sequencer(
            exchange, journal, sessions, events=events, has_clock=settings.clock == "wall",
            checkpoint_commands=settings.checkpoint_commands, background=background,
            keeper=_keeper(
                settings, exchange, journal, epoch, snapshot_seq, say, desk, outside, background),
            clock=outside.clock, figures=figures)
        sequencer.commit_owed(owed)
        if settings.scenario is not None:
            load_scenario(sequencer, settings.scenario, say)
        gateway = feed = feeds = None
        market, states = open_market_data(stack, settings, epoch, exchange, events, outside)
        if settings.commands is not None:
            gateway = stack.enter_context(_open_gateway(
                settings.commands, settings, exchange, sessions, epoch, figures, outside))
        if settings.marks is not None:
            feed = stack.enter_context(MarkSubscriber(
                settings.marks, report=lambda line: tagged(say, "feed")(f"feed: {line}"),
                keys=settings.feed_keys, context=outside.make_context()))
        if settings.feeds is not None and desk is not None:
            feeds = open_feeds(
                stack, settings.feeds, desk, sequencer, timeout_s=settings.timeout_s,
                say=tagged(say, "feed"), keys=settings.feed_keys)
            figures.mark_seen = feeds.symbols_heard
        if gateway is not None and feeds is not None:
            gateway.own_queries["feeds"] = feeds.figures
        service = Service(
            sequencer, gateway=gateway, feed=feed, feeds=feeds, events=events, market=market,
            states=states, feed_timeout_s=settings.timeout_s, report=tagged(say, "server"),
            outside=outside, gauges=_gauges(exchange, figures, journal, outside))
        figures.epoch = epoch
        places = [
            *_places(settings, gateway, feed, feeds), *publishing_places(events, market, states)]
        _say_ready(
            say, figures, exchange.seq, [*places, *pages], outside.clock.monotonic() - began)
        service.run(stop)
        figures.state = "stopping"
        state_hash = sequencer.checkpoint("shutdown")
        if events is not None:
            events.end()
    rows = [
        ("journal", settings.journal), ("epoch", str(epoch)),
        *(feed.health.rows() if feed else []), *(feeds.rows() if feeds else []),
        ("commands", str(sequencer.command_count)),
        ("batches", str(service.figures.batch_count)), ("seq", str(exchange.seq)),
        ("drift", drift_text(exchange)), ("state_hash", state_hash),
    ]
    is_complete = feed is None or feed.health.is_complete
    is_complete = is_complete and (feeds is None or feeds.is_complete)
    return rows, gateway is not None or stop.is_set or is_complete


def _places(
    settings: Settings, gateway: Gateway | None, feed: MarkSubscriber | None,
    feeds: Feeds | None,
) -> list[str]:
    """Where the sockets of a server are, as it says when it is ready."""
    at = [f"commands at {gateway.endpoint}"] if gateway else []
    at += [f"marks from {settings.marks}"] if feed else []
    return at + ([f"marks from {', '.join(feeds.subscribers)}"] if feeds else [])


def _background(outside: Outside, stack: ExitStack) -> Background | None:
    if not (outside.may_fork and Background.is_available()):
        return None
    background = Background()
    stack.callback(background.stop)
    return background


def _say_ready(
    say: Say, figures: Figures, seq: int, places: Sequence[str], elapsed_s: float
) -> None:
    figures.state = "serving"
    tagged(
        say, "ready", logging.INFO, epoch=figures.epoch, seq=seq, elapsed_s=round(elapsed_s, 3))(
        f"ready: {', '.join(places)}, after {elapsed_s:.3f} s; epoch {figures.epoch}")


def _open_gateway(
    endpoint: str, settings: Settings, exchange: Exchange, sessions: Sessions, epoch: int,
    figures: Figures, outside: Outside,
) -> Gateway:
    gateway = Gateway(
        endpoint, exchange, sessions, epoch, has_clock=settings.clock == "wall",
        keys=settings.server_keys, access=settings.access,
        local_role=Role(settings.local_role), figures=figures, context=outside.make_context())
    gateway.own_queries["server"] = figures.describe
    return gateway


def _open_pages(stack: ExitStack, settings: Settings, figures: Figures) -> list[str]:
    """Open metrics and health over HTTP, if asked for: before the recovery, to tell of it."""
    access = settings.access
    if access is not None:
        figures.refused_connections = lambda: access.refused_connections
    if settings.metrics is None:
        return []
    pages = stack.enter_context(MetricsServer(settings.metrics, figures))
    return [f"metrics at {pages.url}"]


def _gauges(
    exchange: Exchange, figures: Figures, journal: Journal, outside: Outside
) -> Gauges:
    snapshots = None
    if journal.journal_id is not None:
        snapshots = Snapshots(journal.folder, journal.journal_id, outside.storage)
    gauges = Gauges(exchange, figures, snapshots)
    gauges.refresh(time.monotonic())
    return gauges


def _keeper(
    settings: Settings, exchange: Exchange, journal: Journal, epoch: int, seq: int, say: Say,
    desk: Desk | None, outside: Outside, background: Background | None,
) -> Keeper | None:
    if exchange.core_name != "compiled" or journal.journal_id is None:
        return None  # the reference has no snapshots
    return Keeper(
        Snapshots(journal.folder, journal.journal_id, outside.storage), epoch,
        settings.snapshot_commands,
        drops_segments=settings.retain == "snapshots", seq=seq,
        report=tagged(say, "snapshot"),
        dump_desk=None if desk is None else partial(dump_desk, desk), background=background)


def _recover(
    journal: Journal, make: Make, stop: StopSignal, say: Say, settings: Settings, outside: Outside
) -> tuple[Exchange, Sessions, int, int, Desk | None, list[Pending]]:
    """Bring a journal back and open it for appending.

    Returns
    -------
    exchange, sessions, epoch of this start, seq of the snapshot that was used, what follows the
    feeds, and its commands that are not in the journal yet
    """

    def on_progress(count: int) -> None:
        if stop.is_set:
            raise RunError(f"stopped while replaying {journal.folder}; nothing was written")
        bar.update(count)

    exchange, sessions, last_epoch = make(), Sessions(), 0
    journal_id, restored = journal.journal_id, None
    if journal_id is not None and exchange.core_name == "compiled":
        restored = Snapshots(journal.folder, journal_id, outside.storage).newest(
            tagged(say, "snapshot"))
    if restored is not None:
        exchange, sessions, last_epoch = restored.exchange, restored.sessions, restored.epoch
    began_at = exchange.seq
    memory = None if settings.feeds is None else Recollection(make_desk(
        settings.feeds, exchange, None if restored is None else restored.desk, say,
        has_clock=settings.clock == "wall"))
    with ProgressBar("replaying", unit="commands") as bar:
        done = replay(
            journal.batches(after=began_at), exchange, sessions, on_progress,
            None if memory is None else memory.take, is_hasty=True)
    if journal.last_seq != exchange.seq:
        raise JournalError(
            f"{journal.folder}: the snapshot is of seq {exchange.seq}, the journal ends at "
            f"{journal.last_seq}")
    torn = journal.begin()
    if torn is not None:
        tagged(say, "torn_tail")(torn)
    # Another one at each start, even if the wall clock was set back.
    epoch = max(outside.clock.time_ns(), done.last_epoch + 1, last_epoch + 1)
    journal.note(Kind.START, {"epoch": epoch, "engine": __version__})
    if done.start_count or restored:
        tagged(
            say, "recovered", logging.INFO, commands=done.command_count, seq=exchange.seq,
            elapsed_s=round(done.elapsed_s, 3))(
            f"{journal.folder}: {done.command_count} commands replayed from seq {began_at} in "
            f"{done.elapsed_s:.3f} s, {done.checkpoint_count} checkpoints agree, "
            f"seq {exchange.seq}, state_hash {exchange.state_hash()}")
    else:
        say(f"{journal.folder}: a new journal")
    if memory is None:
        return exchange, sessions, epoch, began_at, None, []
    owed = memory.finish(sessions, say)
    return exchange, sessions, epoch, began_at, memory.desk, owed


def verify(
    folder: str, make: Make, say: Say, storage: Storage | None = None
) -> tuple[Rows, ReplayError | None]:
    """Re-execute a journal, from its start and from its newest snapshot, and compare.

    Parameters
    ----------
    folder : str
    make : callable
        Makes a fresh exchange.
    say : callable
        Takes a line about each snapshot that is not good.
    storage : Storage, optional
        Default: the real disk.

    Returns
    -------
    rows : list of (str, str)
    difference : ReplayError or None
        The first one, with `seq` and place; nothing after it was executed.

    Raises
    ------
    JournalError
        The journal is damaged, or there is none.

    Notes
    -----
    Changes nothing, and may run beside a server: it sees what was whole when it got there.
    """
    storage = storage or Storage()
    journal_id = journal_identity(storage, folder)
    if journal_id is None:
        raise JournalError(f"{folder}: no journal")
    reader, exchange = JournalReader(folder, storage), make()
    is_compiled = exchange.core_name == "compiled"
    snapshots = Snapshots(folder, journal_id, storage) if is_compiled else None
    first = first_seq_of(segment_names(storage, folder)[0])
    if snapshots is not None and first > 1:
        exchange = _oldest_beginning(snapshots, first, say) or exchange
    done, difference = Replay(), None
    with ProgressBar("verifying", unit="commands") as bar:
        try:
            done = replay(reader.batches(), exchange, on_progress=bar.update)
            newest = snapshots.newest(say, at_most=exchange.seq) if snapshots else None
            if newest is not None:
                _compare_snapshot(newest, exchange, folder, storage)
        except ReplayError as error:
            difference = error
    rows = [
        ("journal", folder), ("segments", str(len(reader.segments))),
        ("first_seq", str(reader.first_seq)), ("seq", str(exchange.seq)),
    ]
    if difference is None:
        rate = done.command_count / done.elapsed_s if done.elapsed_s else 0.0
        rows += [
            ("commands", str(done.command_count)), ("rejected", str(done.rejected_count)),
            ("starts", str(done.start_count)), ("written_by", ", ".join(done.written_by)),
            ("checkpoints", str(done.checkpoint_count)),
            ("snapshot_seq", str(newest.seq) if newest else "none"),
            ("ends_clean", "yes" if done.ends_clean else "no"),
            ("torn_bytes", str(reader.torn_bytes)), ("elapsed_s", f"{done.elapsed_s:.3f}"),
            ("commands_per_second", f"{rate:.0f}"),
        ]
    rows += [("drift", drift_text(exchange)), ("state_hash", exchange.state_hash())]
    return rows, difference


def _oldest_beginning(snapshots: Snapshots, first_seq: int, say: Say) -> Exchange | None:
    """The exchange of the oldest snapshot from which a journal can go on that lost its start."""
    for seq in snapshots.seqs():
        if seq >= first_seq - 1:
            try:
                return snapshots.read(seq).exchange
            except InputError as error:
                say(f"{error}; passed over")
    return None


def _compare_snapshot(
    newest: Restored, exchange: Exchange, folder: str, storage: Storage
) -> None:
    """Go on from a snapshot to the end of the journal, and compare with where that came to."""
    again = newest.exchange
    batches = JournalReader(folder, storage, after=newest.seq).batches()
    replay(itertools.takewhile(lambda batch: batch.last_seq <= exchange.seq, batches), again)
    if (again.seq, again.state_hash()) != (exchange.seq, exchange.state_hash()):
        raise ReplayError(
            f"{newest.path}: from this snapshot the journal leads to seq {again.seq}, state hash "
            f"{again.state_hash()}, from its start to seq {exchange.seq}, {exchange.state_hash()}")


def verify_json(rows: Rows, difference: ReplayError | None) -> str:
    """Return what `verify` found as one JSON object; counts are integers."""
    found: dict[str, str | int | bool | None] = {
        key: int(value) if value.isdigit() and key != "state_hash" else value
        for key, value in rows}
    return json.dumps({
        **found, "agrees": difference is None,
        "difference": None if difference is None else str(difference)})
