"""Helpers of the shell's tests: real data, processes, endpoints, one small scenario."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.publishers import Publisher
from support.servers import Server

REPOSITORY = Path(__file__).resolve().parents[2]


def _core_name() -> str:
    try:
        import engine.core as core
    except ImportError:
        return "reference"
    return "compiled" if hasattr(core, "ExchangeCore") else "reference"


CORE = _core_name()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of recorded market data, which is not part of the project."""
    place = os.environ.get("ENGINE_TEST_DATA")
    folder = Path(place) if place else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no recorded data at {folder} (set ENGINE_TEST_DATA)")
    return folder


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A fresh ipc endpoint with a short path."""
    with tempfile.TemporaryDirectory(prefix="eng") as folder:
        yield f"ipc://{folder}/marks"


TIERS = [
    {"min_notional": "0", "max_notional": "100000", "maintenance_margin_rate": "0.005",
     "max_leverage": "100"},
    {"min_notional": "100000", "max_notional": None, "maintenance_margin_rate": "0.02",
     "max_leverage": "20"},
]


def scenario_lines(symbols: dict[str, str]) -> list[dict]:
    """A few accounts long at ten to forty times, and one that takes the other side."""
    lines: list[dict] = [{"cmd": "asset", "asset": "USDT", "decimals": 6}]
    for symbol in symbols:
        lines.append({
            "cmd": "instrument", "symbol": symbol, "kind": "linear", "base": symbol,
            "quote": "USDT", "settle": "USDT", "tick_size": "0.1", "mark_tick": "0.01",
            "lot_size": "0.001", "liquidation_fee": "0.001", "tiers": TIERS,
        })
    marks = [{"symbol": symbol, "mark_price": price} for symbol, price in symbols.items()]
    lines.append({"cmd": "marks", "marks": marks})
    lines.append({"cmd": "insurance", "asset": "USDT", "amount": "100"})
    lines.append({"cmd": "account", "account": 99})
    lines.append({"cmd": "deposit", "account": 99, "asset": "USDT", "amount": "100000000"})
    for account in range(1, 9):
        mode = "cross" if account % 2 else "isolated"
        lines.append({"cmd": "account", "account": account, "margin_mode": mode})
        lines.append({
            "cmd": "deposit", "account": account, "asset": "USDT", "amount": str(700 * account),
        })
        for symbol, price in symbols.items():
            lines += [
                {"cmd": "leverage", "account": account, "symbol": symbol, "leverage": "10"},
                {"cmd": "fill", "account": account, "symbol": symbol, "side": "buy",
                 "quantity": "0.1", "price": price},
                {"cmd": "fill", "account": 99, "symbol": symbol, "side": "sell",
                 "quantity": "0.1", "price": price},
            ]
    return lines


class Shell:
    """Runs `python -m engine …` as a user would; ends what still runs by its id."""

    def __init__(self, folder: Path) -> None:
        self.core = CORE
        self._folder = folder
        self._running: list[subprocess.Popen[str]] = []
        self._environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

    def start(self, *arguments: str, module: str = "engine") -> subprocess.Popen[str]:
        """Start a process."""
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=self._folder, text=True,
            env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._running.append(process)
        return process

    def run(self, *arguments: str, stdin: str | None = None, module: str = "engine") -> Done:
        """Run a process to its end."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=self._folder, text=True,
            env=self._environment, input="" if stdin is None else stdin, capture_output=True,
            timeout=60, check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def finish(self, process: subprocess.Popen[str], timeout_s: float = 60) -> Done:
        """Wait for a started process."""
        out, err = process.communicate(timeout=timeout_s)
        return Done(process.returncode, out, err)

    def scenario(self, **prices: str) -> str:
        """Write a scenario on symbols and return its path."""
        path = self._folder / "scenario.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in scenario_lines(prices)))
        return str(path)

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate()


@dataclass
class Done:
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, str]:
        """The `key  value` lines of the output."""
        pairs = (line.split(None, 1) for line in self.out.splitlines())
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}

    @property
    def only_error(self) -> str:
        """The one line on stderr."""
        assert self.err.count("\n") == 1, self.err
        return self.err.rstrip("\n")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Processes that work in a folder of their own."""
    it = Shell(tmp_path)
    yield it
    it.close()


@pytest.fixture
def server(shell: Shell, tmp_path: Path) -> Iterator[Server]:
    """A journaled server that a test starts, kills and looks into."""
    it = Server(tmp_path, shell.core)
    yield it
    it.close()


@pytest.fixture
def publishers() -> Iterator[dict[str, Publisher]]:
    """Three publishers of marks, `a` to `c`."""
    with tempfile.TemporaryDirectory(prefix="eng") as folder:
        made = {name: Publisher(f"ipc://{folder}/{name}") for name in "abc"}
        yield made
        for publisher in made.values():
            publisher.close()


@pytest.fixture
def scenario_file(shell: Shell) -> str:
    """A scenario on the three symbols of the synthetic feed."""
    return shell.scenario(BTCUSDT="60000", ETHUSDT="3000", SOLUSDT="150")
