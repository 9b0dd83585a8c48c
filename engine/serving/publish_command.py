"""What a server opens for listeners: events, market data, and states to begin and heal with."""

from __future__ import annotations

from contextlib import ExitStack

from engine.exchange import Exchange
from engine.replication.primary import Replicator
from engine.server import EventPublisher
from engine.serving.market import MarketPublisher
from engine.serving.outside import Outside
from engine.serving.roles import Role
from engine.serving.settings import Settings
from engine.serving.topic_states import TopicStates


def open_events(
    stack: ExitStack, settings: Settings, epoch: int, outside: Outside
) -> EventPublisher | None:
    """Open the socket that publishes events, if there is to be one."""
    if settings.events is None:
        return None
    return stack.enter_context(EventPublisher(
        settings.events, epoch, keys=settings.server_keys, context=outside.make_context(),
        clock=outside.clock,
        may_follow=None if settings.access is None else settings.access.may_follow))


def open_market_data(
    stack: ExitStack, settings: Settings, epoch: int, exchange: Exchange,
    events: EventPublisher | None, outside: Outside,
) -> tuple[MarketPublisher | None, TopicStates | None]:
    """Open the socket that publishes market data, and the one that answers with states."""
    market = states = None
    if settings.market_data is not None:
        market = stack.enter_context(MarketPublisher(
            settings.market_data, epoch, exchange, settings.channel_names,
            keys=settings.server_keys, context=outside.make_context()))
        stack.callback(market.end)
    if settings.snapshots_at is not None:
        states = stack.enter_context(TopicStates(
            settings.snapshots_at, epoch, exchange, market, events, keys=settings.server_keys,
            access=settings.access, local_role=Role(settings.local_role), clock=outside.clock,
            context=outside.make_context()))
    return market, states


def publishing_places(
    events: EventPublisher | None, market: MarketPublisher | None, states: TopicStates | None,
    standbys: Replicator | None,
) -> list[str]:
    """Where these sockets are, as a server says when it is ready."""
    named = {"events": events, "market data": market, "snapshots": states, "standbys": standbys}
    return [f"{name} at {one.endpoint}" for name, one in named.items() if one is not None]
