"""What a journaled server is told: checked before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.endpoints import check_endpoint
from engine.errors import InputError
from engine.journal.store import SEGMENT_SIZE, Durability
from engine.keys import ClientKeys, KeyPair, ServerKeys, read_key_pair, read_public_key
from engine.serving.access import Access, read_clients
from engine.serving.feed_settings import FeedSettings
from engine.serving.metrics import check_address
from engine.serving.roles import Role
from engine.serving.snapshots import KEPT
from engine.serving.toml_file import read_toml
from engine.wire import CHANNELS

CLOCKS = ("commands", "wall")
RETAIN = ("all", "snapshots")
STANDBY_LOST = ("wait", "degrade")
#: Snapshots kept at most.
KEPT_MAX = 1000
_MEBIBYTE = 1 << 20

#: Every option of `engine serve` that a file may set, its type, and what it is by default.
OPTIONS: dict[str, tuple[type, Any]] = {
    "scenario": (str, None),
    "marks": (list, None),
    "min_sources": (int, None),
    "max_deviation": (str, None),
    "stale_after": (float, None),
    "pricing": (dict, None),
    "events": (str, None),
    "market_data": (str, None),
    "snapshots_at": (str, None),
    "channels": (str, ",".join(CHANNELS)),
    "journal": (str, None),
    "commands": (str, None),
    "fsync": (str, "batch"),
    "clock": (str, "commands"),
    "checkpoint": (int, 100_000),
    "snapshot": (int, 0),
    "retain": (str, "all"),
    "segment_size": (int, SEGMENT_SIZE // _MEBIBYTE),
    "timeout": (float, 30.0),
    "replication": (str, None),
    "follow": (str, None),
    "standby_required": (int, 0),
    "standby_timeout": (float, 5.0),
    "standby_lost": (str, "wait"),
    "fence_wait": (float, 1.0),
    "core": (str, "compiled"),
    "allow_remote": (bool, False),
    "key": (str, None),
    "clients": (str, None),
    "feed_key": (str, None),
    "follow_key": (str, None),
    "local_role": (str, "admin"),
    "metrics": (str, None),
    "log": (str, "text"),
}
_TYPE_NAMES = {
    str: "a text", int: "an integer", float: "a number", bool: "true or false",
    list: "a text or a list of texts", dict: "a table or the name of a file"}


def read_options(path: str) -> dict[str, Any]:
    """Read options from a TOML file, every one checked.

    Raises
    ------
    InputError
        Missing file, not TOML, an unknown option, one of a wrong type.
    """
    found = read_toml(path)
    for name, value in found.items():
        if name not in OPTIONS:
            raise InputError(f"{path}: unknown option {name!r:.60}")
        wanted = OPTIONS[name][0]
        is_whole = wanted is float and type(value) is int
        is_list = wanted is list and _is_texts(value)
        is_path = wanted is dict and isinstance(value, str)
        if (type(value) is not wanted or wanted is list) and not (is_whole or is_list or is_path):
            raise InputError(f"{path}: {name} must be {_TYPE_NAMES[wanted]}, not {value!r:.60}")
    if isinstance(found.get("marks"), str):
        found["marks"] = [found["marks"]]
    return found


def _is_texts(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def merge_options(path: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options: those given, else those of the file, else the defaults.

    Parameters
    ----------
    path : str or None
        Of a TOML file.
    given : mapping
        From the command line; None is not given.

    Raises
    ------
    InputError
    """
    options = {name: default for name, (_, default) in OPTIONS.items()}
    if path is not None:
        options |= read_options(path)
    return options | {name: value for name, value in given.items() if value is not None}


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= KEPT_MAX


@dataclass(frozen=True)
class Settings:
    """Settings of `engine serve --journal`; checked on construction.

    Attributes
    ----------
    journal : str
        Folder.
    scenario : str or None
        What an empty journal begins with.
    commands, marks, events : str or None
        Endpoints: clients, the feed, listeners.
    feeds : FeedSettings or None
        Several publishers, or one by rules, in place of `marks`.
    market_data, snapshots_at : str or None
        Endpoints: listeners to market data, and where they get the state of a topic.
    channels : str
        Of market data, with commas between.
    fsync : {"always", "batch", "off"}
    clock : {"commands", "wall"}
        Who gives the time.
    segment_size : int, bytes
    checkpoint_commands : int
    snapshot_commands : int
        0: only at the end.
    retain : str
        Which segments are kept: `all`, or those that the latest snapshots need (`snapshots`: two
        of them, or their number; with 1 all are kept).
    timeout_s : float
        Longest silence of the feed; the command line checks it.
    allow_remote : bool
    replication : str or None
        Endpoint for standbys, and for whoever tells this one to take over.
    follow : str or None
        Endpoint of a primary: be its standby until told to take over.
    standby_required : int
        Standbys that must have a batch before it is answered.
    standby_timeout_s : float
        How long to wait for them.
    standby_lost : {"wait", "degrade"}
        Then: answer nothing until they are back, or go on without them.
    fence_wait_s : float
        How long a primary listens for a server that has taken over, before it serves.
    key : str or None
        Secret key file of the server; with `clients` every socket that it binds has keys.
    clients : str or None
        File of those who may connect.
    feed_key : str or None
        Public key file of the feed's publisher; goes with `key`.
    follow_key : str or None
        Public key file of the primary that is followed; goes with `key`.
    local_role : {"trade", "read", "feed", "admin"}
        Of everybody who reaches the commands socket, where there are no keys.
    metrics : str or None
        `127.0.0.1:PORT` of the pages for Prometheus and health checks.

    Raises
    ------
    InputError
    """

    journal: str
    scenario: str | None = None
    commands: str | None = None
    marks: str | None = None
    events: str | None = None
    fsync: str = "batch"
    clock: str = "commands"
    segment_size: int = SEGMENT_SIZE
    checkpoint_commands: int = 100_000
    snapshot_commands: int = 0
    retain: str = "all"
    timeout_s: float = 30.0
    allow_remote: bool = False
    feeds: FeedSettings | None = None
    replication: str | None = None
    follow: str | None = None
    standby_required: int = 0
    standby_timeout_s: float = 5.0
    standby_lost: str = "wait"
    fence_wait_s: float = 1.0
    key: str | None = None
    clients: str | None = None
    feed_key: str | None = None
    follow_key: str | None = None
    local_role: str = Role.ADMIN
    metrics: str | None = None
    market_data: str | None = None
    snapshots_at: str | None = None
    channels: str = ",".join(CHANNELS)

    def __post_init__(self) -> None:
        names = [member.value for member in Durability]
        if self.fsync not in names:
            raise InputError(f"--fsync {self.fsync}: expected {', '.join(names)}")
        if self.clock not in CLOCKS:
            raise InputError(f"--clock {self.clock}: expected {' or '.join(CLOCKS)}")
        if not _MEBIBYTE <= self.segment_size <= 1024 * _MEBIBYTE:
            raise InputError("--segment-size: expected 1 to 1024 MiB")
        if self.checkpoint_commands < 1:
            raise InputError("--checkpoint: expected at least 1 command")
        if self.snapshot_commands < 0:
            raise InputError("--snapshot: expected at least 1 command, or 0 for the end only")
        if self.retain not in RETAIN and not _is_count(self.retain):
            raise InputError(
                f"--retain {self.retain}: expected {' or '.join(RETAIN)}, or a number of them "
                f"from 1 to {KEPT_MAX}")
        if self.commands is None and self.marks is None and self.feeds is None:
            raise InputError("nothing to serve: give --commands, --marks or both")
        self._check_keys()
        if self.metrics is not None:
            check_address(self.metrics)
        self._check_standby()
        for channel in self.channel_names:
            if channel not in CHANNELS:
                raise InputError(f"--channels: {channel!r:.40} is none of {', '.join(CHANNELS)}")
        if self.snapshots_at is not None and self.market_data is None and self.events is None:
            raise InputError("--snapshots-at: give --market-data, --events or both")
        taken = [one for one in (
            self.commands, self.marks, self.events, self.market_data, self.snapshots_at,
            self.replication, self.follow)
            if one is not None]
        if self.feeds is not None:
            taken += [one for address in self.feeds.addresses for one in address.endpoints]
        bound = (
            self.commands, self.events, self.market_data, self.snapshots_at, self.replication)
        for endpoint in taken:
            keys = self.server_keys if endpoint in bound else (
                self.follow_keys if endpoint == self.follow else self.feed_keys)
            check_endpoint(
                endpoint, allow_remote=self.allow_remote, has_keys=keys is not None)
        # The system finds a port of its own for each that binds one of its choice.
        named = [one for one in taken if not (one in bound and one.endswith(":*"))]
        if len(set(named)) != len(named):
            raise InputError("two sockets at one endpoint")

    def _check_keys(self) -> None:
        if self.local_role not in list(Role):
            raise InputError(f"--local-role {self.local_role}: expected {', '.join(Role)}")
        others = (self.clients, self.feed_key, self.follow_key)
        if self.key is None and others != (None, None, None):
            raise InputError("--clients, --feed-key and --follow-key need --key, the server's own")
        if self.key is not None and others == (None, None, None):
            raise InputError("--key needs --clients, --feed-key or --follow-key")

    @cached_property
    def _pair(self) -> KeyPair | None:
        return None if self.key is None else read_key_pair(self.key)

    @cached_property
    def access(self) -> Access | None:
        """Who may connect; None where there are no keys."""
        return None if self.clients is None else read_clients(self.clients)

    @cached_property
    def server_keys(self) -> ServerKeys | None:
        """For every socket that the server binds."""
        if self.access is None or self._pair is None:
            return None
        return self.access.keys(self._pair)

    @cached_property
    def follow_keys(self) -> ClientKeys | None:
        """For the socket on which a standby follows its primary."""
        if self.follow_key is None or self._pair is None:
            return None
        return ClientKeys(self._pair, read_public_key(self.follow_key))

    @cached_property
    def feed_keys(self) -> ClientKeys | None:
        """For the sockets on which the server follows feeds."""
        if self.feed_key is None or self._pair is None:
            return None
        return ClientKeys(self._pair, read_public_key(self.feed_key))

    def _check_standby(self) -> None:
        if self.standby_required < 0:
            raise InputError("--standby-required: expected a number of standbys from 0")
        if self.standby_required and self.replication is None:
            raise InputError("--standby-required needs --replication, where standbys connect")
        if self.standby_lost not in STANDBY_LOST:
            raise InputError(
                f"--standby-lost {self.standby_lost}: expected {' or '.join(STANDBY_LOST)}")
        for name, seconds, least in (
            ("--standby-timeout", self.standby_timeout_s, 0.01),
            ("--fence-wait", self.fence_wait_s, 0.0),
        ):
            if not least <= seconds <= 3600:  # also refuses what is not a number
                raise InputError(
                    f"{name} {seconds:g}: expected seconds between {least:g} and 3600")

    @property
    def snapshots_kept(self) -> int:
        """How many snapshots are kept."""
        return int(self.retain) if _is_count(self.retain) else KEPT

    @property
    def channel_names(self) -> list[str]:
        """`channels`, one by one."""
        return [name.strip() for name in self.channels.split(",")]

    @property
    def durability(self) -> Durability:
        """`fsync` as the journal takes it."""
        return Durability(self.fsync)
