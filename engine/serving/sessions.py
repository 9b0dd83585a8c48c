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

import numpy as np

from engine.serving.packed import UNAVAILABLE, Checksums, PackedOutcome, Part, Taken

#: Outcomes remembered for each client.
WINDOW = 1024
#: As so many of them counts a message of packed commands, however many they are.
PACKED_LOAD = 16
#: Clients known at most. None is ever forgotten: its requests could be applied again.
CLIENTS_MAX = 10_000

ACCEPTED = "accepted"
REJECTED = "rejected"
MALFORMED = "malformed"
TOO_OLD = "request_too_old"
REUSED = "request_reused"
TOO_MANY_CLIENTS = "too_many_clients"
FORBIDDEN = "forbidden"
RATE_LIMITED = "rate_limited"
TOO_MANY_OPEN = "too_many_open"

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


#: A request alone: checksum of the command, and its outcome or None while it is under way.
_Single = tuple[int, Outcome | None]


@dataclass
class _Client:
    last_request: int = 0
    #: By request, of packed ones by the first.
    window: OrderedDict[int, _Single | Taken] = field(default_factory=OrderedDict)
    #: How much of the window is used up.
    load: int = 0

    def covering(self, request: int) -> tuple[int, Taken] | None:
        """The packed requests among which one is, and the first of them."""
        for first, entry in self.window.items():
            if isinstance(entry, Taken) and first <= request < first + len(entry.checksums):
                return first, entry
        return None

    def put(self, request: int, entry: _Single | Taken, limit: int) -> None:
        """Remember a new request, and forget what the window has no room for."""
        self.window[request] = entry
        self.load += PACKED_LOAD if isinstance(entry, Taken) else 1
        while self.load > limit and len(self.window) > 1:
            _, oldest = self.window.popitem(last=False)
            self.load -= PACKED_LOAD if isinstance(oldest, Taken) else 1


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
        if isinstance(taken, Taken) or (taken is None and known.covering(request)):
            return Outcome(REUSED, detail="packed commands were sent under this number")
        if taken is None:
            return Outcome(TOO_OLD, detail=f"the last request was {known.last_request}")
        if taken[0] != checksum:
            return Outcome(REUSED, detail="another command was sent under this number")
        return taken[1] or Outcome(UNAVAILABLE)

    def admit(self, client: str, request: int, checksum: int) -> None:
        """Take a new request; its outcome follows."""
        known = self._client(client)
        known.last_request = request
        known.put(request, (checksum, None), self._window)

    def settle(self, client: str, request: int, outcome: Outcome) -> None:
        """Remember what became of an admitted request."""
        window = self._clients[client].window
        entry = window.get(request)
        if entry is not None and not isinstance(entry, Taken):
            window[request] = (entry[0], outcome)

    def is_new(self, client: str, first: int) -> bool:
        """Tell whether requests of a known client are all new, from this number on."""
        known = self._clients.get(client)
        return known is not None and first > known.last_request

    def parts(self, client: str, first: int, checksums: Checksums) -> list[Part]:
        """Divide packed requests into those that are new and those that were there before.

        Parameters
        ----------
        client : str
        first : int
            Number of the first request; the following ones count on.
        checksums : array of uint32
            One a request.

        Returns
        -------
        list of Part
            In order; new ones are one part, the last.
        """
        count = len(checksums)
        known = self._clients.get(client)
        if known is None:
            is_full = len(self._clients) >= self._clients_max
            return [Part(0, count, TOO_MANY_CLIENTS if is_full else None)]
        old = min(count, max(0, known.last_request + 1 - first))
        parts = _old_parts(known, first, checksums[:old]) if old else []
        return [*parts, Part(old, count)] if old < count else parts

    def admit_packed(self, client: str, first: int, checksums: Checksums) -> Taken:
        """Take new packed requests; their outcome is put into what is returned."""
        known = self._client(client)
        known.last_request = first + len(checksums) - 1
        taken = Taken(checksums)
        known.put(first, taken, self._window)
        return taken

    def _client(self, name: str) -> _Client:
        known = self._clients.get(name)
        if known is None:
            known = self._clients[name] = _Client()
        return known

    def dump(self) -> list[list[Any]]:
        """Return everything that `from_dump` needs, as lists: nothing may be under way."""
        return [
            [name, known.last_request,
             [_dumped(request, entry) for request, entry in known.window.items()]]
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
            known = sessions._clients[name] = _Client(last_request)
            for request, *entry in window:
                known.put(request, _from_dumped(entry), sessions._window)
        return sessions


def _old_parts(known: _Client, first: int, checksums: Checksums) -> list[Part]:
    """Tell what is known about packed requests that are not new."""
    entries = sorted(
        (request, entry) for request, entry in known.window.items()
        if first < request + _size(entry) and request < first + len(checksums))
    parts, at = [], 0
    for request, entry in entries:
        start = max(at, request - first)
        if start > at:
            parts.append(_too_old(at, start, known))
        at = min(len(checksums), request + _size(entry) - first)
        offset = first + start - request
        if isinstance(entry, Taken) and np.array_equal(
                entry.checksums[offset:offset + at - start], checksums[start:at]):
            parts.append(Part(start, at, taken=entry, offset=offset))
        else:
            parts.append(Part(
                start, at, REUSED, detail="other commands were sent under these numbers"))
    return [*parts, _too_old(at, len(checksums), known)] if at < len(checksums) else parts


def _too_old(start: int, stop: int, known: _Client) -> Part:
    return Part(start, stop, TOO_OLD, detail=f"the last request was {known.last_request}")


def _size(entry: _Single | Taken) -> int:
    return len(entry.checksums) if isinstance(entry, Taken) else 1


def _dumped(request: int, entry: _Single | Taken) -> list[Any]:
    if not isinstance(entry, Taken):
        return [request, *entry]
    return [request, entry.checksums.astype("<u4").tobytes(), *(entry.outcome or ())]


def _from_dumped(entry: list[Any]) -> _Single | Taken:
    if len(entry) == 2:
        checksum, outcome = entry
        return checksum, Outcome(*outcome)
    checksums, first_seq, ts, rejections = entry
    return Taken(
        np.frombuffer(checksums, "<u4").astype(np.uint32),
        PackedOutcome(first_seq, ts, rejections))
