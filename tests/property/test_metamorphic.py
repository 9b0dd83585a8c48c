"""Two ways of saying the same thing give the same result; a mirrored market, a mirrored one."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest
from support.market import Desk
from support.universe import Universe

from engine import Exchange

Command = dict[str, Any]
ACCOUNTS = (1, 2, 3, 4)
CENTRE = 200  # prices p and CENTRE - p mirror each other


def rich_market(
    core_name: str, symbols: tuple[str, ...] = ("BTC",), hedging: tuple[int, ...] = ()
) -> Desk:
    """Accounts so rich that no margin binds; no fees, so that only trading counts."""
    desk = Desk(Exchange(core=core_name))
    for symbol in symbols:
        desk.symbol(symbol)
    desk.account(*ACCOUNTS, deposit="1000000000")
    for account in hedging:
        desk.must("position_mode", account=account, mode="hedge")
    return desk


def with_legs(commands: list[Command], hedging: tuple[int, ...], seed: int) -> list[Command]:
    """Let some accounts' orders name a leg, mostly one that they open."""
    draw = random.Random(seed)
    for command in commands:
        if command["cmd"] == "order" and command["account"] in hedging:
            opens = not command["reduce_only"] and draw.random() < 0.7
            command["position_side"] = (
                "long" if opens == (command["side"] == "buy") else "short")
    return commands


def trading(seed: int, count: int = 250) -> list[Command]:
    """Orders of all sorts, amends, cancels and marks around the centre."""
    draw = random.Random(seed)
    commands: list[Command] = []
    placed: list[Command] = []
    for number in range(1, count + 1):
        base: Command = {"account": draw.choice(ACCOUNTS), "symbol": "BTC"}
        what, price = draw.random(), str(draw.randint(94, 106))
        older = draw.choice(placed[-12:]) if placed else base | {"order_id": 1}
        if what < 0.7:
            placed.append(base | {"order_id": number})
            command = base | an_order(draw, number, price)
        elif what < 0.82:
            command = older | {"cmd": "amend", "price": price}
            if draw.random() < 0.5:
                command["leaves"] = str(draw.randint(1, 6))
            if draw.random() < 0.2:
                command["trigger_price"] = command.pop("price")
        elif what < 0.9:
            command = older | {"cmd": "cancel"}
        elif what < 0.92:
            command = base | {"cmd": "protection", "window": 9, "count": 3, "freeze": 2}
        else:
            command = {"cmd": "mark", "symbol": "BTC", "mark_price": price, "ts": number}
        commands.append(command)
    return commands


def an_order(draw: random.Random, number: int, price: str) -> Command:
    """An order of any kind but a trailing stop, whose rate knows up from down."""
    command: Command = {
        "cmd": "order", "order_id": number, "side": draw.choice(("buy", "sell")),
        "type": draw.choice(("limit",) * 6 + ("market", "market", "stop_market", "stop_limit",
                                              "take_profit_market", "take_profit_limit")),
        "quantity": str(draw.randint(1, 6)),
        "stp": draw.choice(("none", "cancel_taker", "cancel_maker", "cancel_both", "decrement")),
        "reduce_only": draw.random() < 0.2}
    if command["type"].endswith("limit"):
        command |= {"price": price, "time_in_force": draw.choice(("gtc", "gtc", "ioc", "fok"))}
        command["post_only"] = command["time_in_force"] == "gtc" and draw.random() < 0.15
        if command["time_in_force"] == "gtc" and draw.random() < 0.2:
            command["display_quantity"] = "1"
    if command["type"] not in ("limit", "market"):
        command |= {"trigger_price": str(draw.randint(94, 106)),
                    "trigger_by": draw.choice(("mark", "last"))}
    if command["type"] != "market" and draw.random() < 0.2:
        command["oco"] = draw.randint(1, 2)
    if command["type"] != "market" and draw.random() < 0.15:
        command |= {"time_in_force": "gtd", "expire_ts": number + draw.randint(1, 40)}
    for place, name in enumerate(("take_profit", "stop_loss")):
        if not command["reduce_only"] and draw.random() < 0.2:
            command[name] = {
                "order_id": 1000 + 2 * number + place, "trigger_price": str(draw.randint(94, 106)),
                "price": price if draw.random() < 0.3 else None}
    return command


def reflect(fields: Command) -> Command:
    """Swap the sides and reflect the prices of a command or an event."""
    swapped = dict(fields)
    other = {"buy": "sell", "sell": "buy", "long": "short", "short": "long", "both": "both"}
    for name in ("side", "taker_side", "position_side"):
        if name in fields:
            swapped[name] = other[fields[name]]
    for name in ("price", "mark_price", "trigger_price", "reference_price"):
        if fields.get(name) is not None:
            swapped[name] = str(CENTRE - int(fields[name]))
    for name in ("take_profit", "stop_loss"):
        if fields.get(name) is not None:
            swapped[name] = reflect(fields[name])
    return swapped


def apart(events: list[Command]) -> tuple[list[Command], list[Command]]:
    """Events but for pulled quotes, and these: the long leg's come first in either market."""
    pulled = [event for event in events if event.get("reason") in ("protection", "oco")]
    return [event for event in events if event not in pulled], sorted(
        pulled, key=lambda event: event.get("order_id", 0))


def quantities(desk: Desk, account: int) -> dict[str, Fraction]:
    """What an account holds of BTC, by leg."""
    return {position["position_side"]: Fraction(position["quantity"])
            for position in desk.ask("position", account=account, symbol="BTC")["positions"]}


@pytest.mark.parametrize("hedging", [(), (1, 2), ACCOUNTS], ids=str)
@pytest.mark.parametrize("seed", range(12))
def test_a_mirrored_market_trades_the_mirror_image(
    core_name: str, seed: int, hedging: tuple[int, ...]
) -> None:
    """Matching, triggers and whatever ties orders know no side; profits are mirrored too.

    Linear margins are not symmetric in the price, so no margin may bind here.
    """
    one, other = (rich_market(core_name, hedging=hedging) for _ in range(2))
    about = ("trade", "order_accepted", "order_terms", "order_update", "order_canceled",
             "order_amended", "order_triggered", "order_expired", "protection_triggered",
             "rejected")
    for command in with_legs(trading(seed), hedging, seed):
        left = [event for event in one.exchange.apply(command) if event["event"] in about]
        right = [event for event in other.exchange.apply(reflect(command))
                 if event["event"] in about]
        for event in right:
            event.pop("detail", None)
        for event in left:
            event.pop("detail", None)
        assert apart([reflect(event) for event in left]) == apart(right)
    bids, asks = one.book(l3=True)
    mirrored = other.book(l3=True)
    assert [[str(CENTRE - int(price)), queue] for price, queue in bids] == mirrored[1]
    assert [[str(CENTRE - int(price)), queue] for price, queue in asks] == mirrored[0]
    for account in ACCOUNTS:
        assert quantities(one, account) == {
            reflect({"position_side": leg})["position_side"]: -held
            for leg, held in quantities(other, account).items()}
        assert (one.ask("account", account=account)["equity"]
                == other.ask("account", account=account)["equity"])


@pytest.mark.parametrize("seed", range(6))
def test_one_order_or_many_small_ones(core_name: str, seed: int) -> None:
    """An immediate order of five trades like five of one: same trades by lot, same equity."""
    one, other = rich_market(core_name), rich_market(core_name)
    draw = random.Random(seed)
    number = 0
    for _ in range(150):
        number += 10
        account, side = draw.choice(ACCOUNTS), draw.choice(("buy", "sell"))
        price, quantity = str(draw.randint(95, 105)), draw.randint(1, 6)
        fields = {"account": account, "symbol": "BTC", "side": side, "type": "limit",
                  "price": price}
        if draw.random() < 0.5:
            if draw.random() < 0.3:
                fields["display_quantity"] = str(draw.randint(1, quantity))
            for desk in (one, other):
                desk.must("order", order_id=number, quantity=str(quantity), **fields)
            continue
        fields["time_in_force"] = "ioc"
        one.must("order", order_id=number, quantity=str(quantity), **fields)
        for part in range(quantity):
            other.must("order", order_id=number + part, quantity="1", **fields)
    assert one.book() == other.book()
    for account in ACCOUNTS:
        assert one.quantity(account) == other.quantity(account)
        assert (one.ask("account", account=account)["equity"]
                == other.ask("account", account=account)["equity"])


@pytest.mark.parametrize("seed", range(6))
def test_marks_at_once_or_one_by_one(core_name: str, seed: int) -> None:
    """Where nobody is near his limits, `marks` is the same as its `mark` commands in any order."""
    symbols = ("BTC", "ETH", "SOL")
    one, other = rich_market(core_name, symbols), rich_market(core_name, symbols)
    draw = random.Random(seed)
    for desk in (one, other):
        for symbol in symbols:
            desk.trade(1, 2, 5, 100, symbol)
            desk.trade(3, 1, 2, 100, symbol)
    for _ in range(30):
        prices = {symbol: str(draw.randint(50, 150)) for symbol in symbols}
        one.marks(**prices)
        for symbol in draw.sample(symbols, 3):
            other.mark(prices[symbol], symbol)
        assert one.exchange.state_hash() == other.exchange.state_hash()


@pytest.mark.parametrize("seed", range(6))
def test_refused_commands_may_as_well_not_have_been_sent(core_name: str, seed: int) -> None:
    """Dropping every refused command from a stream leaves state and events as they were.

    What fell due by a refused command's time falls due without it, once time gets there.
    """
    universe, full = Universe(seed), Exchange(core=core_name)
    accepted: list[Command] = []
    told: list[Command] = []

    def apply(command: Command) -> None:
        ts = full.ts
        command.pop("cause", None)  # a number of a command, and those change
        events = full.apply(command)
        universe.observe(events)
        if events and events[-1]["event"] == "rejected":
            del events[-1]
            if full.ts != ts:
                accepted.append({"cmd": "time", "ts": full.ts})
            else:
                assert not events
        else:
            accepted.append(command)
        told.extend({**event, "seq": 0, "cause": 0} for event in events)

    for command in universe.opening():
        apply(command)
    for _ in range(400):
        apply(universe.next())
    lean = Exchange(core=core_name)
    again = [{**event, "seq": 0, "cause": 0}
             for command in accepted for event in lean.apply(command)]
    assert again == told
    assert lean.state_hash() == full.state_hash()
    assert lean.seq < full.seq


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_declarations_of_others_makes_no_difference(
    core_name: str, seed: int
) -> None:
    """Accounts opened in another order, and bystanders, change nobody's result."""
    results = []
    for accounts in ((1, 2, 3, 4), (4, 3, 2, 1), (9, 2, 4, 77, 1, 3)):
        desk = Desk(Exchange(core=core_name))
        desk.symbol()
        desk.account(*accounts, deposit="300")
        for command in trading(seed):
            desk.exchange.submit(command)
        results.append([desk.ask("account", account=account)["assets"] for account in ACCOUNTS])
    assert results[0] == results[1] == results[2]
