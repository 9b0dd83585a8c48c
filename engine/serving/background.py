"""Work on the state as it is now, while the server goes on: in a child process.

`fork` gives the child a copy of all memory that costs nothing until one of the two writes to it.
What the parent waits for is the copying of the page tables.
"""

from __future__ import annotations

import gc
import os
import signal
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

#: Answers longer than what a pipe holds without a reader are cut off.
_ANSWER_MAX = 4096
#: The child leaves the processor to the server where there are not enough of them.
_NICE = 5


class Done(NamedTuple):
    """How work ended.

    Attributes
    ----------
    answer : str
        What the work returned; empty where it failed.
    problem : str or None
        Why it failed, one line.
    pause_s, elapsed_s : float
        How long the server waited for it, and how long it took in all.
    """

    answer: str
    problem: str | None
    pause_s: float
    elapsed_s: float


class Background:
    """One child process at a time.

    Notes
    -----
    The child has none of the parent's threads and keeps none of its files: it touches no socket,
    holds no lock, and leaves without cleaning up what is not its own.
    """

    def __init__(self) -> None:
        self._child: int | None = None
        self._reader = -1
        self._began = self._pause_s = 0.0

    @staticmethod
    def is_available() -> bool:
        """Whether this system can do it."""
        return hasattr(os, "fork")

    @property
    def is_busy(self) -> bool:
        """Whether a child is at work, or its end not yet known."""
        return self._child is not None

    def start(self, work: Callable[[], str]) -> None:
        """Start work in a child; `is_busy` must be false.

        Parameters
        ----------
        work : callable
            Its answer is at most 4,096 bytes long.

        Raises
        ------
        OSError
            There is no room for another process.
        """
        assert self._child is None, "one child at a time"
        began = time.monotonic()
        reader, writer = os.pipe()
        try:
            with warnings.catch_warnings():
                # ZeroMQ's threads are not there in the child, and it does not use them.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if child == 0:
            _run(work, writer)
        os.close(writer)
        os.set_blocking(reader, False)
        self._child, self._reader, self._began = child, reader, began
        self._pause_s = time.monotonic() - began

    def poll(self) -> Done | None:
        """Return how the work ended, once it has; None before, and where there is none."""
        if self._child is None:
            return None
        child, status = os.waitpid(self._child, os.WNOHANG)
        return self._end(status) if child else None

    def stop(self) -> None:
        """End the work, if there is any; what it has not finished is lost."""
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)
            _, status = os.waitpid(self._child, 0)
            self._end(status)

    def _end(self, status: int) -> Done:
        try:
            text = os.read(self._reader, _ANSWER_MAX).decode(errors="replace")
        except BlockingIOError:
            text = ""
        os.close(self._reader)
        self._child, self._reader = None, -1
        elapsed_s = time.monotonic() - self._began
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return Done(text, None, self._pause_s, elapsed_s)
        how = f"ended by signal {-code}" if code < 0 else f"ended with {code}"
        return Done("", text or f"the child process {how}", self._pause_s, elapsed_s)


def _run(work: Callable[[], str], writer: int) -> None:
    """Be the child: work, answer, leave. Never returns."""
    code = 1
    try:
        gc.disable()  # what is garbage here belongs to the parent
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what a key press means
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.closerange(3, writer)
        os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
        os.nice(_NICE)
        answer = work()
        code = 0
    except OSError as error:
        answer = (error.strerror or str(error)).lower()
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    finally:
        try:
            os.write(writer, answer.encode()[:_ANSWER_MAX])
        finally:
            os._exit(code)
