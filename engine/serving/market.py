"""Market data on the wire: a topic for each channel of each symbol."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import zmq

from engine import wire
from engine.exchange import Exchange
from engine.keys import ServerKeys
from engine.marketdata import MarketData
from engine.topics import TopicPublisher

#: Messages of a topic that travel together at most: a cascade may have very many.
_TOGETHER_MAX = 4096
#: How long what was published is kept for listeners at the end, in ms.
_END_LINGER_MS = 500


class MarketPublisher(TopicPublisher):
    """Publishes what happened to the books, after each batch of commands.

    Parameters
    ----------
    endpoint : str
        To bind.
    epoch : int
    exchange : engine.Exchange
        Nobody else may drain its market data.
    channels : collection of str
        What is published, of `engine.wire.CHANNELS`.
    keys : ServerKeys, optional
    context : zmq.Context, optional
        As of `BoundSocket`.

    Notes
    -----
    Complexity: O(messages) a batch; symbols of which nothing is to be said cost nothing.
    """

    def __init__(
        self, endpoint: str, epoch: int, exchange: Exchange,
        channels: Collection[str] = wire.CHANNELS, *, keys: ServerKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.channels = frozenset(channels)
        self._exchange = exchange
        self._data = MarketData(exchange, (), self.channels)
        self._symbol_count = 0
        self._names: dict[tuple[str, str], bytes] = {}
        super().__init__(
            zmq.PUB, endpoint, epoch, keys=keys, domain="market_data", context=context)
        self.publish()

    def publish(self) -> None:
        """Publish what happened since the last time; new symbols begin with a reset."""
        listed = self._exchange.instruments_by_index
        for instrument in listed[self._symbol_count:]:
            self._data.start(instrument.symbol)
        self._symbol_count = len(listed)
        by_topic: dict[bytes, list[dict[str, Any]]] = {}
        for message in self._data.drain():
            by_topic.setdefault(self._name(message), []).append(message)
        for topic, messages in by_topic.items():
            for at in range(0, len(messages), _TOGETHER_MAX):
                self.send(topic, wire.encode_market(
                    self.epoch, messages[at:at + _TOGETHER_MAX]))

    def _name(self, message: dict[str, Any]) -> bytes:
        key = message["channel"], message["symbol"]
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = wire.topic_name(*key)
        return name

    def state(self, channel: str, symbol: str) -> dict[str, Any]:
        """Return the state of a topic, everything that was published included.

        Raises
        ------
        KeyError
            No such symbol.
        """
        return self._data.state(channel, symbol)

    def end(self) -> None:
        """Say that there is no more."""
        self.send_end(sum(map(self.topics.last, self._names.values())), 0)
        self._socket.setsockopt(zmq.LINGER, _END_LINGER_MS)
