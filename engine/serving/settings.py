"""What a journaled server is told: checked before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass

from engine.endpoints import check_endpoint
from engine.errors import InputError
from engine.journal.store import SEGMENT_SIZE, Durability

CLOCKS = ("commands", "wall")
RETAIN = ("all", "snapshots")
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Settings:
    """Settings of `engine serve --journal`; every one is checked on construction.

    Attributes
    ----------
    journal : str
        Folder.
    scenario : str or None
        What an empty journal begins with.
    commands, marks, events : str or None
        Endpoints: clients, the feed, listeners.
    fsync : {"always", "batch", "off"}
    clock : {"commands", "wall"}
        Who gives the time.
    segment_size : int, bytes
    checkpoint_commands : int
    snapshot_commands : int
        0: only at the end.
    retain : {"all", "snapshots"}
        Which segments are kept: all, or those that the snapshots need.
    timeout_s : float
        Longest silence of the feed.
    allow_remote : bool

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
        if self.retain not in RETAIN:
            raise InputError(f"--retain {self.retain}: expected {' or '.join(RETAIN)}")
        if self.commands is None and self.marks is None:
            raise InputError("nothing to serve: give --commands, --marks or both")
        taken = [one for one in (self.commands, self.marks, self.events) if one is not None]
        for endpoint in taken:
            check_endpoint(endpoint, allow_remote=self.allow_remote)
        if len(set(taken)) != len(taken):
            raise InputError("two sockets at one endpoint")

    @property
    def durability(self) -> Durability:
        """`fsync` as the journal takes it."""
        return Durability(self.fsync)
