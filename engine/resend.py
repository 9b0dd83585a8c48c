"""Heal the gaps of a mark feed: a publisher that sends steps again, a subscriber that asks.

Steps are numbered, so what is missing has a name. The publisher keeps the latest; the subscriber
holds back what is ahead of a gap while it asks, and goes on without after a while: for a mark
it is better to be late by a moment than to be skipped, and better to be skipped than late by much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import zmq

from engine import wire
from engine.clock import Clock
from engine.endpoints import BoundSocket, connect_socket
from engine.feeds.steps import Step
from engine.keys import ClientKeys, ServerKeys
from engine.subscriber import MarkSubscriber

#: Steps that a publisher keeps.
KEPT_STEPS = 100_000
#: Steps held back by a subscriber at most, before it goes on without the missing ones.
_HELD_MAX = 16_384
_RETRY_S = 0.1
#: How long a subscriber waits for what is missing.
WAIT_S = 0.5
_HIGH_WATER_MARK = 1000


class ResendSocket(BoundSocket):
    """The publisher's half: a ROUTER socket that answers with steps of the present epoch.

    Parameters
    ----------
    endpoint : str
        To bind.
    epoch : int
    keys : ServerKeys, optional

    Notes
    -----
    Keeps the latest 100,000 steps. Has to be called: it has no thread.
    """

    def __init__(self, endpoint: str, epoch: int, keys: ServerKeys | None = None) -> None:
        self._epoch = epoch
        self._steps: deque[Step] = deque(maxlen=KEPT_STEPS)
        self._newest = 0
        super().__init__(zmq.ROUTER, endpoint, {
            zmq.LINGER: 1000, zmq.SNDHWM: _HIGH_WATER_MARK, zmq.MAXMSGSIZE: wire.MESSAGE_SIZE_MAX,
        }, keys=keys, domain="marks")

    def keep(self, steps: Sequence[Step]) -> None:
        """Keep steps that were published just now."""
        self._steps.extend(steps)
        self._newest += len(steps)

    def answer(self, wait_ms: int = 0) -> None:
        """Answer who has asked; wait so long for the first one."""
        while self._socket.poll(wait_ms):
            wait_ms = 0
            peer, *frames = self._socket.recv_multipart()
            try:
                reply = [wire.RESENT, self._reply(frames)]
            except wire.WireError as error:
                reply = [wire.REFUSED, wire.encode_refused(self._epoch, str(error))]
            self._socket.send_multipart([peer, *reply])

    def _reply(self, frames: list[bytes]) -> bytes:
        if len(frames) != 2 or frames[0] != wire.RESEND:
            raise wire.WireError("expected two frames, resend. and a payload")
        epoch, first, last = wire.decode_resend(frames[1])
        oldest = self._newest - len(self._steps) + 1
        found: list[Step] = []
        if epoch == self._epoch:
            first = max(first, oldest)
            last = min(last, self._newest, first + wire.RESEND_STEPS_MAX - 1)
            found = [self._steps[number - oldest] for number in range(first, last + 1)]
        return wire.encode_resent(self._epoch, first, found, oldest, self._newest)


class StepOrder:
    """Puts numbered steps in order.

    Attributes
    ----------
    expected : int
        Number of the next one.
    """

    def __init__(self, expected: int = 1) -> None:
        self.expected = expected
        self._held: dict[int, Step] = {}

    def __len__(self) -> int:
        return len(self._held)

    def offer(self, number: int, step: Step) -> bool:
        """Take a step, in any order; tell whether it is new."""
        if number < self.expected or number in self._held:
            return False
        self._held[number] = step
        return True

    def ready(self) -> Iterator[tuple[int, Step]]:
        """Yield what is in order."""
        while (step := self._held.pop(self.expected, None)) is not None:
            self.expected += 1
            yield self.expected - 1, step

    @property
    def missing(self) -> tuple[int, int] | None:
        """Return the first and the last step that are missing before the first one held."""
        if not self._held:
            return None
        first_held = min(self._held)
        return None if first_held == self.expected else (self.expected, first_held - 1)

    def skip_to(self, number: int) -> int:
        """Go on from a step, without those before it; return how many these are."""
        skipped = sum(each not in self._held for each in range(self.expected, number))
        self._held = {each: step for each, step in self._held.items() if each >= number}
        self.expected = max(self.expected, number)
        return skipped


class HealingSubscriber:
    """A subscriber that asks for what it missed, and hands steps on in order.

    Parameters
    ----------
    subscriber : MarkSubscriber
        Closed by its owner.
    endpoint : str
        Where the publisher sends steps again.
    next_number : callable
        The step to begin with in an epoch.
    report : callable
        Takes one line about each gap that stays.
    keys : ClientKeys, optional
    context : zmq.Context, optional
        That nobody else uses.
    clock : Clock, optional

    Attributes
    ----------
    healed_count, lost_count : int
        Steps that were sent again in time, and those that were not.
    """

    def __init__(
        self, subscriber: MarkSubscriber, endpoint: str, next_number: Callable[[int], int], *,
        report: Callable[[str], None], keys: ClientKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None, clock: Clock | None = None,
    ) -> None:
        self.healed_count = self.lost_count = 0
        self._subscriber = subscriber
        self._next_number = next_number
        self._report = report
        self._clock = clock or Clock()
        self._order = StepOrder()
        self._epoch: int | None = None
        self._missing_seen = 0
        # Messages are missing, maybe at the end, and what was asked for because of that.
        self._has_tail = False
        self._tail_asked: int | None = None
        self._since: tuple[int, float] | None = None  # what is missed, since when
        self._asked: tuple[int, float] | None = None
        self._context = context or zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, _HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MESSAGE_SIZE_MAX)
        try:
            connect_socket(self._socket, endpoint, keys)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the socket for asking; the subscriber stays."""
        self._socket.close(linger=0)
        self._context.term()

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """To wait on."""
        return [*self._subscriber.sockets, self._socket]

    @property
    def epoch(self) -> int | None:
        """As of the subscriber."""
        return self._subscriber.epoch

    @property
    def heard_count(self) -> int:
        """As of the subscriber."""
        return self._subscriber.heard_count

    @property
    def has_ended(self) -> bool:
        """The publisher has said so, and nothing is waited for any more."""
        return self._subscriber.has_ended and self._wanted() is None

    @property
    def is_complete(self) -> bool:
        """Every step arrived, if late."""
        health = self._subscriber.health
        return self.has_ended and self.lost_count == health.epoch_change_count == 0

    def rows(self) -> list[tuple[str, str]]:
        """Return the figures for a summary."""
        return [*self._subscriber.rows(), ("healed_steps", str(self.healed_count)),
                ("lost_steps", str(self.lost_count))]

    def leave(self) -> None:
        """As of the subscriber."""
        self._subscriber.leave()

    def ready_steps(self, message_limit: int) -> Iterator[tuple[int, Step]]:
        """Yield the steps that are there and in order, without waiting.

        Raises
        ------
        FeedError
            The publisher speaks another version.
        """
        for number, step in self._subscriber.ready_steps(message_limit):
            self._follow_epoch()
            self._order.offer(number, step)
        self._follow_epoch()
        health = self._subscriber.health
        if health.missing_count + health.malformed_count != self._missing_seen:
            self._missing_seen = health.missing_count + health.malformed_count
            self._has_tail, self._tail_asked = True, None
        while self._socket.poll(0):
            self._take_reply(self._socket.recv_multipart())
        yield from self._order.ready()
        self._ask()
        yield from self._order.ready()

    def _follow_epoch(self) -> None:
        epoch = self._subscriber.epoch
        if epoch is not None and epoch != self._epoch:
            # What is held of the epoch before came after something that nobody has any more.
            self.lost_count += len(self._order)
            self._epoch, self._order = epoch, StepOrder(self._next_number(epoch))
            self._has_tail, self._since, self._asked = False, None, None

    def _wanted(self) -> tuple[int, int] | None:
        missing = self._order.missing
        if missing is None and self._has_tail:
            first = self._order.expected
            return first, first + wire.RESEND_STEPS_MAX - 1
        return missing

    def _ask(self) -> None:
        """Ask for what is missing, or go on without it."""
        wanted, now = self._wanted(), self._clock.monotonic()
        if wanted is None or self._epoch is None:
            self._since = None
            return
        first, last = wanted
        if self._since is None or self._since[0] != first:
            self._since = first, now
        if now - self._since[1] > WAIT_S or len(self._order) > _HELD_MAX:
            self._give_up(last)
            return
        if self._asked is None or self._asked[0] != first or now - self._asked[1] > _RETRY_S:
            self._asked = first, now
            if self._order.missing is None:
                self._tail_asked = first
            last = min(last, first + wire.RESEND_STEPS_MAX - 1)
            try:
                self._socket.send_multipart(
                    [wire.RESEND, wire.encode_resend(self._epoch, first, last)], zmq.NOBLOCK)
            except zmq.Again:
                pass  # asked again later

    def _give_up(self, last: int) -> None:
        if self._order.missing is None:
            self._has_tail = False
            self.lost_count += 1  # or more: nobody says how many
            self._report("the latest steps are missing, and are not sent again")
            return
        self._lose(last + 1)

    def _lose(self, until: int) -> None:
        first = self._order.expected
        self.lost_count += self._order.skip_to(until)
        self._report(f"steps {first} to {until - 1} are missing, and are not sent again")

    def _take_reply(self, frames: list[bytes]) -> None:
        try:
            if len(frames) != 2 or frames[0] != wire.RESENT:
                return
            epoch, first, steps, oldest, newest = wire.decode_resent(frames[1])
        except wire.WireError as error:
            self._report(f"malformed: what was sent again: {error}; skipped")
            return
        if epoch != self._epoch:
            return
        for number, step in enumerate(steps, first):
            self.healed_count += self._order.offer(number, step)
        if self._order.expected < oldest:
            self._lose(oldest)
        self._asked = None
        if self._tail_asked is not None and first >= self._tail_asked and (
                first + len(steps) > newest):
            self._has_tail, self._tail_asked = False, None
