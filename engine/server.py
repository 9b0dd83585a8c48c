"""`engine serve` without a journal and `engine replay --in-process`: following a feed to its end.

The scenario comes first (instruments, accounts, positions, orders), then marks.
`engine.serving` has the server that takes commands and keeps a journal.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from engine import scenario, wire
from engine.clock import Clock
from engine.driver import MarkDriver
from engine.errors import InputError
from engine.exchange import Exchange
from engine.feeds.steps import Step
from engine.keys import ServerKeys, user_key
from engine.packing.plain import Message, events_by_account
from engine.packing.private import private_payload
from engine.publisher import PublishError, wait_until_left
from engine.render import render_event
from engine.tally import Tally
from engine.topics import AccountBeats, TopicPublisher

#: How often the caller hears of progress, in steps.
_REPORT_STEPS = 64
#: Accounts with a topic of their own at most.
ACCOUNTS_MAX = 100_000
_ACCOUNT_TOPIC = re.compile(rb"account\.([1-9][0-9]{0,17})\.")
#: Subscriptions heard of before anything else gets its turn.
_NOTES_AT_ONCE = 1000
#: How long listeners have to read what they were sent and leave, at the end.
_EVENTS_END_S = 5.0


class _Replies:
    """Takes the output of a scenario that only sets things up, and keeps what was refused."""

    def __init__(self) -> None:
        self.refused: list[dict[str, Any]] = []

    def write(self, text: str) -> int:
        if '"event":"rejected"' in text:
            self.refused.append(json.loads(text))
        return len(text)


def load_scenario(exchange: Exchange, path: str, report: Callable[[str], None]) -> None:
    """Apply a scenario file to an exchange.

    Parameters
    ----------
    exchange : engine.Exchange
    path : str
    report : callable
        Takes one line where commands were rejected: the run goes on without them.

    Raises
    ------
    InputError
        Missing file or a malformed line, `FILE:LINE: reason`.
    """
    replies: Any = _Replies()
    try:
        with open(path, encoding="utf-8") as lines:
            scenario.run(lines, path, replies, exchange)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot open: {reason}") from None
    if replies.refused:
        first = replies.refused[0]
        report(
            f"{path}: {len(replies.refused)} commands rejected, the first: {first['cmd']}, "
            f"{first['reason']} ({first['detail']})"
        )


@dataclass
class RunFigures:
    """What a run over a feed came to.

    Attributes
    ----------
    tally : Tally
    step_count : int
    elapsed_s : float
        From the first step to the last.
    """

    tally: Tally
    step_count: int = 0
    elapsed_s: float = 0.0


def account_of(topic: bytes) -> int | None:
    """Return the account whose events a topic has, None of any other topic.

    Examples
    --------
    >>> account_of(b"account.7."), account_of(b"events.")
    (7, None)
    """
    found = _ACCOUNT_TOPIC.fullmatch(topic)
    return None if found is None else int(found[1])


class EventPublisher(TopicPublisher):
    """Publishes the events of each command on `events.`, one message a command.

    Those of an account go out on a topic of its own as well, from when somebody has asked for
    it; whom it traded with is not named there. A listener that falls behind misses messages, and
    its sequence says which: the engine never waits for it, except a moment at the end.

    Parameters
    ----------
    endpoint : str
        To bind.
    epoch : int, optional
        Default: the wall clock in ns, so that every start has another one.
    keys : ServerKeys, optional
    context : zmq.Context, optional
        As of `BoundSocket`.
    clock : Clock, optional
    may_follow : callable, optional
        Goes with the keys: asked with a listener's key and a topic, whether it may have that.
        Who may not hears nothing of it.

    Attributes
    ----------
    accounts : dict of int to bytes
        Those that are followed, and their topics.
    """

    def __init__(
        self, endpoint: str, epoch: int | None = None, *, keys: ServerKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None, clock: Clock | None = None,
        may_follow: Callable[[bytes | None, bytes], bool] | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._may_follow = may_follow
        self._beats = AccountBeats()
        self._event_count = 0
        self._listener_count = 0
        self.accounts: dict[int, bytes] = {}
        super().__init__(
            zmq.XPUB, endpoint, self._clock.time_ns() if epoch is None else epoch,
            {zmq.XPUB_VERBOSER if may_follow is None else zmq.XPUB_MANUAL: 1}, keys=keys,
            domain="events", context=context)
        self.topics.add(wire.EVENTS)

    def publish(self, seq: int, ts_ns: int, events: Sequence[dict[str, Any]]) -> None:
        """Publish the events of one command, if it had any."""
        if not events:
            return
        own = {
            account: wire.encode_events(self.epoch, seq, ts_ns, part)
            for account, part in events_by_account(events, self.accounts).items()}
        payload = wire.encode_events(self.epoch, seq, ts_ns, events)
        self.publish_packed([(len(events), payload, own)])

    def publish_packed(self, messages: Sequence[Message]) -> None:
        """Publish the events of commands, as `engine.packing` makes them."""
        for event_count, payload, own in messages:
            self._event_count += event_count
            self.send(wire.EVENTS, payload)
            for account, part in own.items():
                self.send(self.accounts[account], private_payload(part, account))

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens now; if not, events need not be rendered: see `skip`."""
        self.read_notes()
        return self._listener_count > 0 or bool(self.accounts)

    def skip(self, message_count: int, event_count: int) -> None:
        """Number messages that nobody was there to get, so that who comes back sees a gap."""
        self.topics.advance(wire.EVENTS, message_count)
        self._event_count += event_count

    def follow_account(self, account: int) -> bytes | None:
        """Publish the events of an account from now on, to the end.

        Returns
        -------
        bytes or None
            Its topic; None where too many are followed already.
        """
        if account not in self.accounts:
            if len(self.accounts) >= ACCOUNTS_MAX:
                return None
            self.accounts[account] = wire.topic_name(wire.ACCOUNT, account)
            self.topics.add(self.accounts[account])
        return self.accounts[account]

    def read_notes(self) -> None:
        """Hear who listens to what."""
        for _ in range(_NOTES_AT_ONCE):
            if not self._frames.has_news():
                return
            note = self._next_note()
            topic = note[1:]
            if wire.EVENTS.startswith(topic) and note[:1] in (b"\x00", b"\x01"):
                self._listener_count += 1 if note[:1] == b"\x01" else -1
            elif note[:1] == b"\x01" and (account := account_of(topic)) is not None:
                self.follow_account(account)

    def _next_note(self) -> bytes:
        """Return the next note about a subscription; with keys only those hold that are granted."""
        if self._may_follow is None:
            return self._socket.recv()
        frame = self._socket.recv(copy=False)
        note, topic, key = frame.bytes, frame.bytes[1:], user_key(frame)
        if note[:1] == b"\x00":
            # Of a connection that has ended all are told, without a key, and hold no more.
            if key is not None:
                self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)
        elif note[:1] == b"\x01" and self._may_follow(key, topic):
            self._socket.setsockopt(zmq.SUBSCRIBE, topic)
            self._beats.follow(topic)
        elif not wire.EVENTS.startswith(topic):
            return b""
        # Of `events.` those that are not granted count, too: their end will be told like others'.
        return note

    def send_heartbeat(self) -> None:
        """Tell listeners what they should have seen by now, of one account or of all."""
        super().send_heartbeat()
        for account, topic in self._beats.due():
            name = wire.topic_name(wire.ACCOUNT, account)
            self._socket.send_multipart(wire.make_frames(
                topic, self._heartbeat_count,
                wire.encode_heartbeat(self.epoch, {name: self.topics.last(name)})))

    def end(self) -> None:
        """Say that there is no more, and give listeners a moment to read it."""
        self.send_end(self.topics.last(wire.EVENTS), self._event_count)
        try:
            wait_until_left(self._count_left, _EVENTS_END_S, self._clock)
        except PublishError:
            return  # they know from the sequence whether they have it all

    def _count_left(self, wait_ms: int) -> int:
        self._socket.poll(wait_ms, zmq.POLLIN)
        self.read_notes()
        return self._listener_count


def run_steps(
    exchange: Exchange,
    steps: Iterable[tuple[int, Step]],
    on_progress: Callable[[Tally], None],
    events: EventPublisher | None = None,
) -> RunFigures:
    """Apply numbered steps one by one and count what happens.

    Parameters
    ----------
    exchange : engine.Exchange
    steps : iterable of (int, Step)
    on_progress : callable
        Called with the running tally now and then.
    events : EventPublisher, optional

    Returns
    -------
    RunFigures
    """
    driver = MarkDriver(exchange)
    figures = RunFigures(Tally())
    tally = figures.tally
    exchange.drain_records()  # what the scenario did is not part of the run
    started = 0.0
    for number, step in steps:
        started = started or time.monotonic()
        driver.apply(number, step)
        figures.step_count += 1
        records = exchange.drain_records()
        tally.add(records)
        if events is not None:
            rendered = [render_event(record, exchange) for record in records]
            events.publish(exchange.seq, exchange.ts, rendered)
        if figures.step_count % _REPORT_STEPS == 0:
            on_progress(tally)
    figures.elapsed_s = time.monotonic() - started if started else 0.0
    if events is not None:
        events.end()
    return figures


def exchange_rows(exchange: Exchange, figures: RunFigures) -> list[tuple[str, str]]:
    """Return the summary of a run: counts, rate, `drift` of every asset, `state_hash`."""
    tally = figures.tally
    rate = tally.mark_count / figures.elapsed_s if figures.elapsed_s else 0.0
    rows = [
        ("steps", str(figures.step_count)),
        ("marks", str(tally.mark_count)),
        ("marks_per_second", f"{rate:.0f}"),
        ("margin_calls", str(tally.margin_call_count)),
        ("accounts_breached", str(len(tally.breached))),
        ("liquidation_steps", str(tally.step_count)),
        ("fund_takeovers", str(tally.takeover_count)),
        ("adl_accounts", str(len(tally.deleveraged))),
        ("rejected", str(sum(tally.rejections.values()))),
    ]
    assets = exchange.totals()["assets"]
    rows += [(f"insurance_{name}", terms["insurance"]) for name, terms in assets.items()]
    rows.append(("drift", drift_text(exchange)))
    rows.append(("state_hash", exchange.state_hash()))
    return rows


def drift_text(exchange: Exchange) -> str:
    """Return `0`, or the drifts of all assets where one of them is something else."""
    drifts = {terms["drift"] for terms in exchange.totals()["assets"].values()}
    return "0" if drifts <= {"0"} else str(sorted(drifts))
