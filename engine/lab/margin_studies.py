"""Studies of margin rules: schedules, margins that follow volatility, weak collateral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.errors import InputError
from engine.lab.scenario import (
    TIERS,
    MarginSpec,
    PopulationSpec,
    Scenario,
    Shock,
    SymbolSpec,
    TierSpec,
)
from engine.lab.study import WHO_PAYS, Study
from engine.schedules import Row, load_schedules

#: Twice the maintenance, half the leverage.
_STRICT = tuple((cap, f"{min(2 * float(rate), 1.0):g}", max(leverage // 2, 1))
                for cap, rate, leverage in TIERS)

#: A pair of our own, of the shape that venues had: the same rates, and in the newer one bands
#: ten times as wide, so that maintenance of a position of 5 m is 0.7 % of it instead of 3.7 %.
NARROW: tuple[TierSpec, ...] = (
    (50_000, "0.004", 125), (250_000, "0.005", 100), (1_000_000, "0.01", 50),
    (2_000_000, "0.025", 20), (5_000_000, "0.05", 10), (10_000_000, "0.1", 5),
    (20_000_000, "0.125", 4), (None, "0.25", 2),
)
WIDE: tuple[TierSpec, ...] = tuple(
    (None if cap is None else 10 * cap, rate, leverage) for cap, rate, leverage in NARROW)

#: Few hold most, as in any market: otherwise all sit in the first tiers.
_LARGE = Scenario(
    name="tier_schedules",
    symbols=(SymbolSpec("BTC", "60000", 1.0, 3.0), SymbolSpec("ETH", "3000", 1.2, 2.0),
             SymbolSpec("SOL", "150", 1.5, 1.0)),
    population=replace(PopulationSpec(), notional_median=20_000.0, notional_sigma=2.2),
    insurance=5_000_000.0)


def _under(tiers: tuple[TierSpec, ...]) -> tuple[SymbolSpec, ...]:
    return tuple(replace(symbol, tiers=tiers) for symbol in _LARGE.symbols)


#: Its largest rate, times the largest multiplier, is below 1.
_CAPPED = tuple(
    replace(symbol, tiers=(*TIERS[:-2], (None, TIERS[-2][1], TIERS[-2][2])))
    for symbol in Scenario().symbols)

STUDIES = (
    Study(
        "tier_schedules", "An older and a newer margin schedule",
        "The same positions in the same fall under two schedules. Everybody holds what either "
        "schedule asks of him, so a schedule with wider bands lets large positions run on less "
        "margin. Without --tiers the pair is made up, with the newer bands ten times as wide; "
        "with --tiers OLD --tiers NEW it is read from files.",
        _LARGE, {"symbols": {"narrow bands": _under(NARROW), "wide bands": _under(WIDE)}},
        (*WHO_PAYS, ("bad_debt", "bad debt"), ("low", "lowest mark"))),
    Study(
        "tier_change", "A stricter schedule, before the fall or in it",
        "The venue replaces the schedule of all symbols by one with twice the maintenance "
        "rates and half the leverage: never, a minute before the slide, between slide and gap, "
        "or a minute after the gap. Positions are open, and what does not meet it is "
        "liquidated by the change itself.",
        parameters={"shocks": {
            "never": Scenario().shocks,
            **{f"at {at:g} s": (*Scenario().shocks, Shock("tiers", at, tiers=_STRICT))
               for at in (60.0, 330.0, 480.0)}}},
        figures=WHO_PAYS),
    Study(
        "margin_spiral", "Margins that follow volatility",
        "Margins are fixed, or a multiple of the schedule's that grows with volatility: of the "
        "index, which knows nothing of the forced sales, or of the mark, which they move. With "
        "the mark a loop closes: sales raise volatility, volatility raises margins, margins "
        "make sales (Brunnermeier and Pedersen's margin spiral). The slide alone is too slow "
        "to raise margins by the index; what the mark adds is the spiral.",
        Scenario(name="margin_spiral", symbols=_CAPPED,
                 shocks=(Shock("price", 120.0, 150.0, -0.04),)),
        {"margins": {"fixed": MarginSpec(), **{
            f"of the {source}": MarginSpec(source, 0.0008, largest=4.0)
            for source in ("index", "mark")}}},
        (*WHO_PAYS, ("margin_multiplier", "largest multiple"), ("low", "lowest mark"))),
    Study(
        "depeg", "When the collateral falls with the market",
        "Some post their whole margin in an asset that counts at 95 % of its price. From the "
        "gap on it loses 35 % of its par within two minutes, and three minutes later most of "
        "that has come back. How much of the population has it is varied; who has it is the "
        "same in every comparison.",
        Scenario().replaced("shocks", (
            *Scenario().shocks, Shock("collateral_depeg", 420.0, 120.0, -0.35),
            Shock("collateral_depeg", 720.0, 60.0, 0.3))),
        {"collateral.share": [0.0, 0.25, 0.5, 0.75]},
        (*WHO_PAYS, ("collateral_converted", "collateral sold for debts"))),
)


def with_schedules(study: Study, files: Sequence[str]) -> Study:
    """Return a study that compares the schedules of files.

    Parameters
    ----------
    study : Study
        Its scenario's symbols are looked up in each file, quoted in USDT.
    files : sequence of str
        In any shape that `engine.schedules` reads.

    Raises
    ------
    InputError
        A file that cannot be read, is without one of the symbols, or has a cap or a leverage
        for one that is no whole number.
    """
    names = [Path(file).stem for file in files]
    if len(set(names)) < len(names):  # of the same name in several folders
        names = list(files)
    choices = {}
    for name, file in zip(names, files, strict=True):
        schedules = load_schedules(file)
        choices[name] = tuple(
            replace(symbol, tiers=_tiers_of(schedules, symbol.name, file))
            for symbol in study.scenario.symbols)
    return replace(study, parameters={"symbols": choices},
                   text=f"{study.text} Here they are of {' and '.join(choices)}.")


def _tiers_of(
    schedules: dict[str, list[Row]], name: str, file: str
) -> tuple[TierSpec, ...]:
    for spelling in (name, f"{name}USDT", f"{name}/USDT", f"{name}/USDT:USDT"):
        if spelling in schedules:
            rows = schedules[spelling]
            try:
                return tuple(
                    (None if row is rows[-1] else int(str(row["max_notional"])),
                     str(row["maintenance_margin_rate"]), int(str(row["max_leverage"])))
                    for row in rows)
            except ValueError:
                raise InputError(
                    f"{file}: {spelling}: caps and leverages are whole numbers here") from None
    raise InputError(f"{file}: no schedule of {name}")
