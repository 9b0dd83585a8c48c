"""Following what a server publishes: the protocol without a socket.

Each topic has a sequence of its own. What is missing shows by a number that was left out, by a
heartbeat that names a later one, or by another epoch. Then messages are kept until a snapshot
has come that includes what is missing, and those after it are applied to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import InvalidOperation
from typing import Any, Literal

from engine import wire
from engine.errors import RunError
from engine.marketdata import L2Book, L3Book

Book = L2Book | L3Book
Reason = Literal["start", "gap", "restart"]

#: Messages kept for a topic that waits for its snapshot; if more come it asks again.
KEPT_MAX = 10_000
_BEATS = f"{wire.BEAT}.".encode()
#: Snapshots asked for at once: fewer than a server keeps for a client that reads slowly.
ASKED_MAX = 100
#: An answer that stays out is waited for twice as long as the one before, up to this.
_RETRY_FACTOR_MAX = 8
_BOOKS: dict[str, type[Book]] = {"l2": L2Book, "l3": L3Book}
#: What a book raises on a message that does not fit it.
_MISFITS = (ValueError, KeyError, TypeError, IndexError, InvalidOperation)


class SnapshotRefused(RunError):
    """The server has no such topic, or not for us; it is asked again if the caller goes on."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a topic: whatever was known of it before is to be forgotten.

    Attributes
    ----------
    topic : str
    epoch : int
        Start of the server.
    sequence : int
        Of the last message of the topic that it includes.
    reason : {"start", "gap", "restart"}
        Why it was asked for.
    state : dict
        As docs/formats.md has it for the topic.
    """

    topic: str
    epoch: int
    sequence: int
    reason: Reason
    state: dict[str, Any]


@dataclass(frozen=True)
class Update:
    """A message of a topic, the next one after the last.

    Attributes
    ----------
    topic : str
    epoch, sequence : int
    messages : list of dict
        Market data, or events.
    """

    topic: str
    epoch: int
    sequence: int
    messages: list[dict[str, Any]]


@dataclass(frozen=True)
class Ended:
    """The server has published all there was; another start has another epoch."""

    epoch: int


#: What a subscriber yields.
Item = Snapshot | Update | Ended


class _Topic:
    """What is known of one topic, and what is kept until its snapshot comes."""

    def __init__(self, name: str, retry_s: float, waiting: dict[str, _Topic]) -> None:
        self.name = name
        self._waiting = waiting  # all topics that need a snapshot
        waiting[name] = self
        self.sequence = 0  # included in what was handed on
        self.needed = 0  # a snapshot of less would leave something out
        self.is_synced = False
        self.reason: Reason = "start"
        self.kept: list[tuple[int, list[dict[str, Any]]]] = []
        self.ask_at = 0.0
        self.wait_s = retry_s
        self.token = 0  # of the last request
        self.channel = name.partition(".")[0]
        kind = _BOOKS.get(self.channel)
        self.book: Book | None = None if kind is None else kind()

    def lose(self, needed: int, reason: Reason) -> None:
        """From here on a snapshot is needed that includes a sequence."""
        self.is_synced = False
        self._waiting[self.name] = self
        self.needed = max(self.needed, needed)
        self.reason = reason
        self.ask_at = 0.0

    def restart(self) -> None:
        """Forget what another epoch said."""
        self.sequence = self.needed = 0
        self.kept.clear()
        self.lose(0, "restart")

    def keep(self, sequence: int, messages: list[dict[str, Any]]) -> None:
        """Put a message aside until there is a snapshot to apply it to."""
        if len(self.kept) >= KEPT_MAX:
            self.kept.clear()
            self.lose(sequence - 1, self.reason)
        self.kept.append((sequence, messages))

    def apply(self, sequence: int, messages: list[dict[str, Any]]) -> bool:
        """Take the next message; False where it did not fit, and a snapshot is needed."""
        self.sequence = sequence
        if self.book is not None:
            try:
                for message in messages:
                    self.book.apply(message)
            except _MISFITS:
                self.book.is_synced = False
            if not self.book.is_synced:
                self.lose(sequence, "gap")
                return False
        return True

    def load(self, sequence: int, state: dict[str, Any]) -> bool:
        """Begin anew with a state; False where it is none of this topic."""
        if self.book is not None:
            try:
                self.book.load(state)
            except _MISFITS:
                return False
        self.sequence, self.needed, self.is_synced = sequence, 0, True
        del self._waiting[self.name]
        return True


class Following:
    """Topics of one server, from messages and snapshots.

    Nothing that it does looks at topics which miss nothing, but for a restart.

    Parameters
    ----------
    endpoint : str
        For messages to people.
    topics : iterable of str
        By their whole names, `l2.BTCUSDT.` or `account.7.`.
    retry_s : float
        How long the first wait for a snapshot is before it is asked for again.

    Attributes
    ----------
    epoch : int or None
        Of the server, None before anything came.
    gap_count, restart_count, duplicate_count, malformed_count : int
    """

    def __init__(self, endpoint: str, topics: Iterable[str], retry_s: float) -> None:
        self.epoch: int | None = None
        self.gap_count = 0
        self.restart_count = 0
        self.duplicate_count = 0
        self.malformed_count = 0
        self._endpoint = endpoint
        self._retry_s = retry_s
        self._token = 0
        self._asked: dict[int, str] = {}
        self._topics: dict[str, _Topic] = {}
        self._waiting: dict[str, _Topic] = {}
        for name in topics:
            self.follow(name)

    @property
    def topics(self) -> list[str]:
        """Names of what is followed."""
        return list(self._topics)

    def follow(self, name: str) -> None:
        """Follow a topic from now on."""
        if name not in self._topics:
            self._topics[name] = _Topic(name, self._retry_s, self._waiting)

    def unfollow(self, name: str) -> None:
        """Follow a topic no longer."""
        topic = self._topics.pop(name, None)
        if topic is not None:
            self._asked.pop(topic.token, None)
            self._waiting.pop(name, None)

    def is_synced(self, name: str) -> bool:
        """Tell whether nothing is known to be missing of a topic."""
        return self._topics[name].is_synced

    def book(self, name: str) -> Book:
        """Return the book that a topic of `l2.` or `l3.` keeps up to date."""
        book = self._topics[name].book
        if book is None:
            raise ValueError(f"{name} is not the topic of a book")
        return book

    # --- what is to be sent ---------------------------------------------------------------

    @property
    def ask_at(self) -> float | None:
        """When the next request is due by the caller's clock, None where none is."""
        first = next(iter(self._waiting.values()), None)
        if first is not None and len(self._asked) < ASKED_MAX:
            return min(topic.ask_at for topic in self._waiting.values())
        return None if first is None else min(
            self._topics[name].ask_at for name in self._asked.values())

    def requests(self, now: float) -> list[list[bytes]]:
        """Return the requests for snapshots that are due, and for which there is room."""
        found: list[list[bytes]] = []
        under_way = sum(
            topic.ask_at > now for topic in map(self._topics.get, self._asked.values()) if topic)
        for topic in self._waiting.values():
            if under_way + len(found) >= ASKED_MAX:
                break
            if topic.ask_at > now:
                continue
            self._asked.pop(topic.token, None)
            topic.token = self._token = self._token + 1
            self._asked[topic.token] = topic.name
            topic.ask_at = now + topic.wait_s
            topic.wait_s = min(2 * topic.wait_s, _RETRY_FACTOR_MAX * self._retry_s)
            found.append(
                [wire.SNAPSHOT, wire.encode_snapshot_request(topic.token, topic.name)])
        return found

    # --- what comes -------------------------------------------------------------------------

    def take(self, frames: Sequence[bytes]) -> list[Item]:
        """Take a published message; return what it brings, in order.

        Raises
        ------
        RunError
            The server speaks another version.
        """
        try:
            name, sequence, payload = wire.split_frames(frames)
            if name == wire.HEARTBEAT or name.startswith(_BEATS):
                beat = wire.decode_heartbeat(payload)
                self._compare(beat.epoch, beat.last_sequences)
                return []
            if name == wire.END:
                end = wire.decode_end(payload)
                self._compare(end.epoch, end.last_sequences)
                return [Ended(end.epoch)] if end.epoch == self.epoch else []
            topic = self._topics.get(name.decode(errors="replace"))
            # A prefix may match more than what was asked for.
            return [] if topic is None else self._take_topic(topic, sequence, payload)
        except wire.VersionError as error:
            raise RunError(f"{self._endpoint}: {error}") from None
        except wire.WireError:
            self.malformed_count += 1
            return []

    def take_answer(self, frames: Sequence[bytes]) -> list[Item]:
        """Take a message of the snapshot socket; return what it brings, in order.

        Raises
        ------
        SnapshotRefused
        RunError
            The server speaks another version.
        """
        try:
            if len(frames) != 2:
                raise wire.WireError(f"expected 2 frames, found {len(frames)}")
            kind, payload = frames
            if kind == wire.REFUSED:
                self._take_refusal(payload)
                return []
            if kind != wire.SNAPSHOT:
                raise wire.WireError(f"unknown kind of message {kind!r:.40}")
            return self._take_snapshot(wire.decode_snapshot(payload))
        except wire.VersionError as error:
            raise RunError(f"{self._endpoint}: {error}") from None
        except wire.WireError:
            self.malformed_count += 1
            return []

    def _is_current(self, epoch: int) -> bool:
        """Follow the epoch; False for what an earlier start of the server said."""
        if self.epoch is None:
            self.epoch = epoch
        if epoch > self.epoch:
            self.epoch = epoch
            self.restart_count += 1
            for topic in self._topics.values():
                topic.restart()
        return epoch == self.epoch

    def _compare(self, epoch: int, last_sequences: dict[str, int]) -> None:
        """What was sent before this and has not come is lost: a connection keeps the order."""
        if not self._is_current(epoch):
            return
        for name, last in last_sequences.items():
            topic = self._topics.get(name)
            if topic is None:
                continue
            if topic.is_synced and last > topic.sequence:
                self._lose(topic, last)
            elif not topic.is_synced and last > max(topic.needed, _last_kept(topic)):
                topic.needed = last

    def _lose(self, topic: _Topic, needed: int) -> None:
        self.gap_count += 1
        topic.wait_s = self._retry_s
        topic.lose(needed, "gap")

    def _take_topic(self, topic: _Topic, sequence: int, payload: bytes) -> list[Item]:
        try:
            if topic.channel in wire.CHANNELS:
                epoch, messages = wire.decode_market(payload)
            else:
                epoch, _, _, messages = wire.decode_events(payload)
        except wire.VersionError:
            raise
        except wire.WireError:
            self.malformed_count += 1
            if topic.is_synced and sequence > topic.sequence:
                self._lose(topic, sequence)
            return []
        if not self._is_current(epoch):
            return []
        if not topic.is_synced:
            topic.keep(sequence, messages)
            return []
        if sequence <= topic.sequence:
            self.duplicate_count += 1
            return []
        if sequence > topic.sequence + 1:
            self._lose(topic, sequence - 1)
            topic.keep(sequence, messages)
            return []
        return self._apply(topic, sequence, messages)

    def _apply(
        self, topic: _Topic, sequence: int, messages: list[dict[str, Any]]
    ) -> list[Item]:
        assert self.epoch is not None
        if not topic.apply(sequence, messages):
            self.gap_count += 1
            return []
        return [Update(topic.name, self.epoch, sequence, messages)]

    def _take_snapshot(self, answer: wire.SnapshotMessage) -> list[Item]:
        self._asked.pop(answer.token, None)
        topic = self._topics.get(answer.topic)
        if topic is None or not self._is_current(answer.epoch) or topic.is_synced:
            return []
        if answer.sequence < topic.needed:
            return []  # taken before what is missing was published; asked again in time
        reason = topic.reason
        if not topic.load(answer.sequence, answer.state):
            self.malformed_count += 1
            return []
        self._asked.pop(topic.token, None)  # an answer to an earlier request will do
        topic.wait_s = self._retry_s
        items: list[Item] = [
            Snapshot(topic.name, answer.epoch, answer.sequence, reason, answer.state)]
        kept, topic.kept = topic.kept, []
        for sequence, messages in kept:
            if not topic.is_synced:
                topic.keep(sequence, messages)
            elif sequence == topic.sequence + 1:
                items += self._apply(topic, sequence, messages)
            elif sequence > topic.sequence:
                self._lose(topic, sequence - 1)
                topic.keep(sequence, messages)
        return items

    def _take_refusal(self, payload: bytes) -> None:
        _, detail, code = wire.decode_refused(payload)
        _, number = wire.refused_request(payload)
        name = None if number is None else self._asked.pop(number, None)
        if number is None or name in self._topics:
            raise SnapshotRefused(f"{self._endpoint}: {code}: {detail}")


def _last_kept(topic: _Topic) -> int:
    return topic.kept[-1][0] if topic.kept else 0
