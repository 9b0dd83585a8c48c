"""Follow several publishers: sockets, clocks and journal around an `engine.serving.desk.Desk`.

One turn: read what has arrived, take it, write it into the journal, and hand on the commands.
They are durable, and applied, before the next turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from engine.clock import Clock
from engine.errors import RunError
from engine.resend import HealingSubscriber
from engine.serving.desk import CLIENT, QUIET, STEP, TIME, Desk, Input
from engine.serving.outside import AnyPoller
from engine.serving.packed import PackedPending
from engine.serving.sequencer import Pending, Sequencer
from engine.serving.sessions import REUSED, Sessions
from engine.subscriber import FeedError, MarkSubscriber

AnySubscriber = MarkSubscriber | HealingSubscriber

#: Messages of one publisher, and inputs of all, that are taken in one turn at most.
_MESSAGES_MAX = 16
_INPUTS_MAX = 2048
#: How often it is looked whether a symbol has gone quiet.
_QUIET_CHECK_S = 0.05
#: After so long without a message an instant of pricing that is now is worked off.
_IDLE_S = 0.1
_REJECTIONS_REPORTED = 20


class Feeds:
    """The publishers of a server.

    Parameters
    ----------
    subscribers : mapping of str to MarkSubscriber or HealingSubscriber
        By the name of the publisher.
    desk : Desk
    sequencer : Sequencer
    stale_after_s : float
        A symbol of which nothing is heard for so long is quiet, whatever the engine's time.
    timeout_s : float
        Longest silence of all publishers, or of one until it is reported.
    report : callable
        Takes one line at a time.
    clock : Clock, optional
    """

    def __init__(
        self, subscribers: Mapping[str, AnySubscriber], desk: Desk, sequencer: Sequencer, *,
        stale_after_s: float, timeout_s: float, report: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self.desk = desk
        self.subscribers = dict(subscribers)
        self._sequencer = sequencer
        self._stale_after_s = stale_after_s
        self._timeout_s = timeout_s
        self._report = report
        self._clock = clock or Clock()
        now = self._clock.monotonic()
        self._open = dict(self.subscribers)
        self._poller: AnyPoller | None = None
        self._backlog: deque[Input] = deque()
        self._sources_heard = dict.fromkeys(self.subscribers, now)
        self._silent: set[str] = set()
        self._symbols_heard: dict[str, float] = {}
        self._quiet: set[str] = set()
        self._started = self._checked = now
        self._made: list[Pending] = []
        self._rejection_count = 0

    @property
    def symbols_heard(self) -> dict[str, float]:
        """Symbol → when anything was heard of it, monotonic seconds."""
        return self._symbols_heard

    def join(self, poller: AnyPoller) -> None:
        """Have a poller wait for all publishers; who has ended is taken out again."""
        self._poller = poller
        for subscriber in self._open.values():
            for one in subscriber.sockets:
                poller.register(one, zmq.POLLIN)

    def wait_ms(self, most_ms: int) -> int:
        """Return how long there is nothing to do unless something arrives."""
        if self._backlog:
            return 0
        return min(most_ms, int(_QUIET_CHECK_S * 1000))

    @property
    def has_ended(self) -> bool:
        """Every publisher has said that there is no more, and all of it was taken."""
        return not self._open and not self._backlog and not self.desk.is_due(self.desk.now_ns)

    @property
    def is_complete(self) -> bool:
        """Everything that the publishers sent was received."""
        return all(each.is_complete for each in self.subscribers.values())

    def take(self, batch: list[Pending | PackedPending]) -> None:
        """Take what has arrived, and add its commands to a batch that is to be committed.

        Raises
        ------
        FeedError
            A publisher speaks another version.
        JournalWriteError
        """
        self._look_at_made()
        self._receive()
        self._add_what_is_due()
        desk = self.desk
        if not self._backlog:
            return
        first, number = desk.taken + 1, desk.made + 1
        inputs: list[Input] = []
        commands = desk.begin()
        while self._backlog and len(inputs) < _INPUTS_MAX:
            inputs.append(self._backlog.popleft())
            commands += desk.take(inputs[-1])
            if desk.has_priced:
                break
        self._sequencer.note_inputs(
            {"rules": desk.rules.digest, "first": first, "made": number - 1, "inputs": inputs})
        self._made = [
            Pending.of(CLIENT, request, command)
            for request, command in enumerate(commands, number)]
        for pending in self._made:
            self._sequencer.sessions.admit(CLIENT, pending.request, pending.checksum)
        batch += self._made

    def _receive(self) -> None:
        now = self._clock.monotonic()
        wall_ns = self._wall_ns()
        arrived: list[tuple[int, Input]] = []
        for name, subscriber in list(self._open.items()):
            if len(self._backlog) >= _INPUTS_MAX:
                break
            before, reached_ns = subscriber.heard_count, 0
            for number, (ts_ns, rows) in subscriber.ready_steps(_MESSAGES_MAX):
                rows_sent = [list(row) for row in rows]
                reached_ns = max(reached_ns, ts_ns)
                arrived.append((reached_ns, [
                    STEP, wall_ns, name, subscriber.epoch, number, ts_ns, rows_sent]))
                for symbol, _, _ in rows:
                    self._symbols_heard[symbol] = now
                    self._quiet.discard(symbol)
            if subscriber.heard_count != before:
                self._sources_heard[name] = now
                self._silent.discard(name)
            elif now - self._sources_heard[name] > self._timeout_s and name not in self._silent:
                self._silent.add(name)
                self._report(f"feed: {name}: nothing for {self._timeout_s:g} s")
            if subscriber.has_ended:
                self._leave(name, subscriber)
        if wall_ns is None:
            # Whoever is read first must not make the others late.
            arrived.sort(key=lambda each: each[0])
        self._backlog.extend(item for _, item in arrived)

    def _leave(self, name: str, subscriber: AnySubscriber) -> None:
        if self._poller is not None:
            for one in subscriber.sockets:
                self._poller.unregister(one)
        subscriber.leave()
        del self._open[name]
        self._report(f"feed: {name}: has ended")

    def check_silence(self) -> None:
        """Raise where there is nothing else to wait for, and nothing is heard of anybody.

        Raises
        ------
        FeedError
        """
        if self._open and self._silent >= set(self._open):
            raise FeedError(f"nothing from any feed for {self._timeout_s:g} s")

    def _wall_ns(self) -> int | None:
        return self._clock.time_ns() if self.desk.rules.has_clock else None

    def _add_what_is_due(self) -> None:
        """What happens because nothing else does."""
        if self._backlog:
            return
        now, wall_ns = self._clock.monotonic(), self._wall_ns()
        if wall_ns is not None:
            if self.desk.is_due(wall_ns):
                self._backlog.append([TIME, wall_ns])
            return
        # Commands of clients move the time, too. An instant that is just now waits for more.
        reached = max(self.desk.now_ns, self._sequencer.exchange.ts)
        is_idle = not self._open or now - max(self._sources_heard.values()) > _IDLE_S
        if self.desk.now_ns and self.desk.is_due(reached if is_idle else reached - 1):
            self._backlog.append([TIME, None])
            return
        if now - self._checked < _QUIET_CHECK_S:
            return
        self._checked = now
        quiet = [
            symbol for symbol in self.desk.watch.symbols
            if symbol not in self._quiet
            and now - self._symbols_heard.get(symbol, self._started) > self._stale_after_s]
        if quiet:
            self._quiet.update(quiet)
            self._backlog.append([QUIET, None, quiet])

    def _look_at_made(self) -> None:
        """Report what the engine has refused of the last turn."""
        for pending in self._made:
            outcome = pending.outcome
            if outcome is None or outcome.reason is None:
                continue
            self._rejection_count += 1
            if self._rejection_count <= _REJECTIONS_REPORTED:
                self._report(
                    f"feed: {pending.command['cmd']} was rejected: {outcome.reason} "
                    f"({outcome.detail})")
        self._made = []

    def figures(self) -> dict[str, Any]:
        """Return what is known of the publishers, as the query `feeds` answers."""
        counters = self.desk.counters
        return {
            "sources": [{
                "source": name, "epoch": subscriber.epoch, "has_ended": name not in self._open,
                "silent_ms": round(
                    1000 * (self._clock.monotonic() - self._sources_heard[name])),
                **dict(_numbers(subscriber.rows())),
                **{what: counters[what, name] for what in REFUSALS},
            } for name, subscriber in sorted(self.subscribers.items())],
            "prices": self.desk.price_figures(),
            "stale": self.desk.watch.stale,
            "stale_count": self.desk.watch.stale_count,
            "set_aside": self.desk.set_aside,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return the figures for the summary of a run."""
        found = []
        for name, subscriber in sorted(self.subscribers.items()):
            rows = subscriber.rows()
            rows += [(what, str(self.desk.counters[what, name])) for what in REFUSALS]
            found += [(f"feed_{name}_{what}", value) for what, value in rows]
        stale = self.desk.watch
        return [*found, ("stale_symbols", " ".join(stale.stale) or "none"),
                ("stale_count", str(stale.stale_count)),
                ("feed_commands_rejected", str(self._rejection_count))]


#: What may become of a step beside being taken; `steps` are those taken.
REFUSALS = ("steps", "repeated", "late", "ahead", "early", "unknown", "absurd", "set_aside")


def _numbers(rows: list[tuple[str, str]]) -> list[tuple[str, int]]:
    return [(what, int(value)) for what, value in rows]


class Recollection:
    """Takes the inputs of a journal again, while its commands are replayed.

    Parameters
    ----------
    desk : Desk
        Fresh, or with the state of the snapshot that the replay begins with.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._owed: list[tuple[int, dict[str, Any]]] = []
        self._foreign_count = 0
        desk.is_silent = True

    def take(self, facts: Mapping[str, Any]) -> None:
        """Take one turn, unless the state has it already.

        Raises
        ------
        RunError
            It is none.
        """
        desk = self.desk
        try:
            digest, first, made = facts["rules"], int(facts["first"]), int(facts["made"])
            inputs = [*facts["inputs"]]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"inputs of a feed that are none: {error!r}") from None
        if digest != desk.rules.digest:
            self._foreign_count += 1
            return
        if first <= desk.taken:
            return
        # Commands in between were made under other rules, or by another engine.
        desk.taken, desk.made = first - 1, made
        commands = desk.begin()
        for item in inputs:
            commands += desk.take(item)
        self._owed = [*enumerate(commands, made + 1)]

    def finish(self, sessions: Sessions, report: Callable[[str], None]) -> list[Pending]:
        """End it; return the commands that were made, and are not in the journal.

        Parameters
        ----------
        sessions : Sessions
            At the end of the journal.
        report : callable
        """
        desk = self.desk
        desk.is_silent = False
        desk.counters.clear()
        desk.watch.stale_count = 0
        if self._foreign_count:
            report(
                f"feed: {self._foreign_count} turns under other rules are in the journal: what "
                "they led to is there, but sources and averages begin anew")
        last_request = sessions.last_request(CLIENT)
        made = [Pending.of(CLIENT, request, command) for request, command in self._owed]
        refusals = [sessions.refusal(CLIENT, each.request, each.checksum) for each in made]
        owed = [each for each in made if each.request > last_request]
        if self._owed and (desk.made < last_request or any(
                refusal is not None and refusal.code == REUSED for refusal in refusals)):
            report("feed: this engine makes other commands of the inputs in the journal: it goes "
                   "on from what was done")
            owed = []
        desk.made = max(desk.made, last_request)
        return owed
