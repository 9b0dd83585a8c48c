"""`engine serve --journal` and `engine verify`: recover, report, run."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from engine.errors import InputError
from engine.exchange import Exchange
from engine.journal import Journal, JournalError, JournalReader, Storage
from engine.journal.reader import first_seq_of, journal_identity, segment_names
from engine.logs import tagged
from engine.progress import ProgressBar
from engine.server import drift_text
from engine.serving.access import Rereading
from engine.serving.background import Background
from engine.serving.feed_command import open_feeds
from engine.serving.feeds import Feeds
from engine.serving.figures import Figures
from engine.serving.gateway import Gateway
from engine.serving.gauges import Gauges
from engine.serving.metrics import MetricsServer
from engine.serving.outside import Outside
from engine.serving.publish_command import open_events, open_market_data, publishing_places
from engine.serving.recovery import Replay, ReplayError, replay
from engine.serving.roles import Role
from engine.serving.sequencer import Sequencer
from engine.serving.service import Service, StopSignal, load_scenario, read_scenario
from engine.serving.sessions import Sessions
from engine.serving.settings import Settings
from engine.serving.snapshots import Restored, Snapshots
from engine.serving.startup import (
    Make,
    Recovered,
    Rows,
    Say,
    begin,
    make_replicator,
    recover,
    run_or_give_way,
    standby_rows,
    wait_for_turn,
)
from engine.serving.surroundings import Surroundings
from engine.subscriber import MarkSubscriber


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
    scenario = read_scenario(settings.scenario)  # before the journal is touched
    with ExitStack() as stack:
        stop = stack.enter_context(stop or StopSignal(settings.follow is not None))
        pages = _open_pages(stack, settings, figures)
        journal = stack.enter_context(Journal(
            settings.journal, durability=settings.durability,
            segment_size=settings.segment_size, storage=outside.storage, clock=outside.clock))
        state = recover(journal, settings, make, stop, say, outside)
        state.background, state.figures = _background(outside, stack), figures
        standbys = make_replicator(settings, stack, journal, state, say)
        keeper = wait_for_turn(settings, journal, state, stop, standbys, say)
        if settings.follow is not None and stop.is_set:
            return standby_rows(settings, state), True
        start, exchange = state.next_start(journal), state.exchange
        epoch = figures.epoch = start.epoch
        # What cannot be bound shows before anything is written: a term that nobody serves
        # would end the server of the term before.
        events = open_events(stack, settings, epoch, outside)
        market, states = open_market_data(stack, settings, epoch, exchange, events, outside)
        gateway = None
        if settings.commands is not None:
            gateway = stack.enter_context(_open_gateway(
                settings.commands, settings, exchange, state.sessions, epoch, figures, outside))
        on_heartbeat = begin(settings, stack, journal, start, state, standbys)
        sequencer = Sequencer(
            exchange, journal, state.sessions, events=events, has_clock=settings.clock == "wall",
            checkpoint_commands=settings.checkpoint_commands, background=state.background,
            keeper=keeper, clock=outside.clock, figures=figures,
            on_durable=partial(standbys.on_durable, stop) if standbys else None)
        sequencer.commit_owed(state.owed(say))
        if settings.scenario is not None:
            load_scenario(sequencer, settings.scenario, scenario, say)
            scenario.clear()  # a server runs long
        feed, feeds = _open_feed(settings, stack, state, sequencer, say)
        if gateway is not None and feeds is not None:
            gateway.own_queries["feeds"] = feeds.figures
        service = Service(
            sequencer, gateway=gateway, feed=feed, feeds=feeds, events=events, market=market,
            states=states, feed_timeout_s=settings.timeout_s, report=tagged(say, "server"),
            outside=outside, replicator=standbys, on_heartbeat=on_heartbeat,
            looks=[
                *_looks(stack, settings, exchange, figures, journal, outside, stop, say),
                Surroundings(
                    figures, feed, feeds, standbys, settings.standby_required,
                    state.history).refresh])
        places = _places(settings, gateway, feeds)
        places += [*publishing_places(events, market, states, standbys), *pages]
        _say_ready(
            say, figures, exchange.seq, places, outside.clock.monotonic() - began, start.term)
        # What is there now stays; the collector need not look at it again and again.
        gc.freeze()
        stack.callback(gc.unfreeze)
        run_or_give_way(service, stop, journal, state.history)
        figures.state = "stopping"
        state_hash = sequencer.checkpoint("shutdown")
        if events is not None:
            events.end()
        if standbys is not None:
            standbys.finish()
    rows = _summary(settings, figures, sequencer, feed, feeds)
    rows += [("drift", drift_text(exchange)), ("state_hash", state_hash)]
    is_complete = feed is None or feed.health.is_complete
    is_complete = is_complete and (feeds is None or feeds.is_complete)
    return rows, gateway is not None or stop.is_set or is_complete


def _summary(
    settings: Settings, figures: Figures, sequencer: Sequencer, feed: MarkSubscriber | None,
    feeds: Feeds | None,
) -> Rows:
    """What the server took in, for when it ends."""
    return [
        ("journal", settings.journal), ("epoch", str(figures.epoch)),
        *(feed.health.rows() if feed else []), *(feeds.rows() if feeds else []),
        ("commands", str(sequencer.command_count)),
        ("batches", str(figures.batch_count)), ("seq", str(sequencer.exchange.seq)),
    ]


def _open_feed(
    settings: Settings, stack: ExitStack, state: Recovered, sequencer: Sequencer, say: Say
) -> tuple[MarkSubscriber | None, Feeds | None]:
    """Subscribe to the feed, or to several by rules."""
    feed = feeds = None
    if settings.marks is not None:
        feed = stack.enter_context(MarkSubscriber(
            settings.marks, report=lambda line: tagged(say, "feed")(f"feed: {line}"),
            keys=settings.feed_keys, context=state.outside.make_context()))
    if settings.feeds is not None and state.desk is not None:
        feeds = open_feeds(
            stack, settings.feeds, state.desk, sequencer, timeout_s=settings.timeout_s,
            say=tagged(say, "feed"), keys=settings.feed_keys, outside=state.outside)
        sequencer.figures.mark_seen = feeds.symbols_heard
    return feed, feeds


def _places(
    settings: Settings, gateway: Gateway | None, feeds: Feeds | None
) -> list[str]:
    """Where the sockets of a server are, as it says when it is ready."""
    at = [f"commands at {gateway.endpoint}"] if gateway else []
    at += [f"marks from {settings.marks}"] if settings.marks else []
    return at + ([f"marks from {', '.join(feeds.subscribers)}"] if feeds else [])


def _background(outside: Outside, stack: ExitStack) -> Background | None:
    if not (outside.may_fork and Background.is_available()):
        return None
    background = Background()
    stack.callback(background.stop)
    return background


def _say_ready(
    say: Say, figures: Figures, seq: int, places: Sequence[str], elapsed_s: float, term: int
) -> None:
    figures.state = "serving"
    tagged(
        say, "ready", logging.INFO, epoch=figures.epoch, term=term, seq=seq,
        elapsed_s=round(elapsed_s, 3))(
        f"ready: {', '.join(places)}, after {elapsed_s:.3f} s; term {term}, "
        f"epoch {figures.epoch}")


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


def _looks(
    stack: ExitStack, settings: Settings, exchange: Exchange, figures: Figures,
    journal: Journal, outside: Outside, stop: StopSignal, say: Say,
) -> list[Callable[[float], None]]:
    """What is looked at whenever the loop comes round."""
    snapshots = None
    if journal.journal_id is not None:
        snapshots = Snapshots(journal.folder, journal.journal_id, outside.storage)
    gauges = Gauges(exchange, figures, snapshots)
    gauges.refresh(time.monotonic())
    if settings.access is None or settings.clients is None:
        return [gauges.refresh]
    rereading = Rereading(
        settings.access, settings.clients, tagged(say, "clients"), stop.fileno())
    return [gauges.refresh, stack.enter_context(rereading).poll]


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
