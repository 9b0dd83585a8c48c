"""The clocks of the shell, in one place so that a simulation can put its own there."""

from __future__ import annotations

import time


class Clock:
    """The machine's clocks."""

    def time_ns(self) -> int:
        """Return the wall clock in ns since the epoch; it may step back."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds since some moment; never steps back."""
        return time.monotonic()
