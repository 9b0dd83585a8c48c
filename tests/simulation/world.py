"""Time and turns: whatever happens in a simulation comes out of one queue, in one order.

A process is a greenlet that gives its turn back where a real one would wait for a socket. So the
code under test runs as it is, and a seed decides everything.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from random import Random

from greenlet import greenlet

from engine.clock import Clock

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
#: What the wall clock shows when a simulation begins.
_EPOCH_NS = 1_700_000_000 * SECOND


class Killed(BaseException):
    """Thrown into a process that ends at once; nothing that it still does has an effect."""


class Host:
    """Somebody who has sockets: told when something has arrived.

    Parameters
    ----------
    name : str
    on_news : callable, optional
    """

    def __init__(self, name: str, on_news: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.is_dead = False
        self._on_news = on_news

    def poke(self) -> None:
        """Say that something may have arrived."""
        self._on_news()


class Process(Host):
    """A host that runs code which waits.

    Parameters
    ----------
    world : World
    name : str
    main : callable

    Attributes
    ----------
    is_done : bool
    error : BaseException or None
        What it ended with.
    """

    def __init__(self, world: World, name: str, main: Callable[[], None]) -> None:
        super().__init__(name)
        self.is_done = False
        self.error: BaseException | None = None
        self._world = world
        self._main = main
        self._greenlet = greenlet(self._run)
        self._turn = 0
        self._is_waiting = False
        world.after(0, f"start {name}", self._resume)

    def _run(self) -> None:
        try:
            self._main()
        except BaseException as error:
            self.error = error
        self.is_done = True

    def _resume(self) -> None:
        if self.is_done:
            return
        self._turn += 1
        self._is_waiting = False
        self._world.running = self
        self._greenlet.switch()
        self._world.running = None

    def poke(self) -> None:
        """Give a process that waits a turn."""
        if self._is_waiting:
            self._is_waiting = False
            self._give_turn(self._world.random.randrange(5, 60) * MICROSECOND)

    def _give_turn(self, delay_ns: int) -> None:
        turn = self._turn

        def resume() -> None:
            if turn == self._turn:
                self._resume()

        self._world.after(delay_ns, f"turn {self.name}", resume)

    def wait(self, is_ready: Callable[[], bool], timeout_ns: int) -> None:
        """Give the turn back until there is something, or time is up; only from inside."""
        if self.is_dead:
            raise Killed
        deadline = self._world.now + timeout_ns
        while not is_ready() and self._world.now < deadline:
            self._is_waiting = True
            self._give_turn(deadline - self._world.now)
            greenlet.getcurrent().parent.switch()
            if self.is_dead:
                raise Killed

    def kill(self) -> None:
        """End it where it waits; `error` is `Killed` then."""
        self.is_dead = True
        if not self._greenlet:
            self._resume()  # has not begun: the first thing that it does ends it
            return
        self._turn += 1
        self._world.running = self
        self._greenlet.throw(Killed)
        self._world.running = None


class World:
    """The clock, the queue of what will happen, and the record of what did.

    Parameters
    ----------
    seed : int
    is_logged : bool
        Whether `log` keeps what happened, for people.

    Attributes
    ----------
    now : int, ns
    wall_offset : int, ns
        Between the wall clock and the steady one.
    random : random.Random
    running : Process or None
    log : list of str
    """

    def __init__(self, seed: int, *, is_logged: bool = False) -> None:
        self.now = 0
        self.wall_offset = 0
        self.random = Random(f"world {seed}")
        self.running: Process | None = None
        self.log: list[str] = []
        self._is_logged = is_logged
        self._queue: list[tuple[int, int, str, Callable[[], None]]] = []
        self._count = 0
        self._trace = hashlib.blake2b(digest_size=8)

    @property
    def clock(self) -> Clock:
        """What code under test takes for the clocks of its machine."""
        return _WorldClock(self)

    @property
    def trace(self) -> str:
        """A hash of everything that has happened."""
        return self._trace.hexdigest()

    def note(self, what: str, *data: bytes) -> None:
        """Put something into the record."""
        self._trace.update(b"%d %s" % (self.now, what.encode()))
        for each in data:
            self._trace.update(each)
        if self._is_logged:
            size = f" {sum(map(len, data))} bytes" if data else ""
            self.log.append(f"{self.now / SECOND:12.6f} {what}{size}")

    def after(self, delay_ns: int, what: str, action: Callable[[], None]) -> None:
        """Let something happen later."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay_ns, self._count, what, action))

    def spend(self, duration_ns: int) -> None:
        """Let time pass while somebody has the turn: for what a disk takes."""
        self.now += duration_ns

    def run(self, is_over: Callable[[], bool], limit_ns: int) -> bool:
        """Let things happen; tell whether it was over before the limit."""
        limit = self.now + limit_ns
        while not is_over():
            if not self._queue or self._queue[0][0] > limit:
                return False
            due, _, what, action = heapq.heappop(self._queue)
            self.now = max(self.now, due)
            self.note(what)
            action()
        return True


class _WorldClock(Clock):
    def __init__(self, world: World) -> None:
        self._world = world

    def time_ns(self) -> int:
        return _EPOCH_NS + self._world.now + self._world.wall_offset

    def monotonic(self) -> float:
        return self._world.now / SECOND
