"""The snapshot socket: for a topic, its state and the sequence that this includes.

A listener that has lost messages asks here, and goes on with those after that sequence. Asked
between two batches of commands, so a state never lies inside a message.
"""

from __future__ import annotations

from typing import Any

import zmq

from engine import wire
from engine.clock import Clock
from engine.endpoints import BoundSocket
from engine.exchange import Exchange
from engine.keys import ServerKeys, user_key
from engine.server import EventPublisher, account_of
from engine.serving.access import Access, Caller
from engine.serving.gateway import MALFORMED_MESSAGE, UNKNOWN_CLIENT
from engine.serving.market import MarketPublisher
from engine.serving.roles import Role, may_follow, why_not
from engine.serving.sessions import FORBIDDEN, RATE_LIMITED

#: Requests are answered for so long before the engine gets its turn again; one is always.
_TURN_S = 0.002
#: Answers queued for a client that does not read, before it has to ask again.
_HIGH_WATER_MARK = 256
_REQUEST_SIZE_MAX = 4096
NO_SUCH_TOPIC = "no_such_topic"
#: Answers kept, for those who ask for the same between two commands.
_KEPT_MAX = 64


class _Refused(Exception):
    """A request that may not, or cannot, be answered."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class TopicStates(BoundSocket):
    """Owns the ROUTER socket that answers with states.

    Parameters
    ----------
    endpoint : str
        To bind.
    epoch : int
    exchange : engine.Exchange
    market : MarketPublisher, optional
    events : EventPublisher, optional
    keys : ServerKeys, optional
    access : Access, optional
        Goes with the keys: who is who.
    local_role : Role
        Of everybody, without keys.
    clock : Clock, optional
    context : zmq.Context, optional
        As of `BoundSocket`.

    Attributes
    ----------
    endpoint : str
        As bound.
    """

    def __init__(
        self, endpoint: str, epoch: int, exchange: Exchange,
        market: MarketPublisher | None = None, events: EventPublisher | None = None, *,
        keys: ServerKeys | None = None, access: Access | None = None,
        local_role: Role = Role.ADMIN, clock: Clock | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self._epoch = epoch
        self._exchange = exchange
        self._market = market
        self._events = events
        self._access = access
        self._local = Caller(None, local_role)
        self._kept: dict[str, tuple[int, dict[str, Any]]] = {}
        self._kept_seq = -1
        self._monotonic = (clock or Clock()).monotonic
        super().__init__(zmq.ROUTER, endpoint, {
            zmq.LINGER: 0, zmq.SNDHWM: _HIGH_WATER_MARK, zmq.MAXMSGSIZE: _REQUEST_SIZE_MAX,
        }, keys=keys, domain="snapshots", context=context)

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """To wait on, together with others."""
        return self._socket

    def answer_some(self) -> None:
        """Answer what is waiting, as far as the engine can wait.

        Notes
        -----
        Complexity: O(orders of the book) for a state that nobody asked for since the last
        command.
        """
        ends = self._monotonic() + _TURN_S
        while self._frames.has_news():
            self._answer(self._socket.recv_multipart(copy=False))
            if self._monotonic() >= ends:
                return

    def _answer(self, received: list[zmq.Frame]) -> None:
        frames = [frame.bytes for frame in received]
        token = None
        try:
            caller = self._caller(received[-1])
            if len(frames) != 3 or frames[1] != wire.SNAPSHOT:
                raise wire.WireError("expected 2 frames, snapshot. and a request")
            token, topic = wire.decode_snapshot_request(frames[2])
            self._check(caller, topic)
            sequence, state = self._state(topic)
        except (wire.WireError, _Refused) as error:
            code = error.code if isinstance(error, _Refused) else MALFORMED_MESSAGE
            self._socket.send_multipart([frames[0], wire.REFUSED, wire.encode_refused(
                self._epoch, str(error), wire.SNAPSHOT, token, code)])
            return
        self._socket.send_multipart([frames[0], wire.SNAPSHOT, wire.encode_snapshot(
            self._epoch, token, topic, sequence, state)])

    def _caller(self, frame: zmq.Frame) -> Caller:
        caller = self._local if self._access is None else self._access.caller(user_key(frame))
        if caller is None:
            raise _Refused(UNKNOWN_CLIENT, "the key is not known any more")
        limited = caller.take_tokens(1)
        if limited is not None:
            raise _Refused(RATE_LIMITED, limited)
        return caller

    def _check(self, caller: Caller, topic: str) -> None:
        """Refuse what the caller may not know: the books are for everybody, the rest is not."""
        forbidden = None
        if topic == wire.EVENTS.decode():
            if not may_follow(caller.role, caller.accounts, wire.EVENTS):
                forbidden = f"role {caller.role} may not follow all events"
        elif (account := account_of(topic.encode())) is not None:
            forbidden = why_not(
                caller.role, caller.accounts, {"query": "account", "account": account})
        if forbidden is not None:
            raise _Refused(FORBIDDEN, forbidden)

    def _state(self, topic: str) -> tuple[int, dict[str, Any]]:
        if self._kept_seq != self._exchange.seq or len(self._kept) >= _KEPT_MAX:
            self._kept.clear()
            self._kept_seq = self._exchange.seq
        if topic not in self._kept:
            self._kept[topic] = self._make_state(topic)
        return self._kept[topic]

    def _make_state(self, topic: str) -> tuple[int, dict[str, Any]]:
        if self._events is not None:
            if topic == wire.EVENTS.decode():
                return self._events.topics.last(wire.EVENTS), self._names()
            if (account := account_of(topic.encode())) is not None:
                return self._account(self._events, account)
        channel, _, rest = topic.partition(".")
        if self._market is None or channel not in self._market.channels or rest[-1:] != ".":
            raise _Refused(NO_SUCH_TOPIC, f"{topic!r:.80} is not published here")
        try:
            state = self._market.state(channel, rest[:-1])
        except KeyError:
            raise _Refused(NO_SUCH_TOPIC, f"no such symbol: {rest[:-1]!r:.80}") from None
        return self._market.topics.last(topic.encode()), state

    def _names(self) -> dict[str, Any]:
        exchange = self._exchange
        return {
            "seq": exchange.seq, "ts": exchange.ts, "symbols": exchange.symbols,
            "assets": exchange.assets,
        }

    def _account(self, events: EventPublisher, account: int) -> tuple[int, dict[str, Any]]:
        topic = events.follow_account(account)
        if topic is None:
            raise _Refused(NO_SUCH_TOPIC, "too many accounts are followed")
        exchange = self._exchange
        figures, orders = (
            exchange.query({"query": query, "account": account}) for query in ("account", "orders"))
        state: dict[str, Any] = {
            "seq": exchange.seq, "ts": exchange.ts, "account": None, "orders": []}
        if figures.get("reply") == "account":
            state["account"] = {
                name: value for name, value in figures.items()
                if name not in ("seq", "ts", "reply")}
            state["orders"] = orders["orders"]
        return events.topics.last(topic), state
