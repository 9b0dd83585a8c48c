"""What `engine serve --journal` does before it serves: recover, stand by, take over, begin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from engine import __version__
from engine.errors import InputError, RunError
from engine.exchange import Exchange
from engine.journal import Batch, Journal, JournalError, Kind
from engine.logs import tagged
from engine.progress import ProgressBar
from engine.replication.copy import Copy
from engine.replication.history import History, Start
from engine.replication.primary import Replicator, Superseded
from engine.replication.standby import Reminder, Standby
from engine.server import drift_text
from engine.serving.background import Background
from engine.serving.desk import Desk
from engine.serving.feed_command import dump_desk, make_desk
from engine.serving.feeds import Recollection
from engine.serving.figures import Figures
from engine.serving.keeper import Keeper
from engine.serving.outside import Outside
from engine.serving.recovery import replay
from engine.serving.sequencer import Pending
from engine.serving.service import Service, StopSignal
from engine.serving.sessions import Sessions
from engine.serving.settings import Settings
from engine.serving.snapshots import Snapshots
from engine.serving.surroundings import follow_figures

Rows = list[tuple[str, str]]
Say = Callable[[str], None]
Make = Callable[[], Exchange]


@dataclass
class Recovered:
    """What a journal leads to.

    Attributes
    ----------
    exchange : engine.Exchange
    sessions : Sessions
    history : History
        Starts of the servers that wrote it.
    snapshot_seq : int
        Of the snapshot that was used, 0 without one.
    tail : list of Batch
        Batches without commands behind the last command.
    term : int
        That a server of it has: of the one before, or the next where this one takes over.
    memory : Recollection or None
        What follows the feeds, where they have rules.
    outside : Outside
    background : Background or None
        Writes snapshots while the server goes on.
    figures : Figures
        Get what a standby is at.
    """

    exchange: Exchange
    sessions: Sessions
    history: History
    snapshot_seq: int
    tail: list[Batch]
    term: int
    memory: Recollection | None
    outside: Outside
    background: Background | None = None
    figures: Figures = field(default_factory=Figures)

    @property
    def desk(self) -> Desk | None:
        """What makes commands of feeds."""
        return None if self.memory is None else self.memory.desk

    def dump_desk(self) -> str:
        """Return the state of that, for a snapshot."""
        assert self.memory is not None
        return dump_desk(self.memory.desk)

    def owed(self, say: Say) -> list[Pending]:
        """End the replay of feeds; return their commands that are not in the journal yet."""
        return [] if self.memory is None else self.memory.finish(self.sessions, say)

    def next_start(self, journal: Journal) -> Start:
        """Return the start of the server that goes on from here."""
        return self.history.next_start(
            self.term, self.outside.clock.time_ns(), journal.last_seq)


def recover(
    journal: Journal, settings: Settings, make: Make, stop: StopSignal, say: Say,
    outside: Outside,
) -> Recovered:
    """Bring a journal back and open it for appending; an empty one stays so for a standby.

    Raises
    ------
    InputError
        Damaged, or a standby has taken over from the server that wrote it.
    RunError
    """

    def on_progress(count: int) -> None:
        if stop.is_set:
            raise RunError(f"stopped while replaying {journal.folder}; nothing was written")
        bar.update(count)

    def batches() -> Iterator[Batch]:
        for batch in journal.batches(after=began_at):
            if batch.header.command_count:
                tail.clear()
            else:
                tail.append(batch)
            yield batch

    exchange, sessions, history, tail = make(), Sessions(), History(), list[Batch]()
    journal_id, restored = journal.journal_id, None
    if journal_id is not None and exchange.core_name == "compiled":
        restored = Snapshots(journal.folder, journal_id, outside.storage).newest(
            tagged(say, "snapshot"))
    if restored is not None:
        exchange, sessions, history = restored.exchange, restored.sessions, restored.history
    began_at = exchange.seq
    memory = make_memory(settings, say)(exchange, restored.desk if restored else None)
    with ProgressBar("replaying", unit="commands") as bar:
        done = replay(
            batches(), exchange, sessions, on_progress,
            None if memory is None else memory.take, history, is_hasty=True)
    is_standby = settings.follow is not None
    if journal.last_seq > exchange.seq or (journal.last_seq < exchange.seq and not is_standby):
        raise JournalError(
            f"{journal.folder}: the snapshot is of seq {exchange.seq}, the journal ends at "
            f"{journal.last_seq}")
    if done.superseded_by is not None and not is_standby:
        raise JournalError(
            f"{journal.folder}: a standby took over after seq {done.superseded_by.seq} and began "
            f"term {done.superseded_by.term}; start this one with --follow")
    if journal_id is not None and journal.last_seq < exchange.seq:
        # A standby that ended between a snapshot of the primary and the journal behind it.
        journal.adopt(journal_id, exchange.seq)
        tail.clear()
    elif journal_id is not None or not is_standby:
        torn = journal.begin()
        if torn is not None:
            tagged(say, "torn_tail")(torn)
    if done.start_count or restored:
        tagged(
            say, "recovered", logging.INFO, commands=done.command_count, seq=exchange.seq,
            elapsed_s=round(done.elapsed_s, 3))(
            f"{journal.folder}: {done.command_count} commands replayed from seq {began_at} in "
            f"{done.elapsed_s:.3f} s, {done.checkpoint_count} checkpoints agree, "
            f"seq {exchange.seq}, state_hash {exchange.state_hash()}")
    else:
        say(f"{journal.folder}: a new journal")
    later = done.superseded_by.term if done.superseded_by else 0
    return Recovered(
        exchange, sessions, history, began_at if restored else 0, tail,
        max(1, history.term, later), memory, outside)


def make_memory(
    settings: Settings, say: Say
) -> Callable[[Exchange, str | None], Recollection | None]:
    """Return what makes that which takes the inputs of a journal, by the rules for feeds."""

    def make(exchange: Exchange, desk: str | None) -> Recollection | None:
        if settings.feeds is None:
            return None
        return Recollection(make_desk(
            settings.feeds, exchange, desk, say, has_clock=settings.clock == "wall"))

    return make


def make_replicator(
    settings: Settings, stack: ExitStack, journal: Journal, state: Recovered, say: Say
) -> Replicator | None:
    """Bind the socket for standbys, if there is to be one."""
    if settings.replication is None:
        return None
    return stack.enter_context(Replicator(
        settings.replication, journal, state.history, outside=state.outside,
        required_count=settings.standby_required,
        timeout_s=settings.standby_timeout_s, is_lenient=settings.standby_lost == "degrade",
        report=lambda line: tagged(say, "replication")(f"replication: {line}"),
        keys=settings.server_keys))


def make_keeper(
    settings: Settings, journal: Journal, state: Recovered, standbys: Replicator | None, say: Say
) -> Keeper | None:
    """Return what writes snapshots, None where there is nothing that could be in one."""
    if state.exchange.core_name != "compiled" or journal.journal_id is None:
        return None  # the reference has no snapshots
    snapshots = Snapshots(
        journal.folder, journal.journal_id, storage=state.outside.storage,
        kept=settings.snapshots_kept)
    if standbys is not None:
        standbys.snapshots = snapshots
    return Keeper(
        snapshots, state.history, settings.snapshot_commands,
        drops_segments=settings.retain != "all", seq=state.snapshot_seq,
        report=tagged(say, "snapshot"),
        dump_desk=None if state.memory is None else state.dump_desk,
        background=state.background,
        needed_seq=lambda: standbys.needed_seq if standbys else None)


def wait_for_turn(
    settings: Settings, journal: Journal, state: Recovered, stop: StopSignal,
    standbys: Replicator | None, say: Say,
) -> Keeper | None:
    """Come back when this server may serve, or was told to stop; return what writes snapshots.

    Raises
    ------
    EngineError
    """
    if settings.follow is not None:
        return _stand_by(settings, journal, state, stop, standbys, say)
    keeper = make_keeper(settings, journal, state, standbys, say)
    if standbys is not None:
        _listen_before(standbys, settings, journal, state, stop)
    return keeper


def _stand_by(
    settings: Settings, journal: Journal, state: Recovered, stop: StopSignal,
    standbys: Replicator | None, say: Say,
) -> Keeper | None:
    """Follow a primary until told to take over, or to stop; the state is the copy's then."""

    def keeper_of(snapshot_seq: int) -> Keeper | None:
        state.snapshot_seq = snapshot_seq
        return make_keeper(settings, journal, state, standbys, say)

    def memory_of(exchange: Exchange, desk: str | None) -> Recollection | None:
        state.memory = make_memory(settings, say)(exchange, desk)
        return state.memory

    assert settings.follow is not None
    copy = Copy(
        journal, state.exchange, state.sessions, state.history, state.tail, state.snapshot_seq,
        keeper_of, state.memory, memory_of, state.outside.storage)
    Standby(
        settings.follow, copy, kept=settings.snapshots_kept,
        report=lambda line: tagged(say, "replication")(f"standby: {line}"),
        keys=settings.follow_keys, outside=state.outside,
        on_turn=follow_figures(
            state.figures, lambda: copy.history, lambda: copy.journal.last_seq),
    ).run(stop, standbys)
    state.exchange, state.sessions = copy.exchange, copy.sessions
    state.term = max(state.term, state.history.term) + 1
    if stop.is_set:
        copy.keep()
    stop.end_of_standby()
    return copy.keeper


def standby_rows(settings: Settings, state: Recovered) -> Rows:
    """Return the summary of a standby that was told to stop."""
    return [
        ("journal", settings.journal),
        ("follows", str(settings.follow)),
        ("term", str(state.history.term)),
        ("seq", str(state.exchange.seq)),
        ("drift", drift_text(state.exchange)),
        ("state_hash", state.exchange.state_hash()),
    ]


def _listen_before(
    standbys: Replicator, settings: Settings, journal: Journal, state: Recovered, stop: StopSignal
) -> None:
    """Listen whether somebody has taken over, before a server goes on that was one before."""
    standbys.is_serving = True
    if not state.history.starts:
        return  # a new journal: there is nothing to take over from
    try:
        standbys.listen(settings.fence_wait_s, stop)
    except Superseded as error:
        _note_superseded(journal, state.history, error)
        raise InputError(f"{journal.folder}: {error}") from None


def begin(
    settings: Settings, stack: ExitStack, journal: Journal, start: Start, state: Recovered,
    standbys: Replicator | None,
) -> Callable[[], None] | None:
    """Note the start in the journal; return what reminds the old primary of it, if there is one."""
    journal.note(
        Kind.START, {"epoch": start.epoch, "engine": __version__, "term": start.term})
    state.history.add(start)
    if standbys is not None:
        standbys.begin_to_serve()
    if settings.follow is None:
        return None
    reminder = Reminder(
        settings.follow, journal.journal_id or 0, state.history, settings.follow_keys,
        state.outside.make_context())
    return stack.enter_context(reminder).send


def run_or_give_way(
    service: Service, stop: StopSignal, journal: Journal, history: History
) -> None:
    """Serve; where another server has taken over, note it, so that this journal stays with it."""
    try:
        service.run(stop)
    except Superseded as error:
        _note_superseded(journal, history, error)
        raise


def _note_superseded(journal: Journal, history: History, error: Superseded) -> None:
    journal.note(Kind.START, {
        "epoch": history.epoch, "engine": __version__, "term": history.term,
        "superseded_by": list(error.start)})
