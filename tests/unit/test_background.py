"""Work in a child process: its answer, its failure, its end, and what it leaves alone."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from pathlib import Path

import pytest
from support.journals import entries_of, open_journal

from engine import Exchange
from engine.journal import Journal, JournalReader, Kind, Storage
from engine.replication.history import History, Start
from engine.serving.background import Background, Done
from engine.serving.keeper import Keeper
from engine.serving.recovery import ReplayError, replay
from engine.serving.sequencer import Pending, Sequencer
from engine.serving.sessions import Sessions
from engine.serving.snapshots import Snapshots

pytestmark = pytest.mark.skipif(not Background.is_available(), reason="no fork here")


def wait_for(background: Background) -> Done:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        done = background.poll()
        if done is not None:
            return done
        time.sleep(0.005)
    raise AssertionError("the child does not end")


def test_the_answer_is_of_the_state_as_it_was():
    background, state = Background(), [1]
    background.start(lambda: f"{state} of {os.getpid()}")
    state.append(2)
    done = wait_for(background)
    assert done.answer.startswith("[1] of ") and str(os.getpid()) not in done.answer
    assert done.problem is None and 0 < done.pause_s <= done.elapsed_s
    assert not background.is_busy and background.poll() is None


def fail(error: BaseException) -> str:
    raise error


@pytest.mark.parametrize("work, problem", [
    (lambda: fail(OSError(errno.ENOSPC, "No space left on device")), "no space left on device"),
    (lambda: fail(ValueError("of no use")), "ValueError: of no use"),
    (lambda: fail(SystemExit(0)), "SystemExit: 0"),
    (lambda: os._exit(7), "the child process ended with 7"),
    (lambda: os.kill(os.getpid(), signal.SIGKILL), "the child process ended by signal 9"),
    (lambda: os.kill(os.getpid(), signal.SIGTERM), "the child process ended by signal 15"),
])
def test_how_it_fails(work, problem):
    background = Background()
    background.start(work)
    assert wait_for(background)[:2] == ("", problem)


def children() -> set[str]:
    """This process's children, those that ended and were not waited for included."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(path.parent.name)
    return found


def test_it_can_be_stopped_and_nothing_of_it_stays():
    background = Background()
    before = sorted(os.listdir("/proc/self/fd")), children()
    background.stop()
    for _ in range(3):
        background.start(lambda: time.sleep(60))
        assert background.is_busy and background.poll() is None
        background.stop()
        assert not background.is_busy
    assert (sorted(os.listdir("/proc/self/fd")), children()) == before


def test_it_holds_no_lock_when_the_server_is_gone(tmp_path: Path):
    background = Background()
    journal, _, _ = open_journal(tmp_path)
    background.start(lambda: time.sleep(60))
    try:
        time.sleep(0.3)  # the child closes what is not its own
        journal.close()
        open_journal(tmp_path)[0].close()
    finally:
        background.stop()


def make(folder: Path, background: Background, lines: list[str], **options) -> Sequencer:
    journal = Journal(str(folder))
    exchange, sessions = Exchange(core="reference"), Sessions()
    list(journal.batches())
    journal.begin()
    if "interval" in options:
        exchange = Exchange()
        snapshots = Snapshots(str(folder), journal.journal_id or 0)
        options["keeper"] = Keeper(
            snapshots, History([Start(1, 1, 0)]), options.pop("interval"),
            drops_segments=False, seq=0, report=lines.append, background=background)
    return Sequencer(exchange, journal, sessions, background=background, **options)


def work(sequencer: Sequencer, count: int) -> None:
    for _ in range(count):
        sequencer.commit([Pending.of(None, 0, {"cmd": "asset", "asset": f"A{time.time_ns()}",
                                               "decimals": 2})])


def test_checkpoints_are_computed_while_commands_go_on(tmp_path: Path):
    background = Background()
    sequencer = make(tmp_path, background, [], checkpoint_commands=3)
    sequencer._hash_s = 1.0  # as of a large state: a short one is not worth a process
    work(sequencer, 3)
    assert background.is_busy
    work(sequencer, 2)
    deadline = time.monotonic() + 30
    while background.is_busy and time.monotonic() < deadline:
        sequencer.tend()
    sequencer._journal.close()
    batches = list(JournalReader(str(tmp_path), Storage()).batches())
    kinds = [batch.header.kind for batch in batches]
    assert kinds.index(Kind.HASH_BEGUN) == 3 < kinds.index(Kind.HASH_KNOWN)
    again = Exchange(core="reference")
    done = replay(batches, again)
    assert (done.checkpoint_count, done.command_count) == (1, 5)
    assert again.state_hash() == sequencer.exchange.state_hash()
    assert len(entries_of(batches)) == 5
    # Another state at that point is told, with its number.
    with pytest.raises(ReplayError, match="the journal says that seq 3 had state hash"):
        other = Exchange(core="reference")
        broken = [batch for batch in batches if batch.header.kind != Kind.HASH_BEGUN]
        replay([*broken[:2], *tampered(batches)], other)


def tampered(batches: list) -> list:
    """The same with the mark of the hash where another state is."""
    begun = next(batch for batch in batches if batch.header.kind == Kind.HASH_BEGUN)
    known = next(batch for batch in batches if batch.header.kind == Kind.HASH_KNOWN)
    third = batches[2]
    empty = third._replace(payload=third.payload.replace(b"decimals\x02", b"decimals\x03"))
    return [empty, begun, known]


def test_snapshots_are_written_while_commands_go_on(tmp_path: Path):
    pytest.importorskip("engine.core.exchange")
    background, lines = Background(), []
    sequencer = make(tmp_path, background, lines, interval=4)
    work(sequencer, 4)
    assert background.is_busy
    hash_then = sequencer.exchange.state_hash()
    work(sequencer, 1)
    while background.is_busy:
        sequencer.tend()
    assert lines[0].startswith("snapshot of seq 4: ") and "the server waited for" in lines[0]
    restored = sequencer._keeper._snapshots.read(4)
    assert (restored.seq, restored.exchange.state_hash()) == (4, hash_then)
    # One that cannot be written is told, and the next is tried in its time.
    folder = tmp_path / "snapshots"
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("in the way")
    work(sequencer, 3)
    while background.is_busy:
        sequencer.tend()
    assert "00000000000000000008.snapshot: cannot write: " in lines[1]
    folder.unlink()
    work(sequencer, 4)
    sequencer.checkpoint("shutdown")  # takes the place of the one under way
    assert not background.is_busy
    assert sequencer._keeper._snapshots.seqs() == [12]
    sequencer._journal.close()
