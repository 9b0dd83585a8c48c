"""Typed commands: the same as their lines, answered or refused; numbers exact, floats never."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_type_hints

import pytest
from support.typed import PLAIN_QUERIES, method_of

from engine import Attached, CollateralTier, CommandError, Exchange, Mark, Rejected, Tier
from engine.commands import COMMANDS, QUERIES
from engine.embedding import replies
from engine.units import is_decimal

TIERS = [Tier("0", "50000", "0.05", "10"), Tier("50000", None, "0.1", "5")]
TIER_ROWS = [tier._asdict() for tier in TIERS]

Step = tuple[str, Callable[[Exchange], Any], dict[str, Any]]


def step(cmd: str, *args: Any, fields: dict[str, Any] | None = None, **kwargs: Any) -> Step:
    """A typed call, and the line that it stands for (its keywords, where nothing else is said)."""
    line = {"cmd": cmd, **(kwargs if fields is None else fields)}
    return cmd, lambda exchange: getattr(exchange, method_of(cmd))(*args, **kwargs), line


ORDER = {"account": 1, "symbol": "BTC", "side": "buy", "type": "limit"}
SESSION: list[Step] = [
    step("asset", asset="USDT", decimals=2),
    step("asset", asset="EUR", decimals=2),
    step("collateral", asset="EUR", value_asset="USDT", tiers=[CollateralTier(None, "0.9")],
         fields={"asset": "EUR", "value_asset": "USDT",
                 "tiers": [{"max_amount": None, "weight": "0.9"}]}),
    step("asset_price", asset="EUR", price="1.1"),
    step("instrument", "BTC", settle="USDT", tick_size=1, lot_size=Decimal("1"), tiers=TIERS,
         taker_fee="0.0005", fields={
             "symbol": "BTC", "kind": "linear", "base": "BTC", "quote": "USDT",
             "settle": "USDT", "tick_size": 1, "lot_size": 1, "tiers": TIER_ROWS,
             "taker_fee": "0.0005"}),
    step("mark", "BTC", "100", ts=5,
         fields={"symbol": "BTC", "mark_price": "100", "ts": 5}),
    step("marks", [Mark("BTC", "101", "100", 7)], fields={"marks": [
        {"symbol": "BTC", "mark_price": "101", "index_price": "100", "feed_seq": 7}]}),
    *(step("account", account=number) for number in (1, 2)),
    step("account", account=3, position_mode="hedge", margin_mode="isolated"),
    step("account", account=11, parent=1, margin_call_levels=["0.5"], stp_group=4),
    *(step("deposit", account=number, asset="USDT", amount="10000.5") for number in (1, 2, 3)),
    step("withdraw", account=1, asset="USDT", amount=Decimal("0.5")),
    step("transfer", account=1, to=11, asset="USDT", amount=100),
    step("leverage", account=1, symbol="BTC", leverage=5),
    step("margin_mode", account=2, symbol="BTC", mode="isolated"),
    step("position_mode", account=11, mode="hedge"),
    step("auto_top_up", account=2, symbol="BTC", enabled=True),
    step("margin_call_levels", account=1, levels=["0.6", "0.8"], hysteresis="0.1"),
    step("account_multiplier", account=11, multiplier="1.5"),
    step("backstop", account=11, asset="USDT", commitment=50),
    step("insurance", asset="USDT", amount=1000),
    step("order", 2, "BTC", 1, "sell", "limit", "4", "102", post_only=True, fields={
        **ORDER, "account": 2, "order_id": 1, "side": "sell", "quantity": "4", "price": "102",
        "post_only": True}),
    step("order", **ORDER, order_id=1, quantity=2, price=102, client_order_id="a-1",
         take_profit=Attached(5, 120), stop_loss={"order_id": 6, "trigger_price": "80"},
         fields={**ORDER, "order_id": 1, "quantity": 2, "price": 102, "client_order_id": "a-1",
                 "take_profit": {"order_id": 5, "trigger_price": 120},
                 "stop_loss": {"order_id": 6, "trigger_price": "80"}}),
    step("order", **ORDER, order_id=2, quantity="3", price="99", display_quantity=1,
         stp="decrement"),
    step("amend", 1, "BTC", 2, leaves="2",
         fields={"account": 1, "symbol": "BTC", "order_id": 2, "leaves": "2"}),
    step("order", **{**ORDER, "type": "stop_market", "side": "sell"}, order_id=3, quantity=1,
         trigger_price=90, trigger_by="last", reduce_only=True, oco=3),
    step("cancel", account=1, symbol="BTC", order_id=3),
    step("protection", account=2, symbol="BTC", window=10, count=5, freeze=3),
    step("fill", account=2, symbol="BTC", side="sell", quantity=3, price="101.5", fee="0.01"),
    step("isolated_margin", account=2, symbol="BTC", amount=25),
    step("funding", symbol="BTC", rate="-0.0001"),
    step("tiers", symbol="BTC", tiers=TIERS, fields={"symbol": "BTC", "tiers": TIER_ROWS}),
    step("margin_multiplier", symbol="BTC", maintenance="1.2", initial="1.3", effective_ts=50),
    step("profile", symbol="BTC", profile={"close_policy": "full"}),
    step("cancel_all_after", account=1, timeout=1000),
    step("halt", symbol="BTC", mode="auction"),
    step("resume", symbol="BTC"),
    step("cancel_all", account=1, side="buy"),
    step("time", ts=60, fields={"ts": 60}),
    step("settle", symbol="BTC", price="100"),
]


def play(exchange: Exchange, before: str) -> None:
    """Give the session up to the first command of a name."""
    for name, call, _ in SESSION:
        if name == before:
            return
        call(exchange)


def test_every_command_is_given_below() -> None:
    assert {name for name, _, _ in SESSION} == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_field_of_a_command_is_an_argument(name: str) -> None:
    method = getattr(Exchange, method_of(name))
    arguments = set(inspect.signature(method).parameters) - {"self"}
    assert arguments == {*COMMANDS[name], "ts"}


def test_typed_commands_do_what_their_lines_do(new_exchange: Callable[[], Exchange]) -> None:
    typed, plain = new_exchange(), new_exchange()
    for name, call, line in SESSION:
        answer = call(typed)
        events = plain.apply(line)
        assert answer.events == events, name
        assert (answer.command, answer.seq, answer.ts) == (name, plain.seq, plain.ts)
        assert {event["seq"] for event in events} <= {answer.seq}
    assert typed.state_hash() == plain.state_hash()
    assert {event["seq"] for event in typed.drain()} <= set(range(1, len(SESSION) + 1))


def test_events_of_typed_commands_wait_to_be_drained(exchange: Exchange) -> None:
    answers = [call(exchange) for _, call, _ in SESSION]
    expected = [event for answer in answers for event in answer.events]
    assert exchange.drain() == expected
    assert exchange.drain() == []


def test_acknowledged_events_keep_their_client_order_ids(exchange: Exchange) -> None:
    play(exchange, before="order")
    exchange.submit(2, "BTC", 1, "sell", "limit", 4, 102)
    answer = exchange.submit(1, "BTC", 9, "buy", "market", 1, client_order_id="mine")
    before = answer.events
    assert answer.state == "filled"
    of_order = [event for event in before if event.get("order_id") == 9]
    assert {event["client_order_id"] for event in of_order} == {"mine"}
    exchange.drain()
    exchange.submit(1, "BTC", 9, "buy", "market", 1, client_order_id="other")
    assert answer.events == before


# ---- the outcome of orders --------------------------------------------------------------------


@pytest.fixture
def small(exchange: Exchange) -> Exchange:
    """BTC at 100 without fees, accounts 1 and 2 with 10,000 each."""
    exchange.add_asset("USDT", 2)
    exchange.add_instrument(
        "BTC", settle="USDT", tick_size="0.5", lot_size=2, tiers=[Tier(0, None, "0.05", 10)],
        max_order_quantity=1000, min_order_quantity=4, price_band="0.5")
    exchange.mark("BTC", 100)
    for account in (1, 2):
        exchange.open_account(account)
        exchange.deposit(account, "USDT", 10_000)
    return exchange


def outcome(answer: Any) -> tuple[Any, ...]:
    return answer.state, answer.filled_quantity, answer.average_price, answer.remaining


def test_states_of_orders(small: Exchange) -> None:
    assert outcome(small.submit(2, "BTC", 1, "sell", "limit", 4, 100)) == ("open", "0", None, "4")
    assert outcome(small.submit(2, "BTC", 2, "sell", "limit", 8, "100.5"))[0] == "open"
    took = small.submit(1, "BTC", 1, "buy", "limit", 10, 101)
    assert outcome(took) == ("filled", "10", "100.3", "0")
    assert (took.account, took.symbol, took.order_id) == (1, "BTC", 1)
    rest = small.submit(1, "BTC", 2, "buy", "limit", 10, "100.5")
    assert outcome(rest) == ("partially_filled", "2", "100.5", "8")
    assert outcome(small.amend(1, "BTC", 2, leaves=6)) == ("partially_filled", "0", None, "6")
    assert outcome(small.amend(1, "BTC", 2, leaves=0)) == ("canceled", "0", None, "0")
    small.submit(2, "BTC", 3, "sell", "limit", 4, 101)
    swept = small.submit(1, "BTC", 3, "buy", "market", 10)
    assert outcome(swept) == ("canceled", "4", "101", "0")
    stop = small.submit(1, "BTC", 4, "sell", "stop_market", 4, trigger_price=50)
    assert outcome(stop) == ("pending", "0", None, "4")
    assert outcome(small.amend(1, "BTC", 4, trigger_price=60)) == ("pending", "0", None, "4")
    assert outcome(small.cancel(1, "BTC", 4)) == ("canceled", "0", None, "0")


def test_an_average_price_is_rounded_only_where_it_must_be(small: Exchange) -> None:
    for number, (quantity, price) in enumerate((("4", "100"), ("8", "100.5")), 1):
        small.submit(2, "BTC", number, "sell", "limit", quantity, price)
    # (4 x 100 + 8 x 100.5) / 12 = 100.3333…, five places being four beyond the tick's
    assert small.submit(1, "BTC", 1, "buy", "limit", 12, 101).average_price == "100.33333"


def test_an_inverse_average_is_quantity_over_value(exchange: Exchange) -> None:
    exchange.add_asset("BTC", 8)
    exchange.add_instrument(
        "BTCUSD", kind="inverse", settle="BTC", quote="USD", tick_size=1, lot_size=1,
        contract_size=100, tiers=[Tier(0, None, "0.05", 10)])
    exchange.mark("BTCUSD", 100)
    for account in (1, 2):
        exchange.open_account(account)
        exchange.deposit(account, "BTC", 1000)
    for number, price in ((1, 100), (2, 200)):
        exchange.submit(2, "BTCUSD", number, "sell", "limit", 1, price)
    # 2 / (1/100 + 1/200)
    answer = exchange.submit(1, "BTCUSD", 1, "buy", "limit", 2, 200)
    assert answer.average_price == "133.3333"
    assert exchange.position(1, "BTCUSD")["positions"][0]["entry_price"] == "133.3333"


def test_commands_that_are_about_no_order_have_no_state(small: Exchange) -> None:
    assert outcome(small.cancel_all(account=1)) == (None, None, None, None)


# ---- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "reason", "code"), [
    (lambda x: x.submit(1, "BTC", 1, "buy", "limit", 2000, 100), "quantity_limit", -4005),
    (lambda x: x.submit(1, "BTC", 1, "buy", "limit", 2, 100), "quantity_limit", -4004),
    (lambda x: x.submit(1, "BTC", 1, "buy", "limit", 4, "100.3"), "off_tick", -4014),
    (lambda x: x.submit(1, "BTC", 1, "buy", "limit", 5, 100), "off_lot", -4023),
    (lambda x: x.submit(1, "BTC", 1, "buy", "limit", 4, 151), "price_band", -4016),
    (lambda x: x.submit(1, "BTC", 1, "sell", "limit", 4, 49), "price_band", -4024),
    (lambda x: x.submit(1, "ETH", 1, "buy", "limit", 4, 100), "unknown_symbol", -1121),
    (lambda x: x.submit(9, "BTC", 1, "buy", "limit", 4, 100), "unknown_account", -1109),
    (lambda x: x.submit(1, "BTC", 1, "buy", "market", 4, reduce_only=True), "reduce_only", -2022),
    (lambda x: x.submit(1, "BTC", 1, "buy", "limit", 1000, 120), "insufficient_margin", -2019),
    (lambda x: x.submit(1, "BTC", 1, "buy", "limit", 4, 100, time_in_force="fok"),
     "fok_unfillable", -5021),
    (lambda x: x.cancel(1, "BTC", 1), "unknown_order", -2011),
    (lambda x: x.amend(1, "BTC", 1, leaves=2), "unknown_order", -2013),
    (lambda x: x.withdraw(1, "USDT", 20_000), "insufficient_balance", -2018),
    (lambda x: x.set_leverage(1, "BTC", 11), "leverage", -4028),
    (lambda x: x.add_asset("USDT", 2), "already_exists", -1130),
    (lambda x: x.add_margin(1, "BTC", 5), "no_position", -4054),
    (lambda x: x.set_tiers("BTC", []), "bad_tiers", -1130),
])
def test_refusals_are_raised_with_their_code(
    small: Exchange, call: Callable[[Exchange], object], reason: str, code: int
) -> None:
    small.drain()
    before = small.state_hash()
    with pytest.raises(Rejected) as refused:
        call(small)
    assert (refused.value.reason, refused.value.code) == (reason, code)
    assert small.state_hash() == before
    # It is data all the same: the event is in the answer, and waits to be drained.
    events = small.drain()
    assert events == refused.value.acknowledgement.events
    assert [event["event"] for event in events] == ["rejected"]
    assert events[0]["detail"] == refused.value.detail
    assert str(refused.value) == f"{events[0]['cmd']}: {reason}: {refused.value.detail}"


def test_what_fell_due_before_a_refusal_is_in_its_answer(small: Exchange) -> None:
    small.submit(
        1, "BTC", 1, "buy", "limit", 4, 99, time_in_force="gtd", expire_ts=50, ts=10)
    with pytest.raises(Rejected) as refused:
        small.cancel(1, "BTC", 2, ts=60)
    kinds = [event["event"] for event in refused.value.acknowledgement.events]
    assert kinds == ["order_expired", "rejected"]


# ---- numbers ----------------------------------------------------------------------------------


def decimal_arguments() -> list[tuple[int, str]]:
    """Steps of the session with an argument that is a decimal, and its name."""
    return [
        (at, field) for at, (name, _, line) in enumerate(SESSION) for field, value in line.items()
        if field in COMMANDS[name] and COMMANDS[name][field].check("1.5") and is_decimal(value)
        and field not in ("asset", "symbol", "to", "value_asset", "base", "quote", "settle")
        and not COMMANDS[name][field].wants.startswith("a string")]


@pytest.mark.parametrize(("at", "field"), decimal_arguments())
def test_floats_are_refused_and_nothing_happens(
    exchange: Exchange, at: int, field: str
) -> None:
    for _, call, _ in SESSION[:at]:
        call(exchange)
    exchange.drain()
    before, seq = exchange.state_hash(), exchange.seq
    name, _, line = SESSION[at]
    arguments = {**{key: value for key, value in line.items() if key != "cmd"}, field: 1.5}
    with pytest.raises(CommandError, match=rf"'{name}': field '{field}' must be .*not 1.5") as bad:
        getattr(exchange, method_of(name))(**arguments)
    assert bad.value.code == -1102
    assert (exchange.state_hash(), exchange.seq, exchange.drain()) == (before, seq, [])


def test_there_are_many_decimals_to_try() -> None:
    assert len(decimal_arguments()) > 25


@pytest.mark.parametrize("number", [100, "100", "100.0", Decimal(100), Decimal("1E+2")])
def test_numbers_come_in_three_types(small: Exchange, number: Any) -> None:
    small.submit(1, "BTC", 1, "buy", "limit", 4, number)
    assert small.orders(1)["orders"][0]["price"] == "100"


def test_submit_says_what_it_takes(small: Exchange) -> None:
    with pytest.raises(TypeError, match="fields of an order, or one command as a mapping"):
        small.submit(1)  # type: ignore[call-overload]
    with pytest.raises(CommandError, match="field 'order_id' must be an integer"):
        small.submit(1, "BTC", "7", "buy", "limit", 4, 100)  # type: ignore[call-overload]
    with pytest.raises(CommandError, match="field 'side' must be one of buy, sell, not 'BUY'"):
        small.submit(1, "BTC", 7, "BUY", "limit", 4, 100)  # type: ignore[call-overload]
    with pytest.raises(CommandError, match="field 'post_only' must be true or false"):
        small.submit(
            1, "BTC", 7, "buy", "limit", 4, 100, post_only="yes")  # type: ignore[call-overload]


def test_submit_of_a_mapping_leaves_its_events_and_raises_nothing(small: Exchange) -> None:
    small.drain()
    assert small.submit({"cmd": "cancel", "account": 1, "symbol": "BTC", "order_id": 1}) is None
    assert [event["reason"] for event in small.drain()] == ["unknown_order"]


# ---- queries ----------------------------------------------------------------------------------

ASKED: dict[str, tuple[Callable[[Exchange], Any], dict[str, Any], type]] = {
    "account": (lambda x: x.account(1), {"account": 1}, replies.AccountReply),
    "position": (
        lambda x: x.position(1, "BTC"), {"account": 1, "symbol": "BTC"}, replies.PositionReply),
    "orders": (lambda x: x.orders(1), {"account": 1}, replies.OrdersReply),
    "book": (
        lambda x: x.book("BTC", 2, l3=True), {"symbol": "BTC", "depth": 2, "l3": True},
        replies.BookReply),
    "tiers": (lambda x: x.tiers("BTC"), {"symbol": "BTC"}, replies.TiersReply),
    "instrument": (
        lambda x: x.instrument_state("BTC"), {"symbol": "BTC"}, replies.InstrumentReply),
    "liquidation_queue": (
        lambda x: x.liquidation_queue(), {}, replies.LiquidationQueueReply),
    "adl_ranking": (
        lambda x: x.adl_ranking("BTC"), {"symbol": "BTC"}, replies.AdlRankingReply),
    "auction": (lambda x: x.auction("BTC"), {"symbol": "BTC"}, replies.AuctionReply),
    "insurance": (lambda x: x.insurance(), {}, replies.InsuranceReply),
    "backstops": (lambda x: x.backstops(), {}, replies.BackstopsReply),
    "collateral": (lambda x: x.collateral("EUR"), {"asset": "EUR"}, replies.CollateralReply),
    "directory": (lambda x: x.directory(), {}, replies.DirectoryReply),
}


def test_every_query_is_a_method() -> None:
    assert set(ASKED) | PLAIN_QUERIES == set(QUERIES)
    assert all(callable(getattr(Exchange, name)) for name in PLAIN_QUERIES)


@pytest.mark.parametrize("name", ASKED)
def test_typed_queries_answer_as_on_the_wire(exchange: Exchange, name: str) -> None:
    play(exchange, before="funding")
    ask, fields, reply_type = ASKED[name]
    reply = ask(exchange)
    assert reply == exchange.query({"query": name, **fields})
    check_type(reply, reply_type)


def check_type(value: Any, wanted: Any) -> None:
    """Fail where a reply has other fields, or fields of other types, than it says."""
    origin, parts = getattr(wanted, "__origin__", None), getattr(wanted, "__args__", ())
    if isinstance(wanted, type) and hasattr(wanted, "__required_keys__"):
        hints = get_type_hints(wanted)
        assert wanted.__required_keys__ <= set(value) <= set(hints), wanted
        for field, one in value.items():
            check_type(one, hints[field])
    elif origin is list:
        for one in value:
            check_type(one, parts[0])
    elif origin is dict:
        for one in value.values():
            check_type(one, parts[1])
    elif parts:  # or None
        if value is not None:
            check_type(value, parts[0])
    elif wanted is not Any:
        assert type(value) is wanted, (value, wanted)


def test_totals_have_the_fields_they_say(exchange: Exchange) -> None:
    play(exchange, before="funding")
    totals = exchange.totals()
    check_type(totals, replies.Totals)
    assert totals == {
        name: exchange.query({"query": "totals"})[name] for name in ("assets", "positions")}


def test_queries_of_something_unknown_are_refused(small: Exchange) -> None:
    for ask, reason, code in (
            (lambda: small.account(9), "unknown_account", -1109),
            (lambda: small.book("ETH"), "unknown_symbol", -1121),
            (lambda: small.collateral("EUR"), "unknown_asset", -1108)):
        with pytest.raises(Rejected) as refused:
            ask()
        assert (refused.value.reason, refused.value.code) == (reason, code)
        assert refused.value.acknowledgement is None
    with pytest.raises(CommandError, match="field 'account' must be an integer"):
        small.account(1.0)  # type: ignore[arg-type]


# ---- no global state --------------------------------------------------------------------------


def test_a_thousand_exchanges_in_one_process() -> None:
    exchanges = [Exchange() for _ in range(1000)]
    for number, exchange in enumerate(exchanges):
        play(exchange, before="withdraw")
        exchange.deposit(1, "USDT", number + 1)
    assert {exchange.seq for exchange in exchanges} == {15}
    balances = [exchange.account(1)["wallet"] for exchange in exchanges]
    assert balances == [str(Decimal("10000.5") + number + 1) for number in range(1000)]
    assert len({exchange.state_hash() for exchange in exchanges}) == 1000
