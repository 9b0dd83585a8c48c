"""The worked example of docs/architecture.md: its tables are read from there and replayed.

The triggers live in C structs that nothing outside can see. So they are computed here once
more, mark by mark, from the formulas; and the compiled core must look at the pool at exactly
the marks that come out (`evaluation_count` rises) and at no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from engine import Exchange

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
ACCOUNT = 7
SCALE = 10**8
CALL_LEVEL = 80_000_000
TICK = Fraction(1, 100)
#: (cap in cents, rate, rate beyond the cap), of the marginal rule.
SCHEDULES = {"BTC": (18_000, 5_000_000, 10_000_000), "ETH": (11_000, 10_000_000, 20_000_000)}
FIRST_MARKS = {"BTC": "100", "ETH": "10"}
LONG_BTC = ("BTC", "buy", "2", "100")
SHORT_ETH = ("ETH", "sell", "10", "10")


# --- the page ---------------------------------------------------------------------------


def table(title: str) -> list[dict[str, str]]:
    """Return the rows of the table that follows a bold title, by column."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.count(f"**{title}**") == 1, f"the page has no table named {title}"
    rows = []
    for line in text.split(f"**{title}**")[1].strip().split("\n"):
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    head, _, *body = rows
    return [dict(zip(head, row, strict=True)) for row in body]


# --- the formulas, by brute force -------------------------------------------------------


@dataclass
class Position:
    """Lots signed, entry value and marks in cents: one lot at one mark tick is one cent."""

    symbol: str
    lots: int
    entry_value: int

    def value(self, mark: int) -> int:
        return self.lots * mark

    def requirement(self, mark: int) -> int:
        """Maintenance margin in cents times `SCALE`, not rounded."""
        cap, low, high = SCHEDULES[self.symbol]
        notional = abs(self.value(mark))
        return min(notional, cap) * low + max(0, notional - cap) * high

    def margin(self, mark: int) -> int:
        """Maintenance margin in cents, rounded up."""
        return -(-self.requirement(mark) // SCALE)

    def slack_at(self, mark: int, weight: int) -> int:
        """What the position contributes to weight x equity - maintenance margin."""
        return weight * (self.value(mark) - self.entry_value) - self.requirement(mark)


def falling_and_rising(
    positions: list[Position], marks: dict[str, int], wallet: int, weight: int = CALL_LEVEL
) -> list[dict[str, str]]:
    """Compute slack, shares and triggers of a pool that is above a level."""
    profit = sum(one.value(marks[one.symbol]) - one.entry_value for one in positions)
    margin = sum(one.margin(marks[one.symbol]) for one in positions)
    slack = weight * (wallet + profit) - SCALE * margin - 1
    total = sum(abs(one.value(marks[one.symbol])) for one in positions)
    rows = []
    for one in positions:
        mark = marks[one.symbol]
        notional = abs(one.value(mark))
        share = slack * notional // total
        contribution = weight * (one.value(mark) - one.entry_value) - SCALE * one.margin(mark)
        limit = contribution - share + SCALE - 1  # what rounding up may hide is allowed for
        step = -1 if one.lots > 0 else 1
        at = next(
            at for at in range(mark, 0 if step < 0 else 10 * mark, step)
            if one.slack_at(at, weight) < limit)
        rows.append({
            "position": f"{one.lots:+d} {one.symbol}", "mark": money(mark),
            "notional": money(notional), "maintenance margin": money(one.margin(mark)),
            "share of the slack": money(round(Fraction(share, SCALE))),
            "wakes at": f"{'≤' if step < 0 else '≥'} {money(at)}",
        })
    return rows


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


# --- the exchange -----------------------------------------------------------------------


class Bench:
    """One account with its positions on the compiled core."""

    def __init__(self, deposit: str, *fills: tuple[str, str, str, str]) -> None:
        self.exchange = Exchange()
        self.do("asset", asset="USDT", decimals=2)
        for symbol, (cap, low, high) in SCHEDULES.items():
            edge = money(cap)
            rows = [
                {"min_notional": bottom, "max_notional": top, "max_leverage": "5",
                 "maintenance_margin_rate": f"0.{100 * rate // SCALE:02d}"}
                for bottom, top, rate in (("0", edge, low), (edge, None, high))
            ]
            self.do("instrument", symbol=symbol, kind="linear", base=symbol, quote="USDT",
                    settle="USDT", tick_size="0.01", lot_size="1", tiers=rows)
            self.do("mark", symbol=symbol, mark_price=FIRST_MARKS[symbol])
        self.do("account", account=ACCOUNT)
        self.do("deposit", account=ACCOUNT, asset="USDT", amount=deposit)
        for symbol, side, quantity, price in fills:
            self.do("fill", account=ACCOUNT, symbol=symbol, side=side, quantity=quantity,
                    price=price)

    def do(self, cmd: str, **fields: Any) -> list[dict[str, Any]]:
        events = self.exchange.apply({"cmd": cmd, **fields})
        assert all(event["event"] != "rejected" for event in events), events
        return events

    def tick(self, symbol: str, price: str) -> dict[str, str]:
        """Move one mark; return what the tick tables say about it."""
        before = self.exchange.core.evaluation_count
        events = self.do("mark", symbol=symbol, mark_price=price)
        looks = self.exchange.core.evaluation_count - before
        said = [event for event in events if event["event"] != "mark"]
        account = self.figures()
        if said and said[0]["event"] == "liquidation_started":
            account = said[0]  # the measure that the decision was taken on
        return {
            "tick": f"{symbol} {price}", "pool": "measured" if looks else "asleep",
            "equity": f"{float(account['equity']):.2f}",
            "maintenance margin": f"{float(account['maintenance_margin']):.2f}",
            "margin ratio": f"{float(account['margin_ratio']):.4f}",
            "what follows": said[0]["event"] if said else "nothing",
        }

    def figures(self) -> dict[str, Any]:
        return self.exchange.query({"query": "account", "account": ACCOUNT})


def replay(bench: Bench, title: str) -> None:
    for row in table(title):
        symbol, price = row["tick"].split()
        assert bench.tick(symbol, price) == row
        bench.exchange.check()


# --- the tests --------------------------------------------------------------------------

TWO = [Position("BTC", 2, 20_000), Position("ETH", -10, -10_000)]


@pytest.mark.parametrize(
    ("title", "marks"),
    [("Triggers as filed first", {"BTC": 10_000, "ETH": 1_000}),
     ("Triggers after waking", {"BTC": 8_600, "ETH": 1_000})])
def test_shares_and_triggers_follow_from_the_formulas(title: str, marks: dict[str, int]) -> None:
    assert falling_and_rising(TWO, marks, wallet=6_375) == table(title)


def test_the_ticks_of_the_example_wake_the_pool_as_the_page_says() -> None:
    replay(Bench("63.75", LONG_BTC, SHORT_ETH), "Ticks, two positions")


@pytest.mark.parametrize(("title", "ticks_before"), [
    ("Triggers as filed first", ()), ("Triggers after waking", (("BTC", "86.00"),))])
def test_every_mark_short_of_a_trigger_is_slept_through(
    title: str, ticks_before: tuple[tuple[str, str], ...]
) -> None:
    for row in table(title):
        lots, symbol = row["position"].split()
        edge = Fraction(row["wakes at"].split()[1])
        step = TICK if int(lots) > 0 else -TICK
        bench = Bench("63.75", LONG_BTC, SHORT_ETH)
        for tick in ticks_before:
            bench.tick(*tick)
        at = Fraction(row["mark"])
        while at != edge:
            assert bench.tick(symbol, f"{float(at):.2f}")["pool"] == "asleep", (symbol, at)
            at -= step
        assert bench.tick(symbol, f"{float(edge):.2f}")["pool"] == "measured", (symbol, edge)


def test_a_single_position_has_no_false_alarm() -> None:
    bench = Bench("65", LONG_BTC)
    assert bench.figures()["positions"][0]["liquidation_price"] == "71.05"
    replay(bench, "Ticks, one position")


def test_a_single_position_is_looked_at_at_its_prices_and_nowhere_between() -> None:
    bench = Bench("65", LONG_BTC)
    looked = [
        str(cents) for cents in range(10_000, 7_104, -1)
        if bench.tick("BTC", money(cents))["pool"] == "measured"]
    assert looked == ["7200", "7105"]
