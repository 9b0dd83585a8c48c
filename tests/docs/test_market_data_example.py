"""The example of market data in docs/formats.md is what the engine says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from support.market import Desk

from engine.marketdata import L3Book, MarketData, packed
from engine.messages import MARKET_FIELDS, HaltMode, MarketKind, TradeFlag

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def test_the_example(desk: Desk) -> None:
    block = re.search(r"```market-data\n(.*?)```", PAGE, re.S)
    assert block is not None
    desk.symbol()
    desk.account(1, 2)
    desk.sell(1, 9, 101, display_quantity="4")
    desk.sell(2, 2, 101)
    data = MarketData(desk.exchange)
    snapshot = data.l3_snapshot("BTC")
    desk.buy(2, 5, 101)
    said = [snapshot, *data.drain()]
    assert "\n".join(json.dumps(each, separators=(",", ":")) for each in said) == (
        block[1].strip())
    book = L3Book(snapshot)
    for message in said[1:]:
        if message["channel"] == "l3":
            book.apply(message)
    assert book.asks == data.l3_snapshot("BTC")["asks"]


def test_the_table_of_packed_rows() -> None:
    table = PAGE.split("### Packed rows")[1].split("\n## ")[0]
    names = [name for cell in re.findall(r"^\| (`.*?`) \|", table, re.M)
             for name in re.findall(r"`(\w+)`", cell)]
    assert tuple(names) == MARKET_FIELDS == packed.MESSAGE.names
    types = re.findall(r"^\| `.*?` \| (u?)int(\d+) \|", table, re.M)
    assert {sign + bits for sign, bits in types} == {"64", "32", "u8", "u16"}
    kinds = ", ".join(f"{int(kind)} {kind.name.lower()}" for kind in MarketKind)
    assert f"| {kinds} |" in table
    assert [int(flag) for flag in TradeFlag] == [1, 2, 4] and HaltMode.NONE == 0
    assert packed.MESSAGE.itemsize == 88
