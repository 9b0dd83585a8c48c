"""What a server takes from its machine: clocks, disk, sockets. A simulation gives its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import zmq

from engine.clock import Clock
from engine.journal import Storage
from engine.packing import Poller


class AnyPoller(Protocol):
    """Waits on sockets and on numbers of files."""

    def register(self, one: Any, flags: int, /) -> None:
        """Wait for one more, from now on."""

    def unregister(self, one: Any, /) -> None:
        """Do not wait for one any more."""

    def poll(self, timeout_ms: int, /) -> object:
        """Wait until any of them has something to be read."""


@dataclass(frozen=True)
class Outside:
    """Everything that can fail or vary between two runs on the same commands.

    Attributes
    ----------
    clock : Clock
    storage : Storage
    make_context : callable
        Makes a ZeroMQ context, from which all sockets come.
    make_poller : callable
        Makes something to wait on several sockets with.
    """

    clock: Clock = field(default_factory=Clock)
    storage: Storage = field(default_factory=Storage)
    make_context: Callable[[], zmq.Context[zmq.Socket[bytes]]] = zmq.Context
    make_poller: Callable[[], AnyPoller] = Poller

    @property
    def may_fork(self) -> bool:
        """Whether a child process would see the same disk."""
        return type(self.storage) is Storage
