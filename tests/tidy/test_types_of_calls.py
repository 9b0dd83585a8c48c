"""A type checker sees what typed calls take and give: floats and slips are errors before a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# In strict mode an ignore that ignores nothing is an error, too.
PROGRAM = '''
from decimal import Decimal
from typing import assert_type

from engine import Acknowledgement, Exchange, Rejected, Tier

exchange = Exchange()
answer = exchange.submit(1, "BTC", 1, "buy", "limit", "1", Decimal(5))
assert_type(answer, Acknowledgement)
assert_type(answer.filled_quantity, str | None)
assert_type(exchange.submit({"cmd": "time"}), None)
assert_type(exchange.account(1)["positions"][0]["liquidation_price"], str | None)
exchange.submit(1, "BTC", 1, "buy", "limit", "1", 5.5)  # type: ignore[call-overload]
exchange.submit(1, "BTC", 1, "BUY", "limit", "1", 5)  # type: ignore[call-overload]
exchange.submit(1, "BTC")  # type: ignore[call-overload]
exchange.mark("BTC", 1.5)  # type: ignore[arg-type]
exchange.deposit("1", "USDT", 5)  # type: ignore[arg-type]
exchange.halt("BTC", "none")  # type: ignore[arg-type]
exchange.account(1)["walet"]  # type: ignore[typeddict-item]
Tier(0, None, 0.05, 10)  # type: ignore[arg-type]
answer.state = "open"  # type: ignore[misc]
try:
    exchange.cancel(1, "BTC", 1)
except Rejected as refused:
    assert_type(refused.code, int)
'''


def test_typed_calls_are_checked_before_they_run(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", str(program)], cwd=ROOT,
        capture_output=True, text=True)
    assert run.stdout + run.stderr == ""
    assert run.returncode == 0
