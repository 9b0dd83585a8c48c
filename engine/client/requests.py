"""What a client asks and what is answered: the protocol without a socket.

Both clients, the plain and the asyncio one, send what this says and hand it what comes. Asking
again is safe because commands are numbered: what was taken before is answered, not applied a
second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine import wire
from engine.batches import COMMAND_DTYPE, SPECIAL_DTYPE, Packed, to_bytes
from engine.errors import InputError, RunError
from engine.serving.packed import UNAVAILABLE, PackedOutcomes
from engine.serving.sessions import Outcome, is_client_name


class NoAnswer(RunError):
    """The server did not answer in time. Commands may have been taken; ask again to know.

    Attributes
    ----------
    first_request : int or None
        Number of the first command that is in doubt, for sending the same ones again.
    """

    def __init__(self, problem: str, first_request: int | None = None) -> None:
        super().__init__(problem)
        self.first_request = first_request


class Asked:
    """One message to the server, and its answer once there is one.

    Attributes
    ----------
    kind : bytes
    number : int
        First request, or the token of a query.
    count : int
        Commands in it.
    message : list of bytes
        To send, as often as needed.
    answer : object
        Outcomes, the answer to a query, or the last request of a `hello.`.
    error : RunError or None
        Instead of an answer.
    is_settled : bool
    sent_at : float
        When it was sent last, by the monotonic clock of whoever sent it.
    """

    __slots__ = (
        "answer", "count", "error", "is_settled", "kind", "message", "number", "sent_at")

    def __init__(self, kind: bytes, number: int, message: list[bytes], count: int = 0) -> None:
        self.kind = kind
        self.number = number
        self.count = count
        self.message = message
        self.answer: Any = None
        self.error: RunError | None = None
        self.is_settled = False
        self.sent_at = 0.0

    def result(self) -> Any:
        """Return the answer, or raise what came in its place."""
        if self.error is not None:
            raise self.error
        return self.answer


class Requests:
    """Numbers the requests of one client and matches what comes back.

    Parameters
    ----------
    endpoint : str or sequence of str
        Of one server, or of a primary and its standbys.
    name : str
        Of 1 to 64 letters, digits and `._:-`.
    token : int
        Queries are numbered from here on.

    Attributes
    ----------
    next_request : int or None
        Number of the next command; None before the server has told the last one.
    epoch : int or None
        Of the server that answered last.
    ignored_count : int
        Messages that answered nothing that is waited for, or could not be read.
    is_declined : bool
        The server takes nothing any more, and there is another one to ask.

    Raises
    ------
    InputError
        Not a client's name.
    """

    def __init__(self, endpoint: str | Sequence[str], name: str, token: int) -> None:
        self._endpoints = [endpoint] if isinstance(endpoint, str) else list(endpoint)
        if not self._endpoints:
            raise InputError("no endpoint")
        self.is_declined = False
        if not is_client_name(name):
            raise InputError(f"not a client's name: {name!r:.80}")
        self.name = name
        self.next_request: int | None = None
        self.epoch: int | None = None
        self.ignored_count = 0
        self._token = token
        self._waiting: dict[tuple[bytes, int], Asked] = {}  # in the order in which they were asked

    @property
    def endpoint(self) -> str:
        """Of the server that is asked now."""
        return self._endpoints[0]

    def turn_to_next(self) -> None:
        """Ask the next server from now on, where there are several."""
        self._endpoints.append(self._endpoints.pop(0))
        self.is_declined = False

    @property
    def waiting(self) -> list[Asked]:
        """What is not answered, in the order in which it has to be sent again."""
        return list(self._waiting.values())

    @property
    def oldest(self) -> Asked | None:
        """What was asked first of what is not answered, None where nothing is waited for."""
        return next(iter(self._waiting.values()), None)

    def hello(self) -> Asked:
        """Ask for the number of the last request that the server has of this client."""
        under_way = self._waiting.get((wire.HELLO, 0))
        return under_way or self._ask(
            Asked(wire.HELLO, 0, [wire.HELLO, wire.encode_hello(self.name)]))

    def commands(
        self, commands: Sequence[Mapping[str, Any]], first_request: int | None = None
    ) -> Asked:
        """Ask for commands to be taken, under the next numbers or under given ones.

        Raises
        ------
        InputError
            None, or more than fit into a message.
        ValueError
            The numbers are not known yet, or are on their way already.
        """
        if not 0 < len(commands) <= wire.COMMANDS_MAX:
            raise InputError(f"expected 1 to {wire.COMMANDS_MAX} commands, got {len(commands)}")
        first = self._first_number(first_request)
        payload = wire.encode_commands(self.name, first, commands)
        return self._ask_numbered(
            Asked(wire.COMMANDS, first, [wire.COMMANDS, payload], len(commands)))

    def packed(
        self, commands: Packed, specials: Packed | None = None,
        first_request: int | None = None,
    ) -> Asked:
        """Ask for packed commands to be taken, under the next numbers or under given ones.

        Raises
        ------
        InputError
            No commands, or too many rows for a message.
        TypeError, ValueError
            An array of another dtype or shape; or as `commands`.
        """
        rows = to_bytes(commands, COMMAND_DTYPE, "commands")
        terms = b"" if specials is None else to_bytes(specials, SPECIAL_DTYPE, "specials")
        count = len(rows) // COMMAND_DTYPE.itemsize
        if not 0 < count <= wire.PACKED_MAX:
            raise InputError(f"expected 1 to {wire.PACKED_MAX} commands, got {count}")
        if len(terms) > wire.PACKED_MAX * SPECIAL_DTYPE.itemsize:
            raise InputError(f"more than {wire.PACKED_MAX} rows of special terms")
        first = self._first_number(first_request)
        payload = wire.encode_packed(self.name, first, rows, terms)
        return self._ask_numbered(Asked(wire.PACKED, first, [wire.PACKED, payload], count))

    def _first_number(self, given: int | None = None) -> int:
        first = self.next_request if given is None else given
        if first is None:
            raise ValueError("hello first: the number of the last request is not known")
        return first

    def _ask_numbered(self, asked: Asked) -> Asked:
        self._ask(asked)
        self.next_request = max(self.next_request or 0, asked.number + asked.count)
        return asked

    def query(self, query: Mapping[str, Any]) -> Asked:
        """Ask a query."""
        self._token += 1
        payload = wire.encode_query(self._token, dict(query))
        return self._ask(Asked(wire.QUERY, self._token, [wire.QUERY, payload]))

    def _ask(self, asked: Asked) -> Asked:
        key = (asked.kind, asked.number)
        if key in self._waiting:
            raise ValueError(f"request {asked.number} is on its way already")
        self._waiting[key] = asked
        return asked

    def forget(self, asked: Asked) -> None:
        """Wait no longer for an answer."""
        key = (asked.kind, asked.number)
        if self._waiting.get(key) is asked:
            del self._waiting[key]

    def take(self, frames: Sequence[bytes]) -> list[Asked]:
        """Take a message of the server; return what it settles."""
        try:
            if len(frames) != 2:
                raise wire.WireError(f"expected 2 frames, found {len(frames)}")
            settled = self._match(*frames)
        except wire.VersionError as error:
            return self.fail_all(RunError(f"{self.endpoint}: {error}"))
        except wire.WireError:
            settled = []
        if not settled:
            self.ignored_count += 1
        return settled

    def _match(self, kind: bytes, payload: bytes) -> list[Asked]:
        if kind == wire.OUTCOMES:
            self.epoch, client, first, rows = wire.decode_outcomes(payload)
            asked = self._waiting.get((wire.COMMANDS, first))
            if asked is None or (client, len(rows)) != (self.name, asked.count):
                return []  # the answer to another message under these numbers
            outcomes = [Outcome(*row) for row in rows]
            lost = next((each.detail or "" for each in outcomes if each.code == UNAVAILABLE), None)
            return self._settle_applied(asked, outcomes, lost)
        if kind == wire.PACKED_OUTCOMES:
            self.epoch, client, first, parts = wire.decode_packed_outcomes(payload)
            asked = self._waiting.get((wire.PACKED, first))
            count = sum(part[0] for part in parts)
            if asked is None or (client, count) != (self.name, asked.count):
                return []
            lost = next((part[5] or "" for part in parts if part[1] == UNAVAILABLE), None)
            return self._settle_applied(asked, PackedOutcomes.of(parts), lost)
        if kind == wire.ANSWER:
            self.epoch, token, answer = wire.decode_answer(payload)
            return self._settle((wire.QUERY, token), answer)
        if kind == wire.HELLO:
            self.epoch, client, last, _, _ = wire.decode_welcome(payload)
            if client != self.name:
                return []
            if self.next_request is None:
                self.next_request = last + 1
            return self._settle((wire.HELLO, 0), last)
        if kind == wire.REFUSED:
            return self._refuse(payload)
        return []

    def _settle(self, key: tuple[bytes, int], answer: Any) -> list[Asked]:
        asked = self._waiting.pop(key, None)
        if asked is None:
            return []
        asked.answer, asked.is_settled = answer, True
        return [asked]

    def _settle_applied(
        self, asked: Asked, outcomes: list[Outcome] | PackedOutcomes, lost: str | None
    ) -> list[Asked]:
        """Settle with outcomes, or fail where some are lost; `lost` says why."""
        if lost is not None and len(self._endpoints) > 1:
            self.is_declined = True
            return []
        if lost is not None:
            problem = lost or "the server is going down"
            return self._fail(asked, NoAnswer(f"{self.endpoint}: {problem}", asked.number))
        return self._settle((asked.kind, asked.number), outcomes)

    def _refuse(self, payload: bytes) -> list[Asked]:
        self.epoch, detail, code = wire.decode_refused(payload)
        error = RunError(f"{self.endpoint}: {code}: {detail}")
        kind, number = wire.refused_request(payload)
        if kind is None or number is None:
            return self.fail_all(error)  # it does not say which
        asked = self._waiting.get((kind, number))
        return [] if asked is None else self._fail(asked, error)

    def _fail(self, asked: Asked, error: RunError) -> list[Asked]:
        self.forget(asked)
        asked.error, asked.is_settled = error, True
        return [asked]

    def fail_all(self, error: RunError) -> list[Asked]:
        """Settle everything that is waited for with an error."""
        return [failed for asked in self.waiting for failed in self._fail(asked, error)]
