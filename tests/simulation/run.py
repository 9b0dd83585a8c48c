"""One run from one seed: a server that is killed, cut off and started again, and what it promised.

Faults come first; then they are over, and everybody has to get an answer. In the end the server is
stopped in order, and its state, its journal and what everybody was told are compared.
"""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from engine import Exchange
from engine.errors import EngineError, InputError, InvariantViolation
from engine.journal import JournalError
from engine.serving.command import serve, verify
from engine.serving.outside import Outside
from engine.serving.recovery import ReplayError
from engine.serving.settings import Settings
from simulation.actors import COMMANDS, EVENTS, MARKS, Desk, Feed, Listener, Stage, Visitor
from simulation.damage import Damage
from simulation.faults import Faults
from simulation.ledger import Broken, Ledger, require
from simulation.network import Network, Poller
from simulation.storage import Disk, Mount
from simulation.world import MILLISECOND, SECOND, Host, Killed, Process, World

FOLDER = "journal"
#: Simulated time with faults at most, and without any until everybody must have an answer.
_FAULTY_NS = 20 * SECOND
_CALM_NS = 300 * SECOND


@dataclass
class Result:
    """How a run ended.

    Attributes
    ----------
    seed : int
    problem : str or None
        What was not as promised.
    trace : str
        Hash of everything that happened.
    counts : Counter
        Faults that happened, by kind.
    starts, commands, operations : int
        Of the server, in the journal, of the disk.
    log : list of str
        What happened, if it was asked for.
    """

    seed: int
    problem: str | None
    trace: str
    counts: Counter[str]
    starts: int = 0
    commands: int = 0
    operations: int = 0
    log: list[str] = field(default_factory=list)


class _Stop:
    """What `StopSignal` is to the server: set, and its poller wakes up."""

    def __init__(self) -> None:
        self.is_set = False

    def __enter__(self) -> _Stop:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def fileno(self) -> int:
        return -1


class Server:
    """The server's side of a run: one process after another on the same disk."""

    def __init__(self, run: Simulation) -> None:
        self.start_count = 0
        self.is_ready = False
        self.is_stopped = False
        self.process: Process | None = None
        self.rows: dict[str, str] = {}
        self._run = run
        self._stop = _Stop()
        self._poller: Poller | None = None
        self._faults_before = 0

    def start(self) -> None:
        """Begin a process."""
        run = self._run
        self.is_ready = False
        self.start_count += 1
        self._stop = _Stop()
        self._faults_before = run.faults.counts.total()
        self.process = Process(run.world, f"server {self.start_count}", self._main)

    def _main(self) -> None:
        run, process = self._run, self.process
        assert process is not None
        outside = Outside(
            run.world.clock, Mount(run.disk, process),
            lambda: run.network.context(process), self._make_poller)
        try:
            rows, _ = serve(run.settings, run.make_exchange, self._say, outside, self._stop)
            self.rows = dict(rows)
        finally:
            run.world.after(0, "server ended", self._end)

    def _make_poller(self) -> Poller:
        assert self.process is not None
        self._poller = self._run.network.poller(self.process)
        return self._poller

    def _say(self, line: str) -> None:
        run = self._run
        # How long something took is the one thing that a seed does not decide.
        run.world.note("server: " + re.sub(r"[0-9.]+ m?s\b", "", line))
        if line.startswith("ready: "):
            require(not run.damage.is_of_journal, "it serves from a damaged journal")
            self.is_ready = True
        found = re.search(r"commands replayed .* seq (\d+), state_hash (\w+)$", line)
        if found is not None:
            run.ledger.check_state(int(found[1]), found[2], "after recovery")

    @property
    def may_stop(self) -> bool:
        """Whether it serves, and was not asked yet."""
        return self.is_ready and not self._stop.is_set

    def stop(self) -> None:
        """Ask it to end in order."""
        self._stop.is_set = True
        if self._poller is not None and self.process is not None:
            self._poller.is_interrupted = True
            self.process.poke()

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self.process is not None and not self.process.is_done:
            self.process.kill()

    def _end(self) -> None:
        run, process = self._run, self.process
        assert process is not None
        self.process, self.is_ready = None, False
        process.is_dead = True
        run.network.close_all(process)
        error = process.error
        if error is None:
            self.is_stopped = True
            return
        has_fault = run.faults.counts.total() > self._faults_before
        run.after_end(error, has_fault=has_fault)


class Simulation:
    """One run.

    Parameters
    ----------
    seed : int
    core : str
    faults : Faults, optional
        Default: drawn from the seed.
    commands : int, optional
        How many the desks send; default: drawn from the seed.
    is_logged : bool
    """

    def __init__(
        self, seed: int, core: str = "compiled", faults: Faults | None = None, *,
        commands: int | None = None, is_logged: bool = False,
    ) -> None:
        self.seed = seed
        self.core = core
        self.random = Random(f"run {seed}")
        self.faults = faults or Faults.draw(seed)
        self.world = World(seed, is_logged=is_logged)
        self.disk = Disk(self.world, self.faults)
        self.network = Network(self.world, self.faults)
        self.ledger = Ledger(core)
        self.settings = draw_settings(self.random)
        self.damage = Damage(self.disk, self.random, self.faults, FOLDER)
        self.server = Server(self)
        self.desks: list[Desk] = []
        self._commands = commands
        self._problem: str | None = None
        self._is_refused = False

    def make_exchange(self) -> Exchange:
        """Make what the server makes when it starts."""
        return Exchange(core=self.core)

    def run(self) -> Result:
        """Run it to its end."""
        try:
            self._run()
        except Broken as error:
            self._problem = str(error)
        except Exception as error:  # whatever it is, this seed has found something
            self._problem = "".join(traceback.format_exception(error))
        return Result(
            self.seed, self._problem, self.world.trace, self.faults.counts,
            self.server.start_count, len(self.ledger.mirror.entries),
            self.faults.operation_count, self.world.log)

    def _run(self) -> None:
        stage = Stage(self.seed, self.world, self.network, self.faults, self.ledger)
        self._invite(stage)
        self.server.start()
        self._schedule_faults()
        self.world.run(self._is_over, _FAULTY_NS)
        self._check_actors()
        if self._is_refused:
            return
        self._calm_down()
        if not self.world.run(self._is_over, _CALM_NS) and not self._is_refused:
            waiting = [desk.name for desk in self.desks if not desk.process.is_done]
            raise Broken(f"no faults any more, and still without an answer: {waiting}")
        self._check_actors()
        if not self._is_refused:
            self._finish()

    def _invite(self, stage: Stage) -> None:
        drawn = self.random.choice((10, 20, 40, 60, 150))
        count = drawn if self._commands is None else self._commands
        names = ["desk-0", "desk-1", "desk-2"][:self.random.randint(1, 3)]
        self.desks = [Desk(stage, name, count // len(names), is_first=name == "desk-0")
                      for name in names]
        if self.settings.marks is not None:
            Feed(stage)
        if self.settings.events is not None:
            Listener(stage)
        if "flood" in self.faults.events:
            Visitor(stage, "flood", reads=True)
        if "mute" in self.faults.events:
            Visitor(stage, "flood" if "flood" not in self.faults.events else "garbage",
                    reads=False)
        if "garbage" in self.faults.events:
            Visitor(stage, "garbage", reads=True)

    # --- faults with a time of their own ----------------------------------------------

    def _schedule_faults(self) -> None:
        actions = {
            "kill": self._kill, "power_cut": self._kill, "disconnect": self.network.disconnect,
            "clock_jump": self._jump, "disk_full": self._fill_disk,
        }
        for kind in sorted(self.faults.events & set(actions)):
            for _ in range(self.random.randint(1, 4)):
                at = self.random.randrange(1500 * MILLISECOND)
                self.world.after(at, kind, self._if_on(actions[kind]))

    def _if_on(self, action: Callable[[], None]) -> Callable[[], None]:
        def act() -> None:
            if self.faults.is_on and not self._is_refused:
                action()
        return act

    def _kill(self) -> None:
        self.server.kill()

    def _jump(self) -> None:
        self.faults.count("clock_jump")
        self.world.wall_offset += self.random.choice((-3600, -1, 1, 86400)) * SECOND

    def _fill_disk(self) -> None:
        self.disk.capacity = self.disk.size + self.random.choice((0, 100, 5000))

    # --- between two processes ----------------------------------------------------------

    def after_end(self, error: BaseException, *, has_fault: bool) -> None:
        """Judge how a process of the server ended, and begin the next."""
        if isinstance(error, Broken):
            raise error
        if isinstance(error, Killed):
            self.faults.count("kill")
            if self.damage.is_of_journal:
                self.damage.repair()  # it had not come to see it
        else:
            self._judge(error, has_fault=has_fault)
        if self.faults.is_on and self.random.random() < self.faults.power_cut_share:
            self._cut_power()
        if not self._is_refused:
            self._check_journal()
        if not self._is_refused:
            self._begin_again()

    def _judge(self, error: BaseException, *, has_fault: bool) -> None:
        text = f"{type(error).__name__}: {error}"
        if not isinstance(error, EngineError) or isinstance(error, InvariantViolation):
            raise Broken("the server broke: " + "".join(traceback.format_exception(error)))
        require("\n" not in str(error), f"an error of several lines: {text}")
        if self.damage.is_of_journal:
            require(isinstance(error, JournalError), f"a damaged journal, and: {text}")
            self.damage.repair()
            return
        if isinstance(error, JournalError) and "good snapshot" in text and self.damage.repair():
            return
        if self.disk.was_liar and isinstance(error, InputError | ReplayError):
            self.faults.count("refused_after_lie")
            self._is_refused = True
            return
        require(has_fault or self.disk.capacity is not None, f"without a fault: {text}")
        self.faults.count("stopped_serving")

    def _cut_power(self) -> None:
        self.faults.count("power_cut")
        self.disk.cut_power()

    def _check_journal(self) -> None:
        """Whatever has happened: what was acknowledged is there."""
        if self.disk.is_liar:
            self.ledger.forgive()
        try:
            self.ledger.read(FOLDER, self.disk.plain())
        except JournalError as error:
            require(self.disk.was_liar, f"the journal cannot be read: {error}")
            self.faults.count("unreadable_after_lie")
            self._is_refused = True  # with a snapshot it may serve: nobody can say from what
            return
        self.ledger.check()

    def _begin_again(self) -> None:
        if self.faults.is_on:
            self.damage.do(is_liar=self.disk.was_liar)
        if self.disk.capacity is not None and self.random.random() < 0.5:
            self.disk.capacity = None
        delay = self.random.randrange(10 * MILLISECOND, SECOND)
        self.world.after(delay, "start", self.server.start)

    # --- the end ------------------------------------------------------------------------

    def _is_over(self) -> bool:
        return self._is_refused or all(desk.process.is_done for desk in self.desks)

    def _check_actors(self) -> None:
        for desk in self.desks:
            if desk.process.error is not None:
                raise desk.process.error

    def _calm_down(self) -> None:
        self.faults.is_on = False
        self.disk.capacity = None
        self.damage.repair()

    def _finish(self) -> None:
        while not self.server.is_stopped:
            # One that was ending for a fault from before is followed by another one.
            require(self.world.run(self._may_stop, _CALM_NS), "it does not start, or not stop")
            if self._is_refused:
                return
            self.server.stop()
        self.ledger.read(FOLDER, self.disk.plain())
        self.ledger.check()
        rows, mirror = self.server.rows, self.ledger.mirror.exchange
        self.ledger.check_state(int(rows["seq"]), rows["state_hash"], "at the end")
        require(rows["drift"] == "0", f"drift {rows['drift']}")
        mirror.check()
        self._verify(mirror)

    def _may_stop(self) -> bool:
        return self._is_refused or self.server.is_stopped or self.server.may_stop

    def _verify(self, mirror: Exchange) -> None:
        rows, difference = verify(
            FOLDER, self.make_exchange, self.world.note, Mount(self.disk, Host("verify")))
        require(difference is None, f"verify: {difference}")
        found = dict(rows)
        require((found["state_hash"], found["ends_clean"], found["drift"]) == (
            mirror.state_hash(), "yes", "0"), f"verify: {found}")


def draw_settings(random: Random) -> Settings:
    """Draw how the server is set up."""
    settings = Settings(
        journal=FOLDER, commands=COMMANDS,
        marks=MARKS if random.random() < 0.6 else None,
        events=EVENTS if random.random() < 0.6 else None,
        fsync=random.choice(("batch", "batch", "always")),
        clock=random.choice(("commands", "wall")),
        checkpoint_commands=random.choice((3, 20, 1000)),
        snapshot_commands=random.choice((0, 5, 25, 25)),
        retain=random.choice(("all", "snapshots")))
    # Smaller than a server may be told: runs are short, and segments have to end in them.
    object.__setattr__(settings, "segment_size", random.choice((500, 3000, 20_000)))
    return settings

