"""The example of a client runs against a real server, twice."""

from __future__ import annotations

import os
import subprocess
import sys

from support.servers import ROOT, Server

EXAMPLE = ROOT / "examples" / "client.py"


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40


def test_it_trades_and_follows(server: Server) -> None:
    server.start(*server.published)
    endpoints = [server.endpoint, server.events, server.market, server.states]
    for turn in (1, 2):
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), *endpoints], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        begun, outcome, *items, book = done.stdout.splitlines()
        assert "'account.7.'" in begun and "'l2.DEMO.'" in begun
        assert outcome.startswith("Outcome(code='accepted'")
        # What came before the subscription was there shows as a gap, and is in a snapshot.
        own = next(item for item in items if "(topic='account.7.'" in item)
        is_whole = own.startswith("Update(")
        assert ("'event': 'trade'" if is_whole else "'symbol': 'DEMO'") in own
        assert any("(topic='l2.DEMO.'" in item for item in items)
        left = "1.5" if turn == 1 else "3"  # of the earlier maker's order 0.5 went again
        with server.client("reader") as client:
            found = client.query({"query": "book", "symbol": "DEMO"})
        assert book == f"book: {[*found['bids'][0], turn]} {[*found['asks'][0], turn]}"
        assert found["asks"][0] == ["100.5", left]
