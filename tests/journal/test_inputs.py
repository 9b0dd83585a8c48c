"""What feeds said, between the commands: where it lies, and who comes by it."""

from __future__ import annotations

from pathlib import Path

from support.journals import Unflushed, record

from engine import Exchange
from engine.journal import Journal, JournalReader, Kind, Storage
from engine.serving.recovery import replay


def write(folder: Path, turns: int, segment_size: int = 2000) -> None:
    """Each turn: one or two inputs, then a command; the journal is opened anew now and then."""
    number = 0
    while number < turns:
        with Journal(str(folder), segment_size=segment_size, storage=Unflushed()) as journal:
            assert len([*journal.batches()]) >= number
            journal.begin()
            for _ in range(7):
                number += 1
                for part in range(1 + number % 2):
                    journal.note(
                        Kind.INPUTS, {"turn": number, "part": part, "text": "x" * 90},
                        is_flushed=False)
                journal.append([record(number)])


def test_inputs_lie_in_the_segment_of_the_commands_that_follow(tmp_path):
    write(tmp_path, 70)
    waiting, segments = [], set()
    for batch in JournalReader(str(tmp_path), Storage()).batches():
        segments.add(batch.path)
        if batch.header.kind == Kind.INPUTS:
            waiting.append(batch)
        elif batch.header.kind == Kind.COMMANDS:
            assert waiting and {each.path for each in waiting} == {batch.path}
            assert [each.facts()["turn"] for each in waiting] == [batch.header.seq] * len(waiting)
            waiting.clear()
    assert len(segments) > 5 and not waiting


def test_a_replay_comes_by_them_between_the_commands(tmp_path):
    write(tmp_path, 21)
    exchange, found = Exchange(core="reference"), []
    replay(JournalReader(str(tmp_path), Storage()).batches(), exchange,
           on_inputs=lambda facts: found.append((facts["turn"], facts["part"], exchange.seq)))
    assert [turn for turn, part, _ in found if part == 0] == [*range(1, 22)]
    assert all(seq == turn - 1 for turn, _, seq in found)
    again = Exchange(core="reference")
    assert replay(JournalReader(str(tmp_path), Storage()).batches(), again).command_count == 21
    assert again.state_hash() == exchange.state_hash()


def test_from_a_snapshot_on_nothing_after_it_is_passed_by(tmp_path):
    """Whatever the seq of the snapshot: all inputs of later commands are read."""
    write(tmp_path, 42)
    for seq in range(0, 42, 5):
        turns = {
            batch.facts()["turn"]
            for batch in JournalReader(str(tmp_path), Storage(), after=seq).batches()
            if batch.header.kind == Kind.INPUTS}
        assert turns >= set(range(seq + 1, 43))
