"""The state of a price engine and of multipliers: written down and loaded, they go on the same."""

from __future__ import annotations

import json
import random

import pytest
from support.pricing import MIDNIGHT

from engine.pricing import (
    BookSnapshot,
    Clock,
    MarginMultipliers,
    OpenInterestRules,
    Patience,
    PriceEngine,
    Source,
    SourcePrice,
    TradePrice,
    VolatilityRules,
    preset,
)
from engine.pricing.scale import SECOND_NS


def inputs(dice: random.Random, count: int) -> list:
    at, found = MIDNIGHT - 30 * SECOND_NS, []
    for _ in range(count):
        at += dice.choice((0, SECOND_NS // 2, SECOND_NS, 2 * SECOND_NS, 20 * SECOND_NS))
        price = 60_000 + dice.randint(-60, 60)
        found.append(dice.choice((
            SourcePrice(at, "BTC", dice.choice("AB"), str(price)),
            SourcePrice(at, "BTC", dice.choice("AB"), str(price)),
            BookSnapshot(at, "BTC", [[str(price - 1), "9"]], [[str(price + 1), "9"]]),
            TradePrice(at, "BTC", str(price), dice.choice((None, len(found) + 1))), Clock(at))))
    return found


@pytest.mark.parametrize("name", ["binance_usdm", "hyperliquid", "dydx_v4", "bitmex"])
def test_a_price_engine_goes_on_from_its_state(name):
    config = preset(name).symbol(
        "BTC", "0.1", (Source("A"), Source("B")), initial_rate="0.01", maintenance_rate="0.005",
        impact_notional="1000")
    whole, cut = PriceEngine([config]), PriceEngine([config])
    made = 0
    for item in inputs(random.Random(name), 150):
        commands = whole.take(item)
        assert cut.take(item) == commands
        made += len(commands)
        state = json.loads(json.dumps(cut.dump()))
        cut = PriceEngine([config])
        cut.load(state)
        assert cut.status("BTC") == whole.status("BTC")
        assert cut.next_instant == whole.next_instant
    assert made > 20


def test_multipliers_go_on_from_their_state():
    def fresh() -> MarginMultipliers:
        return MarginMultipliers(
            "BTC", "0.1",
            VolatilityRules("0.0005", half_life_ns=20 * SECOND_NS, warm_up=2,
                            patience=Patience("0.1", 5 * SECOND_NS)),
            OpenInterestRules((("600000", "1"), (None, "2")), patience=Patience(0, 0)),
            interval_ns=SECOND_NS, notice_ns=3 * SECOND_NS)

    dice = random.Random(3)
    whole, cut, made = fresh(), fresh(), []
    for second in range(300):
        at, size = second * SECOND_NS, 5 if second < 150 else 20
        price, crowd = str(60_000 + dice.randint(-size, size)), str(5 if second % 40 < 20 else 50)
        for name, *rest in (("mark", price), ("open_interest", crowd), ("advance",)):
            commands = getattr(whole, name)(at, *rest)
            assert getattr(cut, name)(at, *rest) == commands
            made += commands
            state = json.loads(json.dumps(cut.dump()))
            cut = fresh()
            cut.load(state)
    assert len(made) > 5
