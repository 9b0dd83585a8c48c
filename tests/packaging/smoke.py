"""Run by test_wheel.py in a clean environment, away from the checkout: what was installed works."""

import json
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import engine
from engine import Exchange
from engine.core import OrderBook

SCENARIO = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
MARK = {"cmd": "mark", "symbol": "BTCUSDT", "mark_price": "107900"}


def liquidate(core: str) -> tuple[list[dict[str, object]], str]:
    exchange = Exchange(core=core)
    for command in SCENARIO:
        assert "rejected" not in [event["event"] for event in exchange.apply(command)], command
    events = exchange.apply(MARK)
    exchange.check()
    assert exchange.totals()["assets"]["USDT"]["drift"] == "0"
    return events, exchange.state_hash()


events, state_hash = liquidate("compiled")
assert liquidate("reference") == (events, state_hash)
assert "liquidation_finished" in [event["event"] for event in events]
book = OrderBook()
assert (book.place(1, 1, 1, 101, 5), book.place(2, 1, 0, 102, 3)) == (0, 3)
fork = Exchange.restore(Exchange().snapshot()).fork()
assert fork.seq == 0

assert "site-packages" in engine.__file__, "this is not what was installed"
assert (Path(engine.__file__).parent / "py.typed").exists()
assert (Path(engine.__file__).parent / "core" / "exchange.pyi").exists()
assert metadata("perp-engine")["Version"] == engine.__version__

# The console command, as it was installed beside this Python.
command = str(Path(sys.executable).with_name("engine"))


def say(*arguments: str, text: str = "") -> str:
    done = subprocess.run(
        [command, *arguments], input=text, capture_output=True, text=True, check=True)
    return done.stdout


assert say("--version") == f"engine {engine.__version__}\n"
lines = "".join(json.dumps(line) + "\n" for line in [*SCENARIO, MARK, {"query": "state_hash"}])
assert json.loads(say("run", "-", text=lines).splitlines()[-1])["state_hash"] == state_hash
crash = say("replay", "synthetic:seed=1,steps=2000", "--in-process", "--core", "compiled")
figures = dict(line.split(maxsplit=1) for line in crash.splitlines())
assert figures["drift"] == "0" and int(figures["steps"]) == 2000
print(json.dumps({"state_hash": state_hash, "replay": figures["state_hash"]}))
