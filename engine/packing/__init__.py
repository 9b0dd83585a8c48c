"""From records of the core to the wire and back; compiled, or plain where that is not built."""

from __future__ import annotations

import zmq

from engine.packing import plain

try:
    from engine.packing.events import EventPacker
    from engine.packing.marks import MarkReader, sum_rows
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("engine.packing."):
        raise
    from engine.packing.plain import EventPacker, MarkReader, sum_rows

try:
    from engine.packing.frames import Frames, Poller
except ImportError:  # not built, or libzmq does not show its functions
    from zmq import Poller

    from engine.packing.plain import Frames

__all__ = ["EventPacker", "Frames", "MarkReader", "Poller", "frames_of", "sum_rows"]


def frames_of(socket: zmq.Socket[bytes]) -> Frames | plain.Frames:
    """Return what reads and writes a socket; what only behaves like one is taken, too."""
    return Frames(socket) if isinstance(socket, zmq.Socket) else plain.Frames(socket)
