"""Put together what follows several publishers: desk, subscribers, state from a snapshot."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from engine.exchange import Exchange
from engine.keys import ClientKeys
from engine.resend import HealingSubscriber
from engine.serving.desk import Desk
from engine.serving.feed_settings import FeedSettings
from engine.serving.feeds import AnySubscriber, Feeds
from engine.serving.outside import Outside
from engine.serving.sequencer import Sequencer
from engine.subscriber import MarkSubscriber

Say = Callable[[str], None]


def make_desk(
    settings: FeedSettings, exchange: Exchange, state: str | None, say: Say, *, has_clock: bool
) -> Desk:
    """Return a desk, with the state of a snapshot if that was made by the same rules.

    Parameters
    ----------
    settings : FeedSettings
    exchange : engine.Exchange
        As it was then.
    state : str or None
        Of `dump_desk`.
    say : callable
    has_clock : bool
    """
    rules = settings.desk_rules(has_clock=has_clock)
    desk = Desk(rules, exchange, lambda line: say(f"feed: {line}"))
    if state is not None:
        found = json.loads(state)
        if found["rules"] == rules.digest:
            desk.load(found["state"])
        else:
            say("feed: the snapshot was made under other rules: sources begin anew")
    return desk


def dump_desk(desk: Desk) -> str:
    """Return the state of a desk as text: its integers may be of any size."""
    return json.dumps({"rules": desk.rules.digest, "state": desk.dump()}, separators=(",", ":"))


def open_feeds(
    stack: ExitStack, settings: FeedSettings, desk: Desk, sequencer: Sequencer, *,
    timeout_s: float, say: Say, keys: ClientKeys | None, outside: Outside,
) -> Feeds:
    """Subscribe to all publishers, with the same keys; the stack closes what is opened."""

    def reporter(name: str) -> Say:
        return lambda line: say(f"feed: {name}: {line}")

    subscribers: dict[str, AnySubscriber] = {}
    for address in settings.addresses:
        name, report = address.name, reporter(address.name)
        subscriber = stack.enter_context(
            MarkSubscriber(
                address.endpoint, report=report, keys=keys, context=outside.make_context()))
        subscribers[name] = subscriber
        if address.resend is not None:
            healing = HealingSubscriber(
                subscriber, address.resend, partial(desk.next_number, name), report=report,
                keys=keys, context=outside.make_context(), clock=outside.clock)
            stack.callback(healing.close)
            subscribers[name] = healing
    return Feeds(
        subscribers, desk, sequencer, stale_after_s=settings.stale_after_s, timeout_s=timeout_s,
        report=say, clock=outside.clock)
