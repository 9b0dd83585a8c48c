"""A publisher of many topics: a sequence each, bounded heartbeats, one epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping

import zmq

from engine import wire
from engine.endpoints import BoundSocket
from engine.keys import ServerKeys

#: Topics that one heartbeat names at most: some 10 kB.
HEARTBEAT_TOPICS_MAX = 512
#: Messages queued for a slow listener before it misses some; its sequence shows which.
HIGH_WATER_MARK = 10_000
#: Longest subscription, in bytes; who sends more is cut off.
_NOTE_SIZE_MAX = 4096
_BEAT_TOPIC = re.compile(rb"beat\.([1-9][0-9]{0,17})\.")


class Topics:
    """Last sequence of every topic, and which of them the next heartbeat names.

    What changed since it was last told comes first, the longest untold ahead; the room that is
    left goes round all topics. So the loss of a topic's last message shows at the next
    heartbeat while few topics change, and after ``topics / HEARTBEAT_TOPICS_MAX`` heartbeats
    at the latest even if heartbeats are lost as well.

    Notes
    -----
    Complexity: O(1) a message, O(topics named) a heartbeat.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}
        self._untold: dict[bytes, None] = {}  # in the order in which they changed
        self._round: list[bytes] = []
        self._at = 0

    @property
    def is_told(self) -> bool:
        """Whether heartbeats have named everything that changed."""
        return not self._untold

    def add(self, topic: bytes) -> None:
        """Number a topic from now on; its next message is the first."""
        if topic not in self._last:
            self._last[topic] = 0
            self._round.append(topic)

    def last(self, topic: bytes) -> int:
        """Return the sequence of a topic's last message, 0 where there was none."""
        return self._last.get(topic, 0)

    def advance(self, topic: bytes, count: int = 1) -> int:
        """Return the sequence of a topic's next message, or of the last of so many."""
        self.add(topic)
        self._last[topic] += count
        self._untold[topic] = None
        return self._last[topic]

    def beat(self) -> dict[bytes, int]:
        """Return what the next heartbeat says."""
        told: dict[bytes, int] = {}
        while self._untold and len(told) < HEARTBEAT_TOPICS_MAX:
            topic = next(iter(self._untold))
            del self._untold[topic]
            told[topic] = self._last[topic]
        for _ in range(min(len(self._round), HEARTBEAT_TOPICS_MAX - len(told))):
            topic = self._round[self._at % len(self._round)]
            self._at = (self._at + 1) % len(self._round)
            told[topic] = self._last[topic]
        return told


class AccountBeats:
    """Accounts whose topics have heartbeats of their own, and whose turn it is.

    For listeners who may hear of one account alone: in a heartbeat of all, the others' sequences
    would tell who traded with whom.
    """

    def __init__(self) -> None:
        self._topics: dict[int, bytes] = {}
        self._round: list[int] = []
        self._at = 0

    def follow(self, topic: bytes) -> None:
        """Beat for an account from now on, if this is the topic of its heartbeats."""
        found = _BEAT_TOPIC.fullmatch(topic)
        if found is not None and int(found[1]) not in self._topics:
            self._topics[int(found[1])] = topic
            self._round.append(int(found[1]))

    def due(self) -> list[tuple[int, bytes]]:
        """Return the next accounts, and the topics of their heartbeats, so many as one may name."""
        count = min(len(self._round), HEARTBEAT_TOPICS_MAX)
        turn = [self._round[(self._at + at) % len(self._round)] for at in range(count)]
        self._at += count
        return [(account, self._topics[account]) for account in turn]


class TopicPublisher(BoundSocket):
    """A socket that publishes topics and waits for nobody.

    Parameters
    ----------
    kind : int
        `zmq.PUB`; or `zmq.XPUB`, whose notes about subscriptions have to be read.
    endpoint : str
        To bind.
    epoch : int
        Another one at every start.
    options : mapping of int to int, optional
        Of the socket, beside its own.
    keys, domain, context
        As of `BoundSocket`.
    """

    def __init__(
        self, kind: int, endpoint: str, epoch: int,
        options: Mapping[int, int] | None = None, *, keys: ServerKeys | None = None,
        domain: str = "", context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.epoch = epoch
        self.topics = Topics()
        self._heartbeat_count = 0
        super().__init__(kind, endpoint, {
            zmq.SNDHWM: HIGH_WATER_MARK, zmq.LINGER: 0, zmq.MAXMSGSIZE: _NOTE_SIZE_MAX,
            **(options or {})}, keys=keys, domain=domain, context=context)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To wait on, together with others."""
        return self._socket

    def send(self, topic: bytes, payload: bytes) -> None:
        """Publish the next message of a topic; whoever has no room for it misses it."""
        self._frames.send(topic, self.topics.advance(topic), payload)

    def send_heartbeat(self) -> None:
        """Tell listeners what they should have seen by now."""
        self._heartbeat_count += 1
        payload = wire.encode_heartbeat(self.epoch, self.topics.beat())
        self._socket.send_multipart(
            wire.make_frames(wire.HEARTBEAT, self._heartbeat_count, payload))

    def send_end(self, message_count: int, event_count: int) -> None:
        """Say that there is no more."""
        payload = wire.encode_end(self.epoch, self.topics.beat(), message_count, event_count)
        self._socket.send_multipart(wire.make_frames(wire.END, 1, payload))
