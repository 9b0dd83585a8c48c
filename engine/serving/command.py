"""`engine serve --journal` and `engine verify`: recover, report, run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack

from engine import __version__
from engine.errors import RunError
from engine.exchange import Exchange
from engine.journal import Journal, JournalError, JournalReader, Kind, Storage
from engine.progress import ProgressBar
from engine.server import EventPublisher, drift_text
from engine.serving.gateway import Gateway
from engine.serving.recovery import Replay, ReplayError, replay
from engine.serving.sequencer import Sequencer
from engine.serving.service import Service, StopSignal, load_scenario
from engine.serving.sessions import Sessions
from engine.serving.settings import Settings
from engine.subscriber import MarkSubscriber

Rows = list[tuple[str, str]]
Say = Callable[[str], None]


def serve(settings: Settings, exchange: Exchange, say: Say) -> tuple[Rows, bool]:
    """Bring a journal back and serve until told to stop.

    Parameters
    ----------
    settings : Settings
    exchange : engine.Exchange
        Fresh.
    say : callable
        Takes one line at a time about what goes on.

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
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignal())
        journal = stack.enter_context(Journal(
            settings.journal, durability=settings.durability,
            segment_size=settings.segment_size))
        sessions = Sessions()
        epoch = _recover(journal, exchange, sessions, stop, say)
        events = None
        if settings.events is not None:
            events = stack.enter_context(EventPublisher(settings.events, epoch))
        has_clock = settings.clock == "wall"
        sequencer = Sequencer(
            exchange, journal, sessions, events=events, has_clock=has_clock,
            checkpoint_commands=settings.checkpoint_commands)
        if settings.scenario is not None:
            load_scenario(sequencer, settings.scenario, say)
        gateway = feed = None
        if settings.commands is not None:
            gateway = stack.enter_context(Gateway(
                settings.commands, exchange, sessions, epoch, has_clock=has_clock))
        if settings.marks is not None:
            feed = stack.enter_context(MarkSubscriber(
                settings.marks, report=lambda line: say(f"feed: {line}")))
        service = Service(
            sequencer, gateway=gateway, feed=feed, events=events,
            feed_timeout_s=settings.timeout_s, report=say)
        at = [f"commands at {gateway.endpoint}"] if gateway else []
        at += [f"marks from {settings.marks}"] if feed else []
        at += [f"events at {events.endpoint}"] if events else []
        say(f"ready: {', '.join(at)}; epoch {epoch}")
        service.run(stop)
        state_hash = sequencer.checkpoint("shutdown")
        if events is not None:
            events.end()
    rows = [
        ("journal", settings.journal),
        ("epoch", str(epoch)),
        *(feed.health.rows() if feed else []),
        ("commands", str(sequencer.command_count)),
        ("batches", str(service.figures.batch_count)),
        ("seq", str(exchange.seq)),
        ("drift", drift_text(exchange)),
        ("state_hash", state_hash),
    ]
    return rows, feed is None or gateway is not None or stop.is_set or feed.health.is_complete


def _recover(
    journal: Journal, exchange: Exchange, sessions: Sessions, stop: StopSignal, say: Say
) -> int:
    """Replay a journal and open it for appending; return the epoch of this start."""

    def on_progress(count: int) -> None:
        if stop.is_set:
            raise RunError(f"stopped while replaying {journal.folder}; nothing was written")
        bar.update(count)

    with ProgressBar("replaying", unit="commands") as bar:
        done = replay(journal.batches(), exchange, sessions, on_progress)
    torn = journal.begin()
    if torn is not None:
        say(torn)
    # Another one at each start, even if the wall clock was set back.
    epoch = max(time.time_ns(), done.last_epoch + 1)
    journal.note(Kind.START, {"epoch": epoch, "engine": __version__})
    if done.start_count:
        say(
            f"{journal.folder}: {done.command_count} commands replayed in "
            f"{done.elapsed_s:.3f} s, {done.checkpoint_count} checkpoints agree, "
            f"seq {exchange.seq}, state_hash {exchange.state_hash()}")
    else:
        say(f"{journal.folder}: a new journal")
    return epoch


def verify(folder: str, exchange: Exchange) -> tuple[Rows, ReplayError | None]:
    """Re-execute a journal from its start and compare its checkpoints.

    Parameters
    ----------
    folder : str
    exchange : engine.Exchange
        Fresh.

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
    reader = JournalReader(folder, Storage())
    done, difference = Replay(), None
    with ProgressBar("verifying", unit="commands") as bar:
        try:
            done = replay(reader.batches(), exchange, on_progress=bar.update)
        except ReplayError as error:
            difference = error
    if reader.journal_id is None:
        raise JournalError(f"{folder}: no journal")
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
            ("ends_clean", "yes" if done.ends_clean else "no"),
            ("torn_bytes", str(reader.torn_bytes)), ("elapsed_s", f"{done.elapsed_s:.3f}"),
            ("commands_per_second", f"{rate:.0f}"),
        ]
    rows += [("drift", drift_text(exchange)), ("state_hash", exchange.state_hash())]
    return rows, difference


def verify_json(rows: Rows, difference: ReplayError | None) -> str:
    """Return what `verify` found as one JSON object; counts are integers."""
    found: dict[str, str | int | bool | None] = {
        key: int(value) if value.isdigit() and key != "state_hash" else value
        for key, value in rows}
    return json.dumps({
        **found, "agrees": difference is None,
        "difference": None if difference is None else str(difference)})
