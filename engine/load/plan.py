"""What a run of load is to be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.errors import InputError
from engine.load.arrivals import Arrivals
from engine.load.world import TRADERS_MAX
from engine.wire import COMMANDS_MAX

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
#: Most client processes.
CLIENTS_MAX = 64


@dataclass(frozen=True)
class LoadPlan:
    """What is sent, how fast, by whom; checked on construction.

    Attributes
    ----------
    rate : float, commands per second
        Of all clients, in the mean.
    duration_s : float
    arrivals : Arrivals
    mix : tuple of float
        Shares of `engine.load.flow.KINDS`.
    swing : float
        How far the reference price moves, as a share of it.
    clients, traders : int
        Processes, and accounts of each.
    batch : int
        Commands in one message; in process, most in one call.
    is_packed : bool
        Whether the commands of a message travel as one packed table.
    seed : int
        The same plan sends the same commands.
    drain_s : float
        How long is waited for answers at the end.

    Raises
    ------
    InputError
    """

    rate: float
    duration_s: float
    arrivals: Arrivals
    mix: tuple[float, ...]
    swing: float = 0.005
    clients: int = 1
    traders: int = 8
    batch: int = 1
    is_packed: bool = False
    seed: int = 1
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1e8:
            raise InputError(f"--rate {self.rate:g}: expected commands per second above zero")
        if not 0.1 <= self.duration_s <= 30 * 86_400:
            raise InputError(f"--duration {self.duration_s:g}s: expected 0.1 s to 30 days")
        if not 0 <= self.swing <= 0.5:
            raise InputError(f"--swing {self.swing:g}: expected a share from 0 to 0.5")
        for name, value, most in (
            ("clients", self.clients, CLIENTS_MAX), ("traders", self.traders, TRADERS_MAX),
            ("batch", self.batch, COMMANDS_MAX),
        ):
            if not 1 <= value <= most:
                raise InputError(f"--{name} {value}: expected 1 to {most}")


def parse_duration(option: str, text: str) -> float:
    """Return seconds of a time like `500ms`, `30s`, `10m`, `4h`, or a number of seconds.

    Raises
    ------
    InputError

    Examples
    --------
    >>> parse_duration("--duration", "1.5m")
    90.0
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InputError(f"{option} {text}: expected a time like 500ms, 30s, 10m or 4h")
    return float(found[1]) * _UNITS[found[2] or "s"]
