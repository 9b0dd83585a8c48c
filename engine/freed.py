"""What a process has freed, given back to the system.

The allocator keeps what is freed in small pieces, and a process that makes and drops large states,
one after the other, seems to grow. Nothing here touches what is in use.
"""

from __future__ import annotations

import ctypes


def return_freed() -> None:
    """Give freed memory back to the system, where libc can (glibc's `malloc_trim`).

    Takes a few milliseconds for a gigabyte; without glibc nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
