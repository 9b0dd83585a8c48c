"""Which requests of which client were taken, and what became of the latest of them.

A client numbers its requests upwards. A number that was taken is never taken again: the latest
get the outcome they had, older ones are told that they are too old. So a command that is sent
again, after a reconnect or a restart of either side, is applied at most once.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: Outcomes remembered for each client.
WINDOW = 1024
#: Clients known at most. None is ever forgotten: its requests could be applied again.
CLIENTS_MAX = 10_000

ACCEPTED = "accepted"
REJECTED = "rejected"
MALFORMED = "malformed"
TOO_OLD = "request_too_old"
REUSED = "request_reused"
TOO_MANY_CLIENTS = "too_many_clients"
UNAVAILABLE = "unavailable"

#: Other characters are left to the names that the server itself gives (`feed/…`).
_CLIENT = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Outcome(NamedTuple):
    """What became of one request.

    Attributes
    ----------
    code : str
        `accepted` and `rejected` were applied, the rest was not.
    seq : int or None
        Of the command, where it was applied.
    ts : int or None
        Engine time after it, ns.
    reason : str or None
        Of a rejection.
    detail : str or None
    """

    code: str
    seq: int | None = None
    ts: int | None = None
    reason: str | None = None
    detail: str | None = None


@dataclass
class _Client:
    last_request: int = 0
    #: request → (checksum of the command, outcome or None while it is under way)
    window: OrderedDict[int, tuple[int, Outcome | None]] = field(default_factory=OrderedDict)


def is_client_name(value: object) -> bool:
    """Tell whether a client may call itself so."""
    return isinstance(value, str) and _CLIENT.fullmatch(value) is not None


class Sessions:
    """The requests of all clients; rebuilt from the journal, entry by entry.

    Parameters
    ----------
    window : int
    clients_max : int
    """

    def __init__(self, window: int = WINDOW, clients_max: int = CLIENTS_MAX) -> None:
        self._window = window
        self._clients_max = clients_max
        self._clients: dict[str, _Client] = {}

    def last_request(self, client: str) -> int:
        """Return the highest number taken from a client, 0 where there is none."""
        known = self._clients.get(client)
        return 0 if known is None else known.last_request

    def refusal(self, client: str, request: int, checksum: int) -> Outcome | None:
        """Return why a request is not to be applied, None if it is new.

        One that is under way or done has its outcome in `outcome`, once there is one.
        """
        known = self._clients.get(client)
        if known is None:
            is_full = len(self._clients) >= self._clients_max
            return Outcome(TOO_MANY_CLIENTS) if is_full else None
        if request > known.last_request:
            return None
        taken = known.window.get(request)
        if taken is None:
            return Outcome(TOO_OLD, detail=f"the last request was {known.last_request}")
        if taken[0] != checksum:
            return Outcome(REUSED, detail="another command was sent under this number")
        return taken[1] or Outcome(UNAVAILABLE)

    def admit(self, client: str, request: int, checksum: int) -> None:
        """Take a new request; its outcome follows."""
        known = self._clients.setdefault(client, _Client())
        known.last_request = request
        known.window[request] = (checksum, None)
        if len(known.window) > self._window:
            known.window.popitem(last=False)

    def settle(self, client: str, request: int, outcome: Outcome) -> None:
        """Remember what became of an admitted request."""
        window = self._clients[client].window
        if request in window:
            window[request] = (window[request][0], outcome)

    def dump(self) -> list[list[Any]]:
        """Return everything that `from_dump` needs, as lists: nothing may be under way."""
        return [
            [name, known.last_request,
             [[request, checksum, outcome] for request, (checksum, outcome)
              in known.window.items()]]
            for name, known in self._clients.items()
        ]

    @classmethod
    def from_dump(cls, rows: list[list[Any]]) -> Sessions:
        """Return the sessions of a dump.

        Raises
        ------
        TypeError, ValueError
            It is none.
        """
        sessions = cls()
        for name, last_request, window in rows:
            sessions._clients[name] = _Client(last_request, OrderedDict(
                (request, (checksum, Outcome(*outcome)))
                for request, checksum, outcome in window))
        return sessions
