"""Who may come in, under which name, and how much of the server each may have.

The clients file (TOML) lists public keys with a name, a role, accounts and limits. A socket with
keys asks it about every connection, the gateway about every message.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import FrameType, TracebackType
from typing import Any

from engine.errors import InputError
from engine.keys import KeyPair, ServerKeys, check_public_key
from engine.serving.roles import Role, may_connect, may_follow
from engine.serving.sessions import is_client_name
from engine.serving.toml_file import read_toml
from engine.wire import MESSAGE_SIZE_MAX, PACKED_MAX

_SECOND_NS = 10**9


@dataclass(frozen=True)
class Limits:
    """How much of the server a client may have; every one is checked on construction.

    Attributes
    ----------
    commands_per_second : int
        In the long run; a query or a greeting counts as one command. 0: no limit.
    burst : int, commands
        At once, after a while of silence.
    message_size : int, bytes
        Of a message.
    open_requests : int, commands
        Taken and not answered yet.

    Raises
    ------
    InputError
    """

    commands_per_second: int = 10_000
    burst: int = 20_000
    message_size: int = 4 << 20
    open_requests: int = 4 * PACKED_MAX

    def __post_init__(self) -> None:
        for name, least, most in (
            ("commands_per_second", 0, 10**9), ("burst", 1, 10**9),
            ("message_size", 64, MESSAGE_SIZE_MAX), ("open_requests", 1, 10**9),
        ):
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name}: expected {least} to {most}")


#: For whoever needs no key: somebody on this machine whom the socket file lets in.
NO_LIMITS = Limits(0, 1, MESSAGE_SIZE_MAX, 10**9)


@dataclass(frozen=True)
class ClientEntry:
    """A client of the clients file.

    Attributes
    ----------
    name : str
    key : bytes
        Public, Z85.
    role : Role
    accounts : frozenset of int or None
        Those that it may act for; None: all.
    limits : Limits
    """

    name: str
    key: bytes
    role: Role
    accounts: frozenset[int] | None
    limits: Limits


class Caller:
    """Somebody who sends messages, and what is left of its limits.

    Parameters
    ----------
    name : str or None
        The only name under which it may send; None: any.
    role : Role
    accounts : frozenset of int or None
    limits : Limits

    Attributes
    ----------
    open_requests : int
        Commands taken and not answered yet.
    """

    def __init__(
        self, name: str | None, role: Role, accounts: frozenset[int] | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self.name = name
        self.role = role
        self.accounts = accounts
        self.limits = limits
        self.open_requests = 0
        # In 1e-9 of a token, so that a nanosecond brings a whole number of them.
        self._credit = limits.burst * _SECOND_NS
        self._filled_ns = 0

    def take_tokens(self, count: int, now_ns: int | None = None) -> str | None:
        """Pay for commands; return why not, where there are not enough tokens.

        Parameters
        ----------
        count : int
        now_ns : int, optional
            Default: the monotonic clock.
        """
        rate, burst = self.limits.commands_per_second, self.limits.burst
        if rate == 0:
            return None
        if count > burst:
            return f"{count} commands at once, the burst is {burst}"
        now = time.monotonic_ns() if now_ns is None else now_ns
        if now > self._filled_ns:
            earned = (now - self._filled_ns) * rate
            self._credit = min(burst * _SECOND_NS, self._credit + earned)
            self._filled_ns = now
        missing = count * _SECOND_NS - self._credit
        if missing > 0:
            wait_s = missing / rate / _SECOND_NS
            return f"more than {rate} commands a second; again in {wait_s:.3f} s"
        self._credit = -missing
        return None


class Access:
    """The clients of a server, by key.

    Parameters
    ----------
    entries : sequence of ClientEntry
    """

    def __init__(self, entries: list[ClientEntry]) -> None:
        self._callers: dict[bytes, Caller] = {}
        self.replace(entries)
        #: Connections that were refused; written by the guards of the sockets.
        self.refused_connections = 0

    def admits(self, domain: str, key: bytes) -> bool:
        """Tell whether the holder of a key may connect to a socket."""
        role = self._roles.get(key)
        if role is not None and may_connect(role, domain):
            return True
        self.refused_connections += 1
        return False

    def may_follow(self, key: bytes | None, topic: bytes) -> bool:
        """Tell whether the holder of a key may subscribe to a topic of events."""
        caller = self.caller(key)
        return caller is not None and may_follow(caller.role, caller.accounts, topic)

    def replace(self, entries: list[ClientEntry]) -> None:
        """Put other clients in place of these; who stays keeps what is left of its limits."""
        callers = {}
        for entry in entries:
            caller = Caller(entry.name, entry.role, entry.accounts, entry.limits)
            before = self._callers.get(entry.key)
            is_same = before is not None and (
                before.name, before.role, before.accounts, before.limits) == (
                    caller.name, caller.role, caller.accounts, caller.limits)
            callers[entry.key] = before if is_same and before is not None else caller
        self.entries = entries
        self._callers = callers
        self._roles = {entry.key: entry.role for entry in entries}

    def caller(self, key: bytes | None) -> Caller | None:
        """Return the client that a key belongs to."""
        return None if key is None else self._callers.get(key)

    def keys(self, pair: KeyPair) -> ServerKeys:
        """Return what the server's sockets need to let these clients in and nobody else."""
        return ServerKeys(pair, self.admits)


class Rereading:
    """Reads a clients file again after each SIGHUP; one that is wrong changes nothing.

    Parameters
    ----------
    access : Access
    path : str
    say : callable
        Takes a line about each time.
    wakeup : int
        File that signals are told on: emptied, so that it wakes a poller once and not for good.
    """

    def __init__(
        self, access: Access, path: str, say: Callable[[str], None], wakeup: int
    ) -> None:
        self._access = access
        self._path = path
        self._say = say
        self._wakeup = wakeup
        self._is_due = False
        self._before: Any = None

    def __enter__(self) -> Rereading:
        self._before = signal.signal(signal.SIGHUP, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGHUP, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_due = True

    def poll(self, now_s: float) -> None:
        """Read the file if the signal has come; the time does not matter."""
        if not self._is_due:
            return
        self._is_due = False
        if select.select([self._wakeup], [], [], 0)[0]:
            os.read(self._wakeup, 4096)
        try:
            self._access.replace(read_clients(self._path).entries)
        except InputError as error:
            self._say(f"clients stay as they were: {error}")
        else:
            self._say(f"{self._path}: {len(self._access.entries)} clients")


_LIMIT_NAMES = tuple(field.name for field in fields(Limits))
_ENTRY_NAMES = ("name", "key", "role", "accounts", *_LIMIT_NAMES)


def read_clients(path: str) -> Access:
    """Read a clients file, every part of it checked.

    Raises
    ------
    InputError
        `FILE: client N (NAME): what was wrong`.
    """
    found = read_toml(path)
    try:
        return Access(_entries(found))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _entries(found: Mapping[str, Any]) -> list[ClientEntry]:
    for name in found:
        if name not in ("defaults", "client"):
            raise InputError(f"unknown part {name!r:.60}: expected [defaults] and [[client]]")
    defaults, rows = found.get("defaults", {}), found.get("client", [])
    if not isinstance(defaults, dict):
        raise InputError("[defaults] must be a table")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("[[client]] must be a list of tables")
    if not rows:
        raise InputError("no [[client]]: nobody could connect")
    _limits("[defaults]", defaults, {})
    entries: list[ClientEntry] = []
    for number, row in enumerate(rows, start=1):
        where = f"client {number} ({row.get('name', 'no name')!s:.64})"
        entry = _entry(where, row, defaults)
        for other in entries:
            if entry.name == other.name or entry.key == other.key:
                what = "name" if entry.name == other.name else f"key as {other.name}"
                raise InputError(f"{where}: the same {what} twice")
        entries.append(entry)
    return entries


def _entry(where: str, row: Mapping[str, Any], defaults: Mapping[str, Any]) -> ClientEntry:
    for name in ("name", "key", "role"):
        if not isinstance(row.get(name), str):
            raise InputError(f"{where}: {name} must be a text")
    if not is_client_name(row["name"]):
        raise InputError(f"{where}: a name has 1 to 64 letters, digits and ._:-")
    try:
        key = check_public_key(row["key"])
    except InputError as error:
        raise InputError(f"{where}: key: {error}") from None
    if row["role"] not in list(Role):
        raise InputError(f"{where}: role {row['role']!r:.40}: expected {', '.join(Role)}")
    accounts = row.get("accounts")
    if accounts is not None and not (
        isinstance(accounts, list) and accounts
        and all(type(account) is int and account > 0 for account in accounts)
    ):
        raise InputError(f"{where}: accounts must be a list of account numbers, not empty")
    limits = _limits(
        where, {name: row[name] for name in row if name not in _ENTRY_NAMES[:4]}, defaults)
    return ClientEntry(
        row["name"], key, Role(row["role"]), None if accounts is None else frozenset(accounts),
        limits)


def _limits(where: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Limits:
    for name, value in given.items():
        if name not in _LIMIT_NAMES:
            raise InputError(f"{where}: unknown field {name!r:.60}")
        if type(value) is not int:
            raise InputError(f"{where}: {name} must be an integer, not {value!r:.60}")
    try:
        return Limits(**{**defaults, **given})
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
