"""Margin schedules of venues: what each shape becomes, and what is refused in one line."""

from __future__ import annotations

import copy
import itertools
import json
import random
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Exchange, cli
from engine.errors import InputError
from engine.instruments import Asset, parse_tiers
from engine.messages import RATE_SCALE, TierRule
from engine.reference.margin import Schedule
from engine.schedules import (
    Contract,
    deductions,
    load_schedules,
    read_contracts,
    read_schedules,
    tiers_commands,
)
from engine.units import Grid, decimal_text


def tier(low: str, high: str | None, rate: str, leverage: str) -> dict[str, str | None]:
    return {"min_notional": low, "max_notional": high, "maintenance_margin_rate": rate,
            "max_leverage": leverage}


#: One schedule, and the same as every venue would write it.
ROWS = [
    tier("0", "50000", "0.004", "125"),
    tier("50000", "250000", "0.005", "100"),
    tier("250000", "1000000.5", "0.01", "50"),
]
CUMS = ["0", "50", "1300"]

BRACKETS = [{"symbol": "BTCUSDT", "brackets": [
    {"bracket": number, "initialLeverage": int(row["max_leverage"]), "cum": Decimal(cum),
     "notionalFloor": Decimal(row["min_notional"]), "notionalCap": Decimal(row["max_notional"]),
     "maintMarginRatio": Decimal(row["maintenance_margin_rate"])}
    for number, (row, cum) in enumerate(zip(ROWS, CUMS, strict=True), start=1)]}]
UNIFIED = {"BTCUSDT": [
    {"tier": bracket["bracket"], "currency": "USDT", "minNotional": bracket["notionalFloor"],
     "maxNotional": bracket["notionalCap"], "maxLeverage": bracket["initialLeverage"],
     "maintenanceMarginRate": bracket["maintMarginRatio"],
     "info": {name: str(value) for name, value in bracket.items()}}
    for bracket in BRACKETS[0]["brackets"]]}
RISK_LIMITS = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": [
    {"id": number, "symbol": "BTCUSDT", "riskLimitValue": row["max_notional"],
     "maintenanceMargin": row["maintenance_margin_rate"], "initialMargin": initial,
     "maxLeverage": row["max_leverage"] + ".00", "mmDeduction": cum if cum != "0" else ""}
    for number, (row, cum, initial) in enumerate(
        zip(ROWS, CUMS, ("0.008", "0.01", "0.02"), strict=True), start=1)]}}
POSITION_TIERS = {"code": "0", "msg": "", "data": [
    {"instFamily": "BTCUSDT", "instId": "", "tier": str(number), "minSz": low, "maxSz": high,
     "mmr": row["maintenance_margin_rate"], "imr": "", "maxLever": row["max_leverage"]}
    for number, (row, low, high) in enumerate(
        zip(ROWS, ("0", "100.01", "500.01"), ("100", "500", "2000.001"), strict=True), start=1)]}
CONTRACTS = {"BTCUSDT": Contract("0.01", "50000", 2, "0.01")}
META = {"universe": [{"name": "BTC", "maxLeverage": 40, "marginTableId": 56},
                     {"name": "OLD", "maxLeverage": 3, "marginTableId": 3, "isDelisted": True}],
        "marginTables": [[56, {"description": "", "marginTiers": [
            {"lowerBound": "0.0", "maxLeverage": 40},
            {"lowerBound": "150000000.0", "maxLeverage": 20}]}]]}
TABLE = (
    "Pair,Tier,Position (Notional Value),Max. Leverage\n"
    "BTCUSDT,Tier 1,0 ~ 50000,125X\nETHUSDT,Tier 1,0 ~ 10,3X\nBTCUSDT,Tier 2,50000 ~ 250000,100X\n")


class Encoder(json.JSONEncoder):
    """Writes a Decimal as the number that it is, by way of a marked string."""

    def default(self, value: object) -> str:
        return f"@{value}@"


def write(folder: Path, data: object, name: str = "tiers.dat") -> str:
    path = folder / name
    text = data if isinstance(data, str) else json.dumps(data, cls=Encoder)
    path.write_text(text.replace('"@', "").replace('@"', ""))
    return str(path)


# --- shapes ---------------------------------------------------------------------------

SHAPES: dict[str, tuple[object, str]] = {
    "binance": (BRACKETS, "marginal"),
    "ccxt": (UNIFIED, "marginal"),
    "bybit": (RISK_LIMITS, "marginal"),
    "okx": (POSITION_TIERS, "whole"),
    "rows": ({"BTCUSDT": ROWS}, "marginal"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("from_file", [True, False])
def test_every_shape_becomes_the_same_rows(tmp_path, shape, from_file):
    data, rule = SHAPES[shape]
    # The extension says something else on purpose: only the content counts.
    source = write(tmp_path, data, "tiers.csv") if from_file else data
    loaded = read_schedules(source, contracts=CONTRACTS)
    assert (loaded.shape, loaded.tier_rule) == (shape, rule)
    assert loaded.schedules == {"BTCUSDT": ROWS}
    notes = [note.text for note in loaded.notes]
    assert notes == ([] if shape != "okx" else [
        "BTCUSDT: contracts of 0.01 made notionals at a price of 50000"])


def test_a_single_symbol_and_bare_lists_are_read_too():
    assert load_schedules(BRACKETS[0]) == {"BTCUSDT": ROWS}
    bare = [{name: value for name, value in row.items() if name != "symbol"}
            for row in RISK_LIMITS["result"]["list"]]
    assert load_schedules(bare, symbol="X") == {"X": ROWS}
    assert load_schedules(UNIFIED["BTCUSDT"], symbol="X") == {"X": ROWS}
    assert load_schedules(POSITION_TIERS["data"], contracts=CONTRACTS) == {"BTCUSDT": ROWS}
    for rows in (bare, UNIFIED["BTCUSDT"]):
        with pytest.raises(InputError, match="the rows name no symbol; say which it is"):
            load_schedules(rows)


def test_coin_margined_brackets_are_in_coin():
    brackets = copy.deepcopy(BRACKETS)
    for bracket in brackets[0]["brackets"]:
        bracket["qtylFloor"] = bracket.pop("notionalFloor")
        bracket["qtyCap"] = bracket.pop("notionalCap")
    assert load_schedules(brackets) == {"BTCUSDT": ROWS}


def test_the_largest_int64_is_no_cap(tmp_path):
    unified = copy.deepcopy(UNIFIED)
    unified["BTCUSDT"][2]["maxNotional"] = Decimal("9.223372036854776E+18")
    unified["BTCUSDT"][2]["info"]["notionalCap"] = "9223372036854775807"
    loaded = read_schedules(write(tmp_path, unified))
    assert loaded.schedules["BTCUSDT"][2]["max_notional"] is None
    assert [note.text for note in loaded.notes] == [
        "BTCUSDT: tier 3: maxNotional 9.223372036854776E+18 is the largest int64: read as no cap"]


def test_numbers_keep_their_text(tmp_path):
    numbers = ["@0.0@", "@1.23E-6@", "@1E2@"]
    path = write(tmp_path, {"X": [tier(numbers[0], None, *numbers[1:])]})
    assert load_schedules(path) == {"X": [tier("0", None, "0.00000123", "100")]}


def test_a_users_brackets_are_read_as_written_and_said():
    loaded = read_schedules({**BRACKETS[0], "notionalCoef": "1.5"})
    assert loaded.schedules == {"BTCUSDT": ROWS}
    assert "notionalCoef 1.5" in loaded.notes[0].text


def test_bybit_says_what_the_engine_does_otherwise():
    reply = copy.deepcopy(RISK_LIMITS)
    reply["result"]["nextPageCursor"] = "abc"
    reply["result"]["list"][1]["initialMargin"] = "0.0099"
    assert [note.text for note in read_schedules(reply).notes] == [
        "nextPageCursor is set: more symbols are on the next page",
        "BTCUSDT: tier 2: initialMargin 0.0099 is not 1 / maxLeverage 100.00: the engine asks for "
        "1 / max_leverage"]


def test_hyperliquid_halves_the_initial_rate():
    loaded = read_schedules(META)
    assert loaded.schedules == {
        "BTC": [tier("0", "150000000", "0.0125", "40"), tier("150000000", None, "0.025", "20")],
        "OLD": [tier("0", None, "0.16666667", "3")]}
    assert deductions(loaded.schedules["BTC"]) == ["0", "1875000"]
    assert [note.text for note in loaded.notes] == [
        "OLD: isDelisted", "OLD: tier 1: maintenance rate 1/6 read as 0.16666667"]


def test_table_with_and_without_rates(tmp_path):
    loaded = read_schedules(write(tmp_path, TABLE, "t.json"), maintenance_fraction="0.5")
    assert loaded.shape == "csv"
    assert loaded.schedules == {
        "BTCUSDT": [tier("0", "50000", "0.004", "125"), tier("50000", "250000", "0.005", "100")],
        "ETHUSDT": [tier("0", "10", "0.16666667", "3")]}
    assert [note.text for note in loaded.notes] == [
        "no maintenance rates in the table: 1/2 of 1 / max_leverage was asked for",
        "ETHUSDT: tier 1: maintenance rate 1/6 read as 0.16666667"]
    whole = load_schedules(write(tmp_path, TABLE), maintenance_fraction=1)["ETHUSDT"]
    assert whole == [tier("0", "10", "0.33333333", "3")]  # not beyond 1 / leverage
    header = "symbol,max_leverage,min_notional,max_notional,maintenance_margin_rate\r\n"
    given = header + "X,125,0,50000,0.4%\r\nX,100,50000,,0.005\r\n"
    assert load_schedules(write(tmp_path, given)) == {
        "X": [tier("0", "50000", "0.004", "125"), tier("50000", None, "0.005", "100")]}


# --- contracts ------------------------------------------------------------------------

SWAPS = {"code": "0", "data": [
    {"instId": "ETH-USDT-SWAP", "instFamily": "ETH-USDT", "ctType": "linear", "ctVal": "0.1",
     "ctMult": "1", "lotSz": "0.01"},
    {"instId": "BTC-USD-SWAP", "instFamily": "BTC-USD", "ctType": "inverse", "ctVal": "100",
     "ctMult": "1", "lotSz": "1"},
    {"instId": "SOL-USDT-SWAP", "ctType": "", "ctVal": "", "ctMult": "", "lotSz": ""}]}


def okx_tiers(name: str, *sizes: tuple[str, str]) -> list[dict[str, str]]:
    return [{"instFamily": name, "tier": str(number), "minSz": low, "maxSz": high, "mmr": "0.01",
             "imr": "0.02", "maxLever": "50"} for number, (low, high) in enumerate(sizes, start=1)]


def test_contracts_come_from_the_instruments_and_a_price():
    contracts = read_contracts(SWAPS, {"ETH-USDT-SWAP": "3000.37", "BTC-USD-SWAP": "60000"})
    assert contracts["ETH-USDT"] == Contract("0.1", "3000.37", 2, "0.01")
    assert contracts["BTC-USD"] == Contract("100", "60000", 8, "1", is_inverse=True)
    assert "SOL-USDT-SWAP" not in contracts
    with pytest.raises(InputError, match="SOL-USDT-SWAP: ctType is neither"):
        read_contracts(SWAPS, {"SOL-USDT-SWAP": "1"})
    rows = [*okx_tiers("ETH-USDT", ("0", "7"), ("7.01", "10")), *okx_tiers("BTC-USD", ("0", "70"))]
    loaded = read_schedules(rows, contracts=contracts)
    # 7 x 0.1 x 3000.37 = 2100.259, cut; 70 x 100 / 60000 = 0.11666666…, cut.
    edges = {name: [row["max_notional"] for row in made]
             for name, made in loaded.schedules.items()}
    assert edges == {"ETH-USDT": ["2100.25", "3000.37"], "BTC-USD": ["0.11666666"]}
    assert [note.text for note in loaded.notes] == [
        "ETH-USDT: contracts of 0.1 made notionals at a price of 3000.37, edges cut to 2 decimals",
        "BTC-USD: contracts of 100 made notionals at a price of 60000, edges cut to 8 decimals"]


def test_a_tier_may_begin_one_lot_above_the_one_before():
    tiers = okx_tiers("X", ("0.01", "7"), ("7.01", "10"))
    assert load_schedules(tiers, contracts={"X": Contract(1, 1, 2, "0.01")}) == {
        "X": [tier("0", "7", "0.01", "50"), tier("7", "10", "0.01", "50")]}


@pytest.mark.parametrize(("sizes", "reason"), [
    ([("0.02", "7")], "tier 1: gap: minSz 0.02 after 0"),
    ([("0", "7"), ("8", "10")], "tier 2: gap: minSz 8 after 7"),
    ([("0", "7"), ("6", "10")], "tier 2: overlap: minSz 6 after 7"),
    ([("1", "7")], "tier 1: gap: minSz 1 after 0"),
    ([("0", "7"), ("7", "7")], "tier 2: maxSz is not above the tier before"),
])
def test_bad_sizes_in_contracts(sizes, reason):
    with pytest.raises(InputError) as caught:
        load_schedules(okx_tiers("X", *sizes), contracts={"X": Contract(1, 1, 2, "0.01")})
    assert str(caught.value) == f"<data>: X: {reason}"


# --- what is refused ------------------------------------------------------------------


def with_change(shape: str, at: int, **changed: Any) -> Any:
    """Return a shape's data with some fields of one tier changed; None takes a field away."""
    data: Any = copy.deepcopy(SHAPES[shape][0])
    rows = {"binance": lambda: data[0]["brackets"], "ccxt": lambda: data["BTCUSDT"],
            "bybit": lambda: data["result"]["list"], "okx": lambda: data["data"],
            "rows": lambda: data["BTCUSDT"]}[shape]()
    for name, value in changed.items():
        if value is None:
            del rows[at - 1][name]
        else:
            rows[at - 1][name] = value
    return data


REFUSED = [
    # What the engine's rules forbid, in each shape.
    ("tier 2: gap: min_notional 50001 after 50000",
     with_change("binance", 2, notionalFloor=50001)),
    ("tier 2: overlap: min_notional 49999 after 50000",
     with_change("rows", 2, min_notional="49999")),
    ("tier 1: gap: min_notional 1 after 0", with_change("rows", 1, min_notional="1")),
    ("tier 3: maintenance_margin_rate falls", with_change("bybit", 3, maintenanceMargin="0.0049")),
    ("tier 2: max_leverage rises", with_change("rows", 2, max_leverage="125.5")),
    ("tier 2: maintenance_margin_rate exceeds 1 / max_leverage",
     with_change("okx", 2, mmr="0.010001")),
    ("tier 2: maintenance_margin_rate is negative",
     with_change("rows", 2, maintenance_margin_rate="-0.005")),
    ("tier 2: max_notional is not above min_notional",
     with_change("bybit", 2, riskLimitValue="50000")),
    ("tier 2: a rate is finer than 0.00000001",
     with_change("rows", 2, maintenance_margin_rate="0.0045678912")),
    ("tier 1: max_leverage is below 1", with_change("rows", 1, max_leverage="0.5")),
    ("tier 1: a number is too large", with_change("rows", 1, max_notional="1" + "0" * 20)),
    # A field that is missing or no number.
    ("tier 2: notionalFloor is missing", with_change("binance", 2, notionalFloor=None)),
    ("tier 2: notionalCap is missing", with_change("binance", 2, notionalCap=None)),
    ("tier 1: maintMarginRatio is missing", with_change("binance", 1, maintMarginRatio=None)),
    ("tier 1: initialLeverage is missing", with_change("binance", 1, initialLeverage="")),
    ("tier 2: minNotional is missing", with_change("ccxt", 2, minNotional=None)),
    ("tier 3: maxNotional is missing", with_change("ccxt", 3, maxNotional=None)),
    ("tier 3: maintenanceMarginRate is missing", with_change("ccxt", 3, maintenanceMarginRate="")),
    ("tier 3: maxLeverage is missing", with_change("ccxt", 3, maxLeverage=None)),
    ("tier 2: riskLimitValue is missing", with_change("bybit", 2, riskLimitValue="")),
    ("tier 2: maintenanceMargin is missing", with_change("bybit", 2, maintenanceMargin=None)),
    ("tier 2: maxLeverage is missing", with_change("bybit", 2, maxLeverage=None)),
    ("tier 2: minSz is missing", with_change("okx", 2, minSz=None)),
    ("tier 2: maxSz is missing", with_change("okx", 2, maxSz=None)),
    ("tier 2: mmr is missing", with_change("okx", 2, mmr="")),
    ("tier 2: maxLever is missing", with_change("okx", 2, maxLever=None)),
    ("tier 3: max_notional is missing", with_change("rows", 3, max_notional="")),
    ("tier 3: max_notional is missing", with_change("rows", 3, max_notional=None)),
    ("tier 2: maintenance_margin_rate is a float; parse JSON with parse_float=Decimal",
     with_change("rows", 2, maintenance_margin_rate=0.005)),
    ("tier 2: maintenance_margin_rate is not a number: '0,005'",
     with_change("rows", 2, maintenance_margin_rate="0,005")),
    ("tier 2: maintenance_margin_rate is not a number: 'True'",
     with_change("rows", 2, maintenance_margin_rate=True)),
    ("tier 2: maintenance_margin_rate is not a number: '[1]'",
     with_change("rows", 2, maintenance_margin_rate=[1])),
    ("tier 2: maintenance_margin_rate is not a number: 'NaN'",
     with_change("rows", 2, maintenance_margin_rate=Decimal("NaN"))),
    ("tier 2: max_notional has too many digits", with_change("rows", 2, max_notional="1e9999")),
    # What contradicts itself.
    ("tier 2: bracket is 3: the rows are not in order, or one is missing",
     with_change("binance", 2, bracket=3)),
    ("tier 2: tier is 3: the rows are not in order, or one is missing",
     with_change("ccxt", 2, tier=3)),
    ("tier 3: tier is 2: the rows are not in order, or one is missing",
     with_change("okx", 3, tier="2")),
    ("tier 3: cum is 1299, but the tiers give 1300", with_change("binance", 3, cum=1299)),
    ("tier 3: mmDeduction is 1301, but the tiers give 1300",
     with_change("bybit", 3, mmDeduction="1301")),
    ("tier 2: maxLeverage is 99, but info.initialLeverage is 100",
     with_change("ccxt", 2, maxLeverage=99)),
    ("tier 2: sizes are in contracts; load the venue's own position tiers",
     with_change("ccxt", 2, info={"maxSz": "5"})),
]


@pytest.mark.parametrize(("reason", "data"), REFUSED)
def test_refused_with_symbol_tier_and_reason(reason, data):
    with pytest.raises(InputError) as caught:
        load_schedules(data, contracts=CONTRACTS)
    assert str(caught.value) == f"<data>: BTCUSDT: {reason}"


WRONG = [
    ("cannot open: no such file or directory", None),
    ("the file is empty", " \n"),
    ("not a text file", "\udcff\udcfe"),
    ("none of ccxt leverage tiers", "hello\n"),
    ("none of ccxt leverage tiers", "{}"),
    ("none of ccxt leverage tiers", "[]"),
    ("none of ccxt leverage tiers", '{"code":-1121,"msg":"Invalid symbol."}'),
    ("none of ccxt leverage tiers", '{"X": []}'),
    ("not JSON: Expecting", '{"X": '),
    ("not JSON: NaN is not a number", '{"X": NaN}'),
    ("not JSON: 'X' comes twice in one object", '{"X": [], "X": []}'),
    ("not JSON: maximum recursion depth", "[" * 100_000),
    ("the reply is an error: 10001 'params error'", {"retCode": 10001, "retMsg": "params error"}),
    ("the reply is an error: 51000 'bad'", {"code": "51000", "msg": "bad", "data": []}),
    ("no tiers in the file", {"code": "0", "msg": "", "data": []}),
    ("expected a list of tiers", {"retCode": 0, "result": {}}),
    ("BTCUSDT: the symbol comes twice", BRACKETS * 2),
    ("BTCUSDT: no tiers", [{"symbol": "BTCUSDT", "brackets": []}]),
    ("X: no tiers", {"X": [], "Y": [tier("0", None, "0.1", "5")]}),
    ("BTCUSDT: tier 1: expected an object", [{"symbol": "BTCUSDT", "brackets": [1]}]),
    ("expected a symbol with its brackets", [*BRACKETS, {}]),
    ("symbol is not a name: 'None'", [{"brackets": []}]),
    ("symbol is not a name: 'A\\nB'", [{"symbol": "A\nB", "brackets": []}]),
    ("BTCUSDT: the tiers are in contracts; give the contract's size", POSITION_TIERS),
    ("more than 64 tiers", {"X": [tier("0", "1", "0.1", "5")] * 65}),
    ("the table has no maintenance rates", TABLE),
    (":2: expected 4 columns, found 2", TABLE.replace("Tier 1,0", "Tier 1 0")
     .replace("125X", "").replace(",\n", "\n")),
    (":2: BTCUSDT: tier 1: expected a range LOW ~ HIGH, not '0 - 50000'",
     TABLE.replace("0 ~ 50000", "0 - 50000")),
    (":4: BTCUSDT: tier 2: tier is 3: the rows are not in order, or one is missing",
     TABLE.replace("Tier 2", "Tier 3")),
    (":2: BTCUSDT: tier 1: max_leverage is not a number: 'max'", TABLE.replace("125X", "max")),
    (":2: BTCUSDT: tier 1: max_leverage is not above zero", TABLE.replace("125X", "0")),
    ("BTCUSDT: tier 2: gap: min_notional 60000 after 50000",
     TABLE.replace("50000 ~ 2", "60000 ~ 2")),
    (":2: symbol is not a name: ''", TABLE.replace("BTCUSDT,Tier 1", ",Tier 1")),
    ("marginTables: expected a list", {**META, "marginTables": {}}),
    ("marginTables: expected pairs", {**META, "marginTables": [56]}),
    ("table 56: no tiers", {**META, "marginTables": [[56, {"marginTiers": []}]]}),
    ("BTC: marginTableId 56 is not among the marginTables", {**META, "marginTables": []}),
    ("BTC: maxLeverage is 50, but table 56 begins with 40",
     {**META, "universe": [{**META["universe"][0], "maxLeverage": 50}]}),
    ("BTC: maxLeverage is missing", {**META, "universe": [{"name": "BTC"}]}),
    ("BTC: the symbol comes twice", {**META, "universe": META["universe"][:1] * 2}),
]


@pytest.mark.parametrize(("reason", "content"), WRONG)
def test_wrong_files_are_named_in_one_line(tmp_path, reason, content):
    fraction = None if content == TABLE else "0.5"
    if content == "\udcff\udcfe":
        path = str(tmp_path / "raw")
        Path(path).write_bytes(b"\xff\xfe\x00")
    else:
        path = str(tmp_path / "no") if content is None else write(tmp_path, content)
    with pytest.raises(InputError) as caught:
        load_schedules(path, maintenance_fraction=fraction)
    message = str(caught.value)
    assert message.startswith(f"{path}:") and reason in message and "\n" not in message


@pytest.mark.parametrize("fraction", ["0", "1.01", "-1", "x"])
def test_a_fraction_that_is_none(tmp_path, fraction):
    with pytest.raises(InputError, match="maintenance_fraction"):
        load_schedules(write(tmp_path, TABLE), maintenance_fraction=fraction)


# --- any schedule ---------------------------------------------------------------------


@st.composite
def schedules(draw: st.DrawFn) -> list[dict[str, str | None]]:
    """Rows that keep the rules: ascending edges and rates, falling leverages."""
    count = draw(st.integers(1, 8))
    edges = sorted(draw(st.sets(
        st.integers(1, 10**12), min_size=count, max_size=count)))
    leverages = sorted(
        draw(st.lists(st.integers(100, 15_000), min_size=count, max_size=count)), reverse=True)
    rates: list[int] = []
    for leverage in leverages:
        most = RATE_SCALE * 100 // leverage
        rates.append(draw(st.integers(rates[-1] if rates else 0, most)))
    texts = ["0", *(decimal_text(edge, 3) for edge in edges)]
    return [
        tier(low, high, decimal_text(rate, 8), decimal_text(leverage, 2))
        for low, high, rate, leverage in zip(texts, texts[1:], rates, leverages, strict=False)]


def shapes_of(rows: list[dict[str, str | None]]) -> list[Any]:
    """The same schedule in the shapes of the venues, without the fields that may be missing."""
    return [
        {"X": rows},
        {"symbol": "X", "brackets": [
            {"notionalFloor": row["min_notional"], "notionalCap": row["max_notional"],
             "maintMarginRatio": row["maintenance_margin_rate"], "cum": amount,
             "initialLeverage": row["max_leverage"]}
            for row, amount in zip(rows, deductions(rows), strict=True)]},
        {"X": [{"minNotional": row["min_notional"], "maxNotional": row["max_notional"],
                "maintenanceMarginRate": row["maintenance_margin_rate"],
                "maxLeverage": row["max_leverage"]} for row in rows]},
        [{"symbol": "X", "riskLimitValue": row["max_notional"],
          "maintenanceMargin": row["maintenance_margin_rate"],
          "maxLeverage": row["max_leverage"]} for row in rows],
        [{"instId": "X", "minSz": row["min_notional"], "maxSz": row["max_notional"],
          "mmr": row["maintenance_margin_rate"], "maxLever": row["max_leverage"]} for row in rows],
    ]


def asset(decimals: int) -> Asset:
    return Asset(0, "USDT", decimals, Grid(decimal_text(1, decimals)))


def reference_schedule(rows: Any, decimals: int) -> Schedule:
    return Schedule.build(TierRule.MARGINAL, parse_tiers(rows, asset(decimals)))


@settings(max_examples=50)
@given(schedules(), st.data())
def test_any_schedule_is_the_same_in_every_shape_and_to_the_engine(rows, data):
    contracts = {"X": Contract(1, 1, 3)}
    for shape in shapes_of(rows):
        assert load_schedules(shape, contracts=contracts) == {"X": rows}
    engine = reference_schedule(rows, 6)
    index = data.draw(st.integers(0, len(rows) - 1))
    found, row = engine.tiers[index], rows[index]
    amount = Fraction(deductions(rows)[index])
    assert found.deduction == amount * 10**6 * RATE_SCALE
    notional = data.draw(st.integers(found.min_notional + 1, found.max_notional))
    exact = notional * Fraction(row["maintenance_margin_rate"]) - amount * 10**6
    assert engine.maintenance_margin(notional) == -(-exact // 1)


# --- recorded tables ------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(real_data) -> Path:
    """Folder of recorded tier tables."""
    folder = real_data / "tiers"
    if not folder.is_dir():
        pytest.skip(f"no recorded tiers at {folder}")
    return folder


@pytest.fixture(scope="module", params=["binance_2022-10.json", "binance_2025-09.json"])
def recorded(request, tables) -> tuple[Any, dict[str, Any]]:
    """One Binance table: as loaded, and the venue's own brackets read with nothing of ours."""
    path = tables / request.param
    raw = json.loads(path.read_text(), parse_float=Decimal, parse_int=Decimal)
    brackets = {symbol: [row["info"] for row in rows] for symbol, rows in raw.items()}
    return read_schedules(path), brackets


def settle_decimals(symbol: str) -> int:
    return 8 if symbol.endswith(":BTC") else 6


def test_recorded_tables_load_whole(recorded):
    loaded, brackets = recorded
    counts = (len(loaded.schedules), sum(map(len, loaded.schedules.values())))
    assert counts in {(193, 1203), (588, 5299)}
    assert {note.symbol for note in loaded.notes} == (
        {"BTCSTUSDT", "BTC/USDT"} if counts[0] == 193 else {"BTCST/USDT:USDT"})
    for symbol, rows in loaded.schedules.items():
        for row, bracket in zip(rows, brackets[symbol], strict=True):
            cap = Decimal(bracket["notionalCap"])
            assert (cap == 2**63 - 1) if row["max_notional"] is None else (
                cap == Decimal(row["max_notional"]))
            assert Decimal(row["min_notional"]) == Decimal(bracket["notionalFloor"])
            assert Decimal(row["maintenance_margin_rate"]) == Decimal(bracket["maintMarginRatio"])
            assert Decimal(row["max_leverage"]) == Decimal(bracket["initialLeverage"])


def test_deductions_are_the_recorded_cum_at_every_edge(recorded):
    loaded, brackets = recorded
    edges = 0
    for symbol, rows in loaded.schedules.items():
        cums = [Decimal(bracket["cum"]) for bracket in brackets[symbol]]
        assert [Decimal(amount) for amount in deductions(rows)] == cums
        edges += len(rows) - 1
    assert edges == {193: 1010, 588: 4711}[len(loaded.schedules)]


def test_maintenance_is_notional_x_rate_less_the_recorded_cum(recorded):
    loaded, brackets = recorded
    chance = random.Random(20250929)
    for symbol, rows in loaded.schedules.items():
        scale = 10 ** settle_decimals(symbol)
        schedule = reference_schedule(rows, settle_decimals(symbol))
        for found, bracket in zip(schedule.tiers, brackets[symbol], strict=True):
            rate = Fraction(bracket["maintMarginRatio"])
            cum = Fraction(Decimal(bracket["cum"])) * scale
            low, high = found.min_notional, min(found.max_notional, 10**18)
            for notional in (low + 1, chance.randint(low + 1, high), high):
                assert schedule.maintenance_margin(notional) == -(-(notional * rate - cum) // 1)


def test_a_reference_exchange_takes_every_recorded_schedule(recorded):
    loaded, brackets = recorded
    exchange = Exchange(core="reference")
    for name in ("USDT", "BTC"):
        exchange.apply({"cmd": "asset", "asset": name, "decimals": 8 if name == "BTC" else 6})
    declared = {"kind": "linear", "base": "X", "quote": "X", "tick_size": "0.01",
                "lot_size": "0.0001"}
    chance = random.Random(7)
    account = itertools.count(1)
    for command in tiers_commands(loaded.schedules):
        symbol, rows = command["symbol"], command["tiers"]
        settle = "BTC" if symbol.endswith(":BTC") else "USDT"
        declaration = {"cmd": "instrument", "symbol": symbol, "settle": settle, **declared}
        events = exchange.apply({**declaration, "tiers": [tier("0", None, "0", "1")]})
        events += exchange.apply(command)
        assert [event["event"] for event in events if event["event"] == "rejected"] == []
        shown = exchange.query({"query": "tiers", "symbol": symbol})["tiers"]
        cums = [Fraction(Decimal(bracket["cum"])) for bracket in brackets[symbol]]
        assert [Fraction(row["maintenance_amount"]) for row in shown] == cums
        if chance.random() > 0.05:
            continue
        # A position at a mark of 1: its notional is its quantity.
        index = chance.randrange(len(rows))
        top = Fraction(rows[index]["max_notional"] or 10**9)
        low = Fraction(rows[index]["min_notional"])
        units = chance.randint(int(low * 10**4) + 1, int(top * 10**4))
        holder = next(account)
        exchange.apply({"cmd": "mark", "symbol": symbol, "mark_price": "1"})
        exchange.apply({"cmd": "account", "account": holder})
        exchange.apply({"cmd": "deposit", "account": holder, "asset": settle, "amount": 10**10})
        exchange.apply({"cmd": "fill", "account": holder, "symbol": symbol, "side": "buy",
                        "quantity": decimal_text(units, 4), "price": "1"})
        position = exchange.query({"query": "position", "account": holder, "symbol": symbol})
        minor = 10 ** settle_decimals(symbol)
        rate = Fraction(rows[index]["maintenance_margin_rate"])
        exact = Fraction(units, 10**4) * rate - cums[index]
        shown_margin = Fraction(position["positions"][0]["maintenance_margin"])
        assert shown_margin == Fraction(-(-exact * minor // 1), minor)


def test_recorded_tables_of_other_venues(tables, real_data):
    loaded = read_schedules(tables / "hyperliquid_margin_tables.json")
    assert (loaded.shape, len(loaded.schedules)) == ("hyperliquid", 6)
    assert deductions(loaded.schedules["BTC"]) == ["0", "1875000"]
    assert loaded.schedules["ATOM"] == [tier("0", None, "0.1", "5")]
    loaded = read_schedules(tables / "tiers_from_website.csv", maintenance_fraction="0.5")
    assert (len(loaded.schedules), sum(map(len, loaded.schedules.values()))) == (15, 169)
    fragments = json.loads((tables / "okx_bybit_fragments.json").read_text())
    rows = load_schedules(fragments["bybit_linear_BTCUSDT"], symbol="BTCUSDT")["BTCUSDT"]
    assert rows == [tier("0", "300000", "0.0033", "150"), tier("300000", "2000000", "0.005", "100")]
    swaps = json.loads((real_data / "formats" / "http_get_instruments_swap.json").read_text())
    contracts = read_contracts(swaps, {"BTC-USDT-SWAP": "60000", "ETH-USDT-SWAP": "3000"})
    assert load_schedules(fragments["okx_swap_tier1"], contracts=contracts) == {
        "BTC-USDT": [tier("0", "600000", "0.004", "100")],
        "ETH-USDT": [tier("0", "1500000", "0.004", "100")]}
    margin = load_schedules(  # a table in coins: its contract is one coin
        real_data / "formats" / "http_get_position_tiers.json",
        contracts={"BTC-USDT": Contract(1, 60000)})
    assert margin == {"BTC-USDT": [tier("0", "3000000", "0.03", "10")]}


# --- the command ----------------------------------------------------------------------


def test_command_prints_tiers_commands(tmp_path, capsys):
    path = write(tmp_path, META)
    assert cli.call(cli.app, ["tiers", path, "--symbol", "BTC", "--map", "BTC=BTCUSD"]) == 0
    printed = capsys.readouterr()
    assert [json.loads(line) for line in printed.out.splitlines()] == list(
        tiers_commands({"BTCUSD": load_schedules(META)["BTC"]}))
    assert printed.err == ""  # nothing of the symbols that were not asked for
    out = tmp_path / "out.jsonl"
    assert cli.call(cli.app, ["tiers", path, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == "" and "note: OLD: isDelisted\n" in printed.err
    assert [json.loads(line)["symbol"] for line in out.read_text().splitlines()] == ["BTC", "OLD"]


def test_command_prints_a_table(tmp_path, capsys):
    path = write(tmp_path, POSITION_TIERS)
    assert cli.call(cli.app, ["tiers", path, "--table", "--contract", "BTCUSDT=0.01:50000"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[2].split() == ["1", "0", "50000", "0.004", "125", "0"]
    assert "note: declare the instruments with tier_rule whole\n" in printed.err
    cli.call(cli.app, ["tiers", write(tmp_path, BRACKETS), "--table"])
    last = capsys.readouterr().out.splitlines()[4].split()
    assert last == ["3", "250000", "1000000.5", "0.01", "50", "1300"]


@pytest.mark.parametrize(("arguments", "reason"), [
    (["--symbol", "ETH"], "no symbol ETH in the file"),
    (["--map", "ETH=X"], "no symbol ETH in the file"),
    (["--map", "BTC=OLD"], "--map: two symbols would have one name"),
    (["--map", "BTC"], "BTC"),
    (["--contract", "BTC=1"], "--contract BTC=1: expected NAME=SIZE:PRICE[:inverse]"),
    (["--contract", "BTC=1:2:linear"], "expected NAME=SIZE:PRICE[:inverse]"),
    (["--maintenance-fraction", "2"], "maintenance_fraction: must be above 0 and at most 1"),
])
def test_command_refuses_in_one_line(tmp_path, capsys, arguments, reason):
    assert cli.call(cli.app, ["tiers", write(tmp_path, META), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("error: ") and reason in printed.err


def test_command_as_a_process(shell, tmp_path, capsys):
    bad = shell.run("tiers", write(tmp_path, with_change("rows", 2, min_notional="49999")))
    assert (bad.code, bad.out) == (2, "")
    assert bad.only_error.endswith(
        "tiers.dat: BTCUSDT: tier 2: overlap: min_notional 49999 after 50000")
    path = write(tmp_path, META)
    assert cli.call(cli.app, ["tiers", path, "--out", str(tmp_path / "no" / "x")]) == 1
    assert "x: cannot write: no such file or directory" in capsys.readouterr().err
