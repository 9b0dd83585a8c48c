"""What a resting order occupies, and that a warm book allocates nothing.

Measured in a fresh process, since a heap that was used before hides growth: freed memory
is taken again without a trace. The child gets a packed stream through a pipe, and does:
fill the book, run the commands, cancel everything, and the same again on the same book.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.bench.population import Ints
from engine.bench.stream import CANCEL, PLACE, WIDTH, Packed
from engine.bench.ways import new_book
from engine.errors import RunError

_STEPS = 64
_BATCH = 1000
_STATM = Path("/proc/self/statm")


@dataclass
class Memory:
    """Bytes; `heap` is what malloc has handed out, None where libc does not say.

    Attributes
    ----------
    resting : int
        Orders in the full book.
    resident : int
        Growth of resident memory by filling the book.
    resident_worst : float
        Highest growth per order on the way, from a quarter of the orders on.
    heap : int or None
        Growth by filling, room not yet used included.
    first_pass, second_pass : int
        Growth of resident memory by a pass over the commands; before the second the book
        was emptied and filled again.
    second_fill : int
        And by that.
    second_heap : int or None
        Growth of the heap by both.
    """

    resting: int
    resident: int
    resident_worst: float
    heap: int | None
    first_pass: int
    second_fill: int
    second_pass: int
    second_heap: int | None

    @property
    def per_order(self) -> float:
        """Bytes per resting order, resident or on the heap, whichever is more.

        A small book may lie on pages that were resident before, a large one in pages that
        malloc got, but has not filled.
        """
        return max(self.resident, self.heap or 0) / max(1, self.resting)

    @property
    def is_steady(self) -> bool:
        """Whether the second time needed nothing new."""
        return self.second_fill + self.second_pass <= 0 and (self.second_heap or 0) <= 0


def measure_memory(packed: Packed) -> Memory | None:
    """Measure in a process of its own; None where the system does not tell.

    Raises
    ------
    RunError
        The process failed; its last words are in the message.
    """
    if not _STATM.exists():
        return None
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    sizes = [str(len(packed.prefill)), str(len(packed.commands))]
    with subprocess.Popen(
        [sys.executable, "-m", "engine.bench.memory", *sizes], env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:
        said, complaint = child.communicate(
            packed.prefill.tobytes() + packed.commands.tobytes())
    if child.returncode:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise RunError(f"the memory measurement failed: {last}")
    return Memory(**json.loads(said))


# --- the child ------------------------------------------------------------------------


def resident_bytes() -> int:
    """Resident memory of this process in bytes, 0 where the system does not tell."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _MallocInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


def _heap_meter() -> Callable[[], int | None]:
    """Bytes that malloc has handed out (Python's own small objects are elsewhere)."""
    read = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if read is None:
        return lambda: None
    read.restype = _MallocInfo

    def heap() -> int:
        info = read()
        return int(info.uordblks + info.hblkhd)

    return heap


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def _fill(book: Any, prefill: Ints, note: Callable[[int], None]) -> None:
    """Fill the book in steps, telling how many orders are in."""
    step = max(1, -(-len(prefill) // _STEPS))
    for begin in range(0, len(prefill), step):
        part = prefill[begin : begin + step]
        book.run(part)
        note(begin + len(part))


def _run(book: Any, commands: Ints) -> None:
    for begin in range(0, len(commands), _BATCH):
        book.run(commands[begin : begin + _BATCH])
        book.trades()


def _measure(prefill: Ints, commands: Ints) -> Memory:
    placed = np.concatenate((prefill, commands[commands[:, 0] == PLACE]))
    cancels = np.zeros((len(placed), WIDTH), np.int64)
    cancels[:, 0] = CANCEL
    cancels[:, 1:3] = placed[:, 1:3]
    heap, worst = _heap_meter(), [0.0]

    def watch(count: int) -> None:
        if 4 * count >= len(prefill):
            worst[0] = max(worst[0], (resident_bytes() - resident[0]) / count)

    book = new_book()
    resident, heaps = [resident_bytes()], [heap()]
    _fill(book, prefill, watch)
    resident.append(resident_bytes())
    heaps.append(heap())
    _run(book, commands)
    resident.append(resident_bytes())
    book.run(cancels)
    resident.append(resident_bytes())
    heaps.append(heap())
    _fill(book, prefill, watch_nothing)
    resident.append(resident_bytes())
    _run(book, commands)
    resident.append(resident_bytes())
    heaps.append(heap())
    return Memory(
        len(prefill), resident[1] - resident[0], worst[0], _difference(heaps[1], heaps[0]),
        resident[2] - resident[1], resident[4] - resident[3], resident[5] - resident[4],
        _difference(heaps[3], heaps[2]),
    )


def watch_nothing(count: int) -> None:
    """Take no notice."""


def _main() -> None:
    resting, count = map(int, sys.argv[1:3])
    data = sys.stdin.buffer.read((resting + count) * WIDTH * 8)
    rows = np.frombuffer(data, np.int64).reshape(-1, WIDTH)
    json.dump(asdict(_measure(rows[:resting], rows[resting:])), sys.stdout)


if __name__ == "__main__":
    _main()
