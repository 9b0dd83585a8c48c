"""What goes wrong, drawn from the seed: some kinds of fault in each run, each at its own rate."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from simulation.world import MICROSECOND, MILLISECOND, SECOND

#: Chance of a fault of the disk at one operation, where a run has that kind.
_DISK_RATES = {
    "crash": (0.001, 0.005, 0.02),
    "torn": (0.01, 0.05),
    "torn_eio": (0.01, 0.05),
    "eio": (0.002, 0.01),
    "enospc": (0.005, 0.02),
    "sync_eio": (0.01, 0.05),
    "lie": (0.02, 0.2, 1.0),
    "slow": (0.05, 0.5),
}
_WRITES = ("write", "allocate")
_SYNCS = ("sync", "sync_folder")
#: Operations that a kind of fault can befall.
_BEFALLS = {
    "crash": ("open", "allocate", "write", "sync", "truncate", "rename", "remove", "sync_folder"),
    "torn": _WRITES,
    "torn_eio": _WRITES,
    "eio": ("list", "read", "open", "allocate", "write", "truncate", "rename", "remove"),
    "enospc": ("open", *_WRITES),
    "sync_eio": _SYNCS,
    "lie": _SYNCS,
}
_NETWORK_RATES = {
    "lost": (0.01, 0.1, 0.3),
    "doubled": (0.01, 0.1, 0.3),
    "delayed": (0.01, 0.1),
    "reordered": (0.1, 0.5),
}
#: Chance that a run has a visitor of a kind, or that something of a kind happens in it.
_EVENTS = {
    "kill": 0.4, "power_cut": 0.4, "clock_jump": 0.3, "disk_full": 0.15, "snapshot_damage": 0.3,
    "journal_damage": 0.15, "flood": 0.2, "mute": 0.2, "garbage": 0.3, "client_restart": 0.3,
    "disconnect": 0.3,
}


@dataclass
class Faults:
    """The faults of one run.

    Attributes
    ----------
    random : random.Random
    rates : dict
        Chance of each kind of fault that the run has, at each opportunity.
    events : set of str
        Kinds that happen at a time of their own.
    fail_at : int
        Number of the disk operation, from 1, at which `fail_with` happens whatever the rates are.
    fail_with : str
    power_cut_share : float
        Of the ends of a server.
    counts : Counter
        Faults that happened.
    operation_count : int
        Of the disk.
    is_on : bool
        False in the end, when everybody has to get an answer.
    """

    random: Random
    rates: dict[str, float] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    fail_at: int = 0
    fail_with: str = ""
    power_cut_share: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    operation_count: int = 0
    is_on: bool = True

    @classmethod
    def draw(cls, seed: int) -> Faults:
        """Draw which kinds of fault a run has, and how many."""
        random = Random(f"faults {seed}")
        faults = cls(random)
        if random.random() < 0.05:
            return faults  # a run without any has to do as well
        for kind, choices in {**_DISK_RATES, **_NETWORK_RATES}.items():
            if random.random() < (0.1 if kind in ("lie", "eio", "enospc") else 0.25):
                faults.rates[kind] = random.choice(choices)
        faults.events = {kind for kind, chance in _EVENTS.items() if random.random() < chance}
        faults.power_cut_share = 0.7 if "power_cut" in faults.events else 0.0
        return faults

    def count(self, kind: str) -> None:
        """Note that a fault happened."""
        self.counts[kind] += 1

    def happens(self, kind: str) -> bool:
        """Tell whether a fault happens now, and count it."""
        rate = self.rates.get(kind, 0.0)
        if not self.is_on or not rate or self.random.random() >= rate:
            return False
        self.counts[kind] += 1
        return True

    def on_disk(self, operation: str) -> str:
        """Return what goes wrong with an operation of the disk, "" for nothing."""
        self.operation_count += 1
        if self.operation_count == self.fail_at:
            if operation in _BEFALLS[self.fail_with]:
                self.counts[self.fail_with] += 1
                return self.fail_with
            self.fail_at += 1
        for kind, operations in _BEFALLS.items():
            if kind in self.rates and operation in operations and self.happens(kind):
                return kind
        return ""

    def duration(self, operation: str) -> int:
        """Return how long an operation of the disk takes, in ns."""
        if operation not in _SYNCS:
            return 5 * MICROSECOND
        if self.happens("slow"):
            return self.random.choice((20 * MILLISECOND, 300 * MILLISECOND, 3 * SECOND))
        return self.random.randrange(100 * MICROSECOND, 2 * MILLISECOND)
