import zmq

from engine.packing import plain
from engine.packing.events import EventPacker
from engine.packing.frames import Frames, Poller
from engine.packing.marks import MarkReader, sum_rows

__all__ = ["EventPacker", "Frames", "MarkReader", "Poller", "frames_of", "sum_rows"]

def frames_of(socket: zmq.Socket[bytes]) -> Frames | plain.Frames: ...
