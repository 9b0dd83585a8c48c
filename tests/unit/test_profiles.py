"""Profiles: files that load or say in one line why not, formulas, and a crash under each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.market import STEEP_TIERS, Desk, audit, only
from support.universe import SCHEDULES, tier_rows

from engine import Exchange, profiles
from engine.instruments import Asset, TermsError, parse_tiers
from engine.messages import (
    NONE,
    RATE_SCALE,
    AdlAllocation,
    AfterCooldown,
    CallLevels,
    ClosePolicy,
    Profile,
    RejectReason,
    TierRule,
)
from engine.reference.margin import Schedule
from engine.reference.policy import (
    allocate,
    close_quantity,
    is_healthy,
    ramp_lots,
    ramp_next,
    ramp_share,
)
from engine.reference.state import Instrument, InsuranceFund
from engine.units import Grid

USDT = Asset(0, "USDT", 2, Grid("0.01"))


# --- files ----------------------------------------------------------------------------


def test_the_venues_are_there() -> None:
    assert profiles.names() == [
        "default", "binance_usdm", "bitmex", "bybit_linear", "deribit", "drift", "dydx_v4",
        "hyperliquid", "okx_swap"]


@pytest.mark.parametrize("name", profiles.names())
def test_a_profile_is_whole_and_comes_back_as_it_was(name: str) -> None:
    row = profiles.core_profile(name, USDT)
    calls = profiles.core_calls(name)
    shown = profiles.show(row, calls, USDT)
    assert profiles.core_profile(shown, USDT) == row
    assert profiles.core_calls(shown) == calls
    assert shown == profiles.effective(name)


def test_the_default_is_what_the_core_starts_with() -> None:
    assert profiles.core_profile(None, USDT) == profiles.core_profile("default", USDT) == Profile()
    assert profiles.core_calls(None) == profiles.core_calls("default") == CallLevels()


@pytest.mark.parametrize("name", profiles.names()[1:])
def test_every_value_of_a_venue_has_a_comment_above_it(name: str) -> None:
    lines = (profiles.FOLDER / f"{name}.toml").read_text().splitlines()
    assert any(line.startswith("# Source") for line in lines)
    for before, line in pairwise(lines):
        if " = " in line and not line.startswith("#"):
            assert before.startswith("#") or " = " in before, f"{name}: {line}"


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "okx_swap"\ntiers_per_step = 3\nexit_buffer = "0.05"\n')
    mine = profiles.load(path)
    assert mine == {"base": "okx_swap", "tiers_per_step": 3, "exit_buffer": "0.05"}
    whole = profiles.effective(mine)
    assert (whole["tiers_per_step"], whole["adl_price"]) == (3, "mark")
    exchange = Exchange(core="reference")
    desk = Desk(exchange)
    desk.symbol(profile=mine)
    assert desk.ask("instrument", symbol="BTC")["profile"] == whole


@pytest.mark.parametrize(("text", "what"), [
    ("fraction = ", "Invalid value"),
    ("fraction = 0.2", "field 'fraction' must be a decimal string"),
    ("colour = 1", "unknown field 'colour'"),
    ('close_policy = "some"', "field 'close_policy' must be one of"),
    ('base = "nobody"', "no profile 'nobody'"),
    ('fraction = "0.001"', "fraction must be 0.01 to 1"),
    ('fraction = "0.1234567890"', "fraction must be a multiple of 0.00000001"),
    ("tiers_per_step = 0", "tiers_per_step must be 1 to 64"),
    ('margin_call_levels = ["0.9", "0.8"]', "margin_call_levels must be up to 4 ascending"),
    ("ramp_steps = 0", "ramp_steps must be 1 to 1000"),
    ('bankruptcy_adjustment = "0.9"', "bankruptcy_adjustment must be 1 to 10"),
    ('close_policy = "fraction"\nslice_max_share = "0.1"', "slices do not go with"),
])
def test_a_file_that_cannot_be_says_so_in_one_line(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text + "\n")
    with pytest.raises(profiles.ProfileError) as caught:
        profiles.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: "), message
    assert what in message and "\n" not in message, message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(profiles.ProfileError, match=r"nowhere\.toml: No such file"):
        profiles.load("nowhere.toml")


@pytest.mark.parametrize("given", [
    "nobody", {"base": "nobody"}, {"exit_buffer": "1"}, {"fund_max_notional": "-1"},
    {"min_remainder_notional": "0.001"}, {"close_policy": "to_target", "exit_buffer": "0.2"},
])
def test_a_profile_that_cannot_be(given: Any) -> None:
    with pytest.raises(TermsError) as caught:
        profiles.core_profile(given, USDT)
    assert caught.value.reason is RejectReason.BAD_PROFILE


# --- how much to close ----------------------------------------------------------------


def drawn_instruments(seed: int) -> Iterator[tuple[random.Random, Instrument]]:
    draw = random.Random(seed)
    for schedule in SCHEDULES:
        rows = parse_tiers(tier_rows(schedule), USDT)
        for rule in TierRule:
            yield draw, Instrument(
                0, 0, 1, 100, 0, 0, 0, NONE, NONE, NONE, NONE, NONE, NONE,
                Schedule.build(rule, rows), Profile(), InsuranceFund(0), mark=draw.randint(1, 300))


@pytest.mark.parametrize("seed", range(20))
def test_to_target_is_the_least_that_does(seed: int) -> None:
    for draw, instrument in drawn_instruments(seed):
        held = draw.randint(1, 60)
        buffer = draw.choice((0, 1_000_000, 20_000_000))
        ruling = Profile(exit_buffer=buffer)
        profile = instrument.profile = Profile(
            close_policy=ClosePolicy.TO_TARGET, target_ratio=draw.choice((10**7, 79 * 10**6)))

        def margin(keep: int, instrument: Instrument = instrument) -> int:
            return instrument.schedule.maintenance_margin(instrument.value(keep, instrument.mark))

        others = draw.choice((0, 0, draw.randint(0, 10**5)))
        equity = draw.randint(-5, others + margin(held))
        closed = close_quantity(
            instrument, instrument.schedule, held, equity, others, ruling, is_cooled=False)
        enough = [
            lots for lots in range(1, held + 1)
            if (others + margin(held - lots)) * RATE_SCALE <= profile.target_ratio * equity
            and is_healthy(equity, others + margin(held - lots), ruling)]
        assert closed == min(enough, default=held)


@pytest.mark.parametrize("policy", ClosePolicy)
@pytest.mark.parametrize("seed", range(5))
def test_a_step_closes_something_and_no_more_than_there_is(seed: int, policy: int) -> None:
    for draw, instrument in drawn_instruments(seed):
        instrument.profile = Profile(
            close_policy=policy, tiers_per_step=draw.randint(1, 3),
            fraction=draw.choice((10**6, 2 * 10**7, 10**8)),
            fraction_above_notional=draw.choice((0, 50_000)),
            min_remainder_notional=draw.choice((0, 20_000)),
            after_cooldown=draw.choice(tuple(AfterCooldown)))
        held = draw.randint(1, 60)
        closed = close_quantity(
            instrument, instrument.schedule, held, draw.randint(-100, 10**4), 0, Profile(),
            is_cooled=draw.random() < 0.5)
        assert 1 <= closed <= held
        rest = instrument.value(held - closed, instrument.mark)
        assert closed == held or rest >= instrument.profile.min_remainder_notional


@pytest.mark.parametrize("mode", [mode for mode in AdlAllocation if mode])
def test_shares_add_up_and_nobody_closes_more_than_he_has(mode: AdlAllocation) -> None:
    draw = random.Random(mode)
    for _ in range(300):
        held = [draw.randint(1, draw.choice((3, 50))) for _ in range(draw.randint(0, 7))]
        equities = [draw.randint(1, draw.choice((5, 10**6))) for _ in held]
        lots = draw.randint(1, 120)
        shares = allocate(mode, lots, held, equities)
        assert sum(shares) == min(lots, sum(held))
        assert all(0 <= share <= own for share, own in zip(shares, held, strict=True))
        if mode is AdlAllocation.MIN_MAX and held:
            # Nobody could be spared a lot of the largest share.
            largest = max(shares)
            assert sum(min(own, largest - 1) for own in held) < min(lots, sum(held))
        if mode is AdlAllocation.CONTRACTS and held:
            total = sum(held)
            assert all(abs(share * total - min(lots, total) * own) <= total
                       for share, own in zip(shares, held, strict=True))


@pytest.mark.parametrize("seed", range(10))
def test_a_ramp_grows_from_its_fraction_to_all(seed: int) -> None:
    draw = random.Random(seed)
    row = Profile(
        close_policy=ClosePolicy.RAMP, fraction=draw.choice((10**6, 2 * 10**7, 10**8)),
        ramp_ns=draw.choice((1, 7, 10**10)), ramp_steps=draw.randint(1, 50))
    since, wanted, closed = draw.randint(0, 10**9), draw.randint(1, 500), 0
    now, shares = since, [ramp_share(row, 0)]
    closed += ramp_lots(wanted, shares[0], closed)
    assert shares == [row.fraction] and closed == max(1, wanted * row.fraction // RATE_SCALE)
    while (after := ramp_next(row, since, now)) != NONE:
        # Up to the ns before its time nothing more is due.
        assert after > now and ramp_share(row, after - 1 - since) == shares[-1]
        now = after
        shares.append(ramp_share(row, now - since))
        closed += ramp_lots(wanted - closed, shares[-1], closed)
        assert closed == max(1, wanted * shares[-1] // RATE_SCALE)
    assert shares == sorted(shares) and len(shares) <= row.ramp_steps + 1
    assert shares[-1] == RATE_SCALE and closed == wanted
    assert now - since == row.ramp_ns


# --- a crash under every profile -------------------------------------------------------


def crowd(desk: Desk, draw: random.Random) -> None:
    """Twenty longs with little money against ten shorts, some makers' bids, a small fund."""
    desk.account(9, deposit="10000000")
    desk.must("insurance", asset="USDT", amount="500")
    for account in range(10, 40):
        is_long = account < 30
        desk.account(account, deposit=str(draw.randint(150, 2500)))
        for symbol in draw.sample(("BTC", "ETH"), draw.randint(1, 2)):
            desk.must("fill", account=account, symbol=symbol, side="buy" if is_long else "sell",
                      quantity=str(draw.randint(2, 60)), price="100")
    for symbol in ("BTC", "ETH"):
        for price in range(99, 60, -3):
            desk.buy(9, draw.randint(1, 20), price, symbol)


@pytest.mark.parametrize("name", profiles.names())
def test_a_crash_ends_with_all_the_money_and_nobody_due_outside_the_queue(
    desk: Desk, name: str
) -> None:
    for symbol in ("BTC", "ETH"):
        desk.symbol(symbol, tiers=list(STEEP_TIERS), profile=name, liquidation_fee="0.005")
    crowd(desk, random.Random(7))
    events: list[dict[str, Any]] = []
    for second, price in enumerate((97, 93, 90, 84, 80, 71, 64, 50, 41, 40, 60), start=1):
        for symbol in ("BTC", "ETH"):
            events += desk.must("mark", symbol=symbol, mark_price=str(price),
                                ts=second * 20 * 10**9)
            audit(desk.exchange)  # drift 0, positions sum to zero, nobody due outside the queue
    assert only(events, "liquidation_started") and only(events, "liquidation_finished")
    assert only(events, "adl")
    for event in only(events, "liquidation_step"):
        assert float(event["filled"]) <= float(event["quantity"])
    held = desk.ask("totals")["positions"]
    assert all(sum(map(int, row.values())) == 0 for row in held.values())


@pytest.mark.parametrize("name", profiles.names())
def test_both_cores_agree_on_the_crash(name: str) -> None:
    hashes = set()
    for core in ("reference", "compiled"):
        desk = Desk(Exchange(core=core))
        for symbol in ("BTC", "ETH"):
            desk.symbol(symbol, tiers=list(STEEP_TIERS), profile=name)
        crowd(desk, random.Random(11))
        for second in range(1, 60):
            desk.must("mark", symbol=("BTC", "ETH")[second % 2],
                      mark_price=str(100 - second), ts=second * 7 * 10**9)
        hashes.add(desk.exchange.state_hash())
    assert len(hashes) == 1


def recorded_money(desk: Desk, accounts: range) -> Fraction:
    """All the money there is, added up from accounts, positions and the house's books."""
    books = desk.ask("totals")["assets"]["USDT"]
    wallets = margins = Fraction(0)
    for account in [9, *accounts]:
        figures = desk.ask("account", account=account)
        wallets += Fraction(figures["balances"].get("USDT", "0"))
        margins += sum(Fraction(each["isolated_margin"] or "0") for each in figures["positions"])
    return wallets + margins + sum(
        Fraction(books[name]) for name in ("insurance", "fees", "rounding", "external")
    ) - Fraction(books["entry_values"])


@pytest.mark.parametrize("name", profiles.names())
def test_a_crash_that_empties_books_fund_and_half_of_the_counterparties(
    desk: Desk, name: str
) -> None:
    for symbol in ("BTC", "ETH"):
        desk.symbol(symbol, tiers=list(STEEP_TIERS), profile=name, liquidation_fee="0.005")
    crowd(desk, random.Random(3))
    money = sum(
        Fraction(line["amount"]) for line in desk.log if line["cmd"] in ("deposit", "insurance"))
    shorts = [account for account in range(30, 40)
              if desk.ask("account", account=account)["positions"]]
    events: list[dict[str, Any]] = []
    prices = (95, 90, 85, 80, 70, 60, 50, 45, 40, *(40,) * 30)
    for minute, price in enumerate(prices, start=1):
        for symbol in ("BTC", "ETH"):
            events += desk.must("mark", symbol=symbol, mark_price=str(price),
                                ts=minute * 60 * 10**9)
        assert recorded_money(desk, range(10, 40)) == money
        audit(desk.exchange)
    # Nobody bids any more, the fund takes nothing more, and half of the shorts are closed.
    for symbol in ("BTC", "ETH"):
        assert desk.ask("book", symbol=symbol)["bids"] == []
    latest = [event["event"] for event in events
              if event["event"] in ("liquidation_takeover", "adl")]
    assert latest[-1] == "adl"
    flat = [account for account in shorts
            if not desk.ask("account", account=account)["positions"]]
    assert 2 * len(flat) >= len(shorts)
    # Every breach was worked on to its end, or is still in the queue.
    open_ones = Counter(event["account"] for event in only(events, "liquidation_started"))
    open_ones.subtract(event["account"] for event in only(events, "liquidation_finished"))
    queue = desk.ask("liquidation_queue")["entries"]
    assert +open_ones == Counter(entry["account"] for entry in queue)
    assert min(open_ones.values()) >= 0
    for row in desk.ask("totals")["positions"].values():
        assert sum(map(int, row.values())) == 0
