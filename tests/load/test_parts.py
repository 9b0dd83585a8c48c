"""The parts of the load generator, without processes: arrivals, commands, knees, growth."""

from __future__ import annotations

from itertools import chain, islice

import numpy as np
import pytest

from engine import Exchange
from engine.errors import InputError
from engine.load.arrivals import Arrivals
from engine.load.flow import KINDS, Flow, Words, parse_mix
from engine.load.histogram import Histogram, Timeline, merged
from engine.load.knee import RATE_MOST, Sample, find_knee
from engine.load.plan import LoadPlan, parse_duration
from engine.load.run import choose_books
from engine.load.soak import Watch, find_growth
from engine.load.world import World, trader_accounts
from engine.messages import Command

TAPE = np.array([0, 1, 2, 3, 1000, 1001, 5000], np.int64)


def times(kind: str, rate: float, count: int, part=(0, 1), seed=1, tape=None) -> np.ndarray:
    arrivals = Arrivals.parse(kind)
    if tape is not None:
        arrivals = Arrivals("tape", tape=tape)
    blocks = arrivals.blocks(rate, np.random.default_rng(seed), part)
    return np.array(list(islice(chain.from_iterable(blocks), count)))


@pytest.mark.parametrize("kind", ["constant", "poisson", "hawkes", "hawkes:0.9,200", "tape"])
def test_arrivals_rise_at_their_rate_and_come_again(kind):
    tape = np.cumsum(np.random.default_rng(3).integers(0, 10**6, 5_000)) if kind == "tape" else None
    tape = None if tape is None else tape - tape[0]
    one, again = (times(kind, 2_000, 40_000, tape=tape) for _ in range(2))
    assert (one == again).all() and (np.diff(one) >= 0).all()
    assert 40_000 / (one[-1] / 1e9) == pytest.approx(2_000, rel=0.1)


def test_hawkes_comes_in_bursts_and_poisson_does_not():
    def dispersion(kind: str) -> float:
        found = times(kind, 1_000, 50_000)
        counts = np.bincount(found // 100_000_000)[:-1]
        return counts.var() / counts.mean()

    assert dispersion("poisson") < 1.5 < 4 < dispersion("hawkes:0.8,50")


def test_constant_arrivals_are_dealt_to_clients_evenly():
    parts = [times("constant", 1_000, 100, (k, 4)) for k in range(4)]
    assert np.diff(np.sort(np.concatenate(parts))).tolist() == [1_000_000] * 399


def test_a_tape_keeps_its_shape_at_another_rate_and_is_repeated():
    whole = times("tape", 7, 14, tape=TAPE)
    assert whole[:7] == pytest.approx(TAPE * (1e9 / (5000 * 7 / 6)), abs=1)
    assert whole[7:] - whole[7] == pytest.approx(whole[:7], abs=1)
    assert whole[7] == pytest.approx(1e9, rel=1e-6)
    dealt = [times("tape", 7, 7, (k, 2), tape=TAPE) for k in range(2)]
    assert sorted(np.concatenate(dealt)) == whole.tolist()


@pytest.mark.parametrize("text", [
    "uniform", "poisson:1", "hawkes:1,5", "hawkes:0.5", "hawkes:x,y", "hawkes:0.5,0", "",
])
def test_arrivals_that_make_no_sense(text):
    with pytest.raises(InputError, match="--arrivals"):
        Arrivals.parse(text)


@pytest.mark.parametrize("text", ["limit=-1", "limit=x", "stop=1", "limit=0", "limit=nan", ""])
def test_mixes_that_make_no_sense(text):
    with pytest.raises(InputError, match="--mix"):
        parse_mix(text)


@pytest.mark.parametrize("text, seconds", [
    ("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("7", 7)])
def test_durations(text, seconds):
    assert parse_duration("--duration", text) == seconds


@pytest.mark.parametrize("options", [
    {"rate": 0}, {"rate": float("nan")}, {"duration_s": 0}, {"swing": 2}, {"clients": 0},
    {"clients": 65}, {"traders": 0}, {"batch": 1025},
])
def test_plans_that_make_no_sense(options):
    usual = {"rate": 1.0, "duration_s": 1.0, "arrivals": Arrivals(), "mix": parse_mix("limit=1")}
    with pytest.raises(InputError, match="--"):
        LoadPlan(**(usual | options))


def exchange_with_books(accounts: int = 0):
    exchange = Exchange()
    World(accounts).build(exchange)
    for account in trader_accounts(0, 4):
        exchange.submit({"cmd": "account", "account": account})
        exchange.submit(
            {"cmd": "deposit", "account": account, "asset": "USDT", "amount": "1000000"})
    exchange.drain()
    return exchange, choose_books(exchange.symbols, (), exchange.query)


def flow_of(books, seed: int = 1, mix: str = "limit=4,cancel=2,amend=2,market=1,mark=1") -> Flow:
    return Flow(books, trader_accounts(0, 4), parse_mix(mix), 0.01, np.random.default_rng(seed))


def test_the_flow_follows_its_seed_and_its_mix():
    _, books = exchange_with_books()
    due = np.arange(0, 10**10, 10**6)
    rows, again, other = (flow_of(books, seed).commands(due) for seed in (1, 1, 2))
    assert (rows == again).all() and (rows != other).any()
    counts = {kind: int((rows["cmd"] == kind).sum()) for kind in (
        Command.MARK, Command.CANCEL, Command.AMEND, Command.ORDER)}
    for kind, share in (
        (Command.MARK, 0.1), (Command.CANCEL, 0.2), (Command.AMEND, 0.2), (Command.ORDER, 0.5)):
        assert counts[kind] / len(due) == pytest.approx(share, abs=0.03)
    assert len(KINDS) == 5


def test_words_and_packed_rows_are_the_same_commands():
    packed, books = exchange_with_books()
    spoken, _ = exchange_with_books()
    rows = flow_of(books).commands(np.arange(0, 10**9, 10**6))
    packed.submit_many(rows)
    for command in Words(books).of(rows):
        spoken.apply(command)
    assert packed.state_hash() == spoken.state_hash()
    assert sum(event["event"] == "trade" for event in packed.drain()) > 10


def test_a_client_keeps_no_more_orders_than_it_may(monkeypatch):
    from engine.load import flow

    monkeypatch.setattr(flow, "_LIVE_MAX", 50)
    _, books = exchange_with_books()
    rows = flow_of(books, mix="limit=1").commands(np.arange(1_000))
    placed, gone = ((rows["cmd"] == kind).sum() for kind in (Command.ORDER, Command.CANCEL))
    assert placed - gone <= 50 and gone > 400


def test_books_that_cannot_be_traded():
    exchange = Exchange()
    with pytest.raises(InputError, match="no instrument to trade"):
        choose_books(exchange.symbols, (), exchange.query)
    World(0).build(exchange)
    with pytest.raises(InputError, match="DOGE: no such instrument"):
        choose_books(exchange.symbols, ("DOGE",), exchange.query)
    assert [book.index for book in choose_books(
        exchange.symbols, ("SOLUSDT", "BTCUSDT"), exchange.query)] == [2, 0]


def test_the_histogram_counts_to_three_digits(tmp_path):
    values = np.random.default_rng(1).lognormal(14, 1, 50_000).astype(np.int64)
    one = Histogram()
    for part in np.array_split(values, 7):
        one.add(part)
    both = merged([one, one])
    assert both.count == 100_000
    for percent in (50, 99, 99.9):
        exact = float(np.percentile(values, percent))
        assert one.percentile(percent) == pytest.approx(exact, rel=0.002)
        assert both.percentile(percent) == one.percentile(percent)
    one.write(tmp_path / "x.hgrm")
    lines = (tmp_path / "x.hgrm").read_text().splitlines()
    assert "Percentile" in lines[0] and lines[-1].startswith("#[")
    median = next(line.split() for line in lines[2:] if float(line.split()[1]) >= 0.5)
    assert float(median[0]) == pytest.approx(float(np.median(values)) / 1e6, rel=0.1)


def test_the_timeline_counts_by_when_commands_were_due():
    line = Timeline(1.0)
    due = np.array([0, 5 * 10**8, 10**9, 3 * 10**9])
    line.add(due, np.array([1, 3, 10, 20]) * 10**6)
    line.close(2.0)
    assert [(part.start_s, part.count, part.longest) for part in line.intervals] == [
        (0, 2, 3.0), (1, 1, 10.0)]
    line.add(np.array([0]), np.array([10**9]))  # too late for its interval
    line.close(9.0)
    assert [part.count for part in line.intervals] == [2, 1, 1]


def sample(p99: float, is_whole: bool = True) -> Sample:
    return Sample(1, p99, p99, 1, 0, is_whole)


@pytest.mark.parametrize("capacity", [30.0, 777.0, 2_000.0, 123_456.0])
def test_the_search_brackets_the_knee(capacity):
    asked = []

    def measure(rate: float) -> Sample:
        asked.append(rate)
        return sample(5 if rate <= capacity else 500)

    knee = find_knee(measure, 10.0, 2_000, precision=0.05)
    assert capacity / 1.05 <= knee.rate <= capacity and knee.is_bounded
    assert knee.probe is not None and knee.probe.holds and len(asked) < 60


def test_the_median_of_repeats_decides_and_a_leg_given_up_fails():
    turns = {100.0: [5, 50, 5], 200.0: [50, 5, 50]}
    counts = dict.fromkeys(turns, 0)

    def measure(rate: float) -> Sample:
        if rate not in turns:
            return sample(1, is_whole=rate < 200)
        counts[rate] += 1
        return sample(turns[rate][counts[rate] - 1])

    knee = find_knee(measure, 10.0, 100, repeats=3, precision=0.5)
    assert counts == {100.0: 3, 200.0: 3} and 100 <= knee.rate < 200
    assert find_knee(lambda rate: sample(1, is_whole=False), 10.0, 100).rate == 0
    endless = find_knee(lambda rate: sample(1), 10.0, 100)
    assert not endless.is_bounded and endless.rate == RATE_MOST


def test_a_rate_that_holds_above_one_that_failed_is_no_knee():
    knee = find_knee(lambda rate: sample(50 if 90 < rate < 300 else 1), 10.0, 100, repeats=1)
    assert knee.rate <= 90


MIB = 1 << 20


@pytest.mark.parametrize("shape, verdict", [
    (lambda at: 100, False),
    (lambda at: 100 + min(at, 50), False),  # fills up at first
    (lambda at: 100 + at % 20, False),  # a sawtooth
    (lambda at: 100 + at / 4, True),
    (lambda at: 100 + at / 100, False),  # less than is tolerated
])
def test_memory_that_grows(shape, verdict):
    growth = find_growth([(float(at), int(shape(at) * MIB)) for at in range(400)])
    assert growth is not None and growth.is_growing == verdict
    watch = Watch()
    found = watch.failures([(float(at), int(shape(at) * MIB)) for at in range(400)])
    assert len(found) == verdict and all("memory grew" in one for one in found)


def test_a_short_run_says_nothing_about_memory():
    assert find_growth([]) is None
    assert find_growth([(float(at), at * MIB) for at in range(8)]) is None


def test_a_watch_asks_now_and_then_and_remembers_drift():
    watch, asked = Watch(), []
    for second in range(25):
        watch.look(second, lambda: asked.append(1) or ("0" if len(asked) < 3 else "['1']"))
    assert watch.looks == 3 == len(asked)
    assert watch.failures([]) == ["drift ['1'] after 20 s"]
