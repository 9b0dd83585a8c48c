"""Profiles: how a symbol's pools are liquidated, as data.

A profile is a name (`names` lists those that come with the engine, one TOML file each in
this folder), or an object with the fields of `engine.messages.Profile` and those of
`engine.messages.CallLevels`, named `margin_call_levels` and `margin_call_hysteresis`; what it
leaves out comes from its `base`, else from the default. A file of one's own is read by `load` and
handed on as an object, so that a command says all there is to know.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

from engine import messages
from engine.commands import PROFILE, check_object
from engine.errors import CommandError
from engine.instruments import Asset, TermsError, TierRow
from engine.messages import (
    MONEY_MAX,
    NONE,
    OFF_GRID,
    RATE_SCALE,
    TOO_LARGE,
    CallLevels,
    ClosePolicy,
    Profile,
    RejectReason,
)
from engine.units import RATE

FOLDER = Path(__file__).parent
DEFAULT = "default"
#: Most tiers of a schedule, and so most that a step may go down.
TIERS_MAX = 64
#: Most steps of a ramp, each of which is a timer.
RAMP_STEPS_MAX = 1000

_ENUMS: dict[str, type[IntEnum]] = {
    "liquidate_at": messages.LiquidateAt, "close_policy": messages.ClosePolicy,
    "after_cooldown": messages.AfterCooldown, "surplus": messages.Surplus,
    "adl_score": messages.AdlScore, "adl_price": messages.AdlPrice,
    "adl_allocation": messages.AdlAllocation, "position_choice": messages.PositionChoice,
    "order_bound": messages.OrderBound, "unfilled": messages.Unfilled,
    "ramp_of": messages.RampOf, "fund_workoff": messages.FundWorkoff,
    "backstop": messages.BackstopUse,
}
#: Fields that the core does not need.
_FOR_READERS = ("description", "public_view")
_RATES = (
    "target_ratio", "fraction", "exit_buffer", "fund_drawdown_limit", "spread_to_maintenance",
    "bankruptcy_adjustment", "bound_band", "slice_max_share", "fund_workoff_fraction",
    "fund_workoff_offset", "fund_workoff_reprice",
)
_MONEY = (
    "fraction_above_notional", "min_remainder_notional", "fund_max_notional", "slice_rate")
_FLAGS = (
    "adl_cancels_orders", "socialize_losses", "adl", "fund_fallback", "closing_fee_reserve",
    "maker_check")


class ProfileError(ValueError):
    """A profile that cannot be: one line that says what is wrong."""


def names() -> list[str]:
    """Return the names of the profiles that come with the engine, the default first."""
    return [DEFAULT, *sorted(path.stem for path in FOLDER.glob("*.toml"))]


def load(path: str | Path) -> dict[str, Any]:
    """Read a profile file and return it as an object for a command.

    Parameters
    ----------
    path : str or Path
        A TOML file with fields as in a command; decimals are written as strings.

    Raises
    ------
    ProfileError
        ``path: what is wrong``: not TOML, an unknown or wrongly typed field, a base that
        does not exist, a value that makes no sense.
    """
    try:
        with open(path, "rb") as file:
            given = tomllib.load(file)
        check_object("profile", given, PROFILE)
        _check(effective(given))
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, CommandError, ProfileError) as error:
        raise ProfileError(f"{path}: {error}") from None
    return given


def effective(given: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a profile with everything that its base and the default add; no base is left.

    Raises
    ------
    ProfileError
        A name that does not exist.
    """
    values = dict(_named(given) if isinstance(given, str) else given or {})
    base = values.pop("base", None)
    for name in _FOR_READERS:
        values.pop(name, None)
    return {**_named(base or DEFAULT), **values}


@cache
def _named(name: str) -> dict[str, Any]:
    """A profile that comes with the engine, whole."""
    if name == DEFAULT:
        return _default()
    if name not in names():
        raise ProfileError(f"no profile {name!r:.80}")
    return effective(_file(name))


@cache
def _file(name: str) -> dict[str, Any]:
    return load(FOLDER / f"{name}.toml")


def public_view(given: str | Mapping[str, Any] | None) -> str:
    """Return the feed of `engine.public_view` that a profile names: its own, or its base's.

    A true stream, `all`, where nobody names one.

    Raises
    ------
    ProfileError
        A name that does not exist.

    Examples
    --------
    >>> public_view("bybit_linear"), public_view({"base": "okx_swap"}), public_view(None)
    ('bybit', 'okx', 'all')
    """
    while given is not None and given != DEFAULT:
        if isinstance(given, str):
            _named(given)  # it exists
            given = _file(given)
        if "public_view" in given:
            return str(given["public_view"])
        given = given.get("base")
    return "all"


def _default() -> dict[str, Any]:
    """The contract's defaults, as they would be written in a command."""
    return show(Profile(), CallLevels(), None)


def show(profile: Profile, calls: CallLevels, settle: Asset | None) -> dict[str, Any]:
    """Return a core's row, and its margin-call levels, as they would be written in a command."""
    shown = {name: _shown(name, value, settle) for name, value in profile._asdict().items()}
    return shown | {
        "margin_call_levels": [RATE.text(level) for level in calls.levels],
        "margin_call_hysteresis": RATE.text(calls.hysteresis)}


def _shown(name: str, value: int, settle: Asset | None) -> Any:
    if value == NONE:
        return None
    if name in _ENUMS:
        return _ENUMS[name](value).name.lower()
    if name in _FLAGS:
        return bool(value)
    if name in _RATES:
        return RATE.text(value)
    if name in _MONEY:
        return settle.minor.text(value) if settle else str(value)
    return value


def core_profile(given: str | Mapping[str, Any] | None, settle: Asset) -> Profile:
    """Return a profile as the core's row of integers.

    Raises
    ------
    TermsError
        `bad_profile`, with what is wrong.
    """
    try:
        values = effective(given)
        row = Profile(**{name: _units(name, values[name], settle) for name in Profile._fields})
        _check_row(row)
    except ProfileError as error:
        raise TermsError(RejectReason.BAD_PROFILE, str(error)) from None
    return row


def core_calls(given: str | Mapping[str, Any] | None) -> CallLevels:
    """Return the margin-call levels of a profile.

    Raises
    ------
    TermsError
        `bad_profile`, with what is wrong.
    """
    try:
        return _calls(effective(given))
    except ProfileError as error:
        raise TermsError(RejectReason.BAD_PROFILE, str(error)) from None


def check_closing_fee(
    profile: Profile, terms: Mapping[str, Any], tiers: Sequence[TierRow]
) -> None:
    """Refuse a profile that reserves a fee which brings a tier's rate above 1.

    Raises
    ------
    TermsError
        `bad_profile`.
    """
    if profile.closing_fee_reserve:
        fee = RATE.units(terms.get("taker_fee", 0))
        if max(rate for _, _, rate, _ in tiers) + fee > RATE_SCALE:
            raise TermsError(
                RejectReason.BAD_PROFILE, "with the closing fee a margin rate is above 1")


def _units(name: str, value: Any, settle: Asset | None) -> int:
    if value is None:
        return NONE
    if name in _ENUMS:
        return int(_ENUMS[name][value.upper()])
    if name in _RATES:
        units = RATE.units(value)
        if units in (OFF_GRID, TOO_LARGE):
            raise ProfileError(f"{name} must be a multiple of 0.00000001 of a sensible size")
        return units
    if name in _MONEY:
        if settle is None:  # of what, a file cannot know
            return 0
        units = settle.minor.positive_units(value)
        if units == OFF_GRID:
            raise ProfileError(f"{name} is finer than the minor unit of {settle.name}")
        return MONEY_MAX if units == TOO_LARGE else units
    return int(value)


def _check(values: Mapping[str, Any]) -> None:
    """Refuse values that make no sense in any asset."""
    _calls(values)
    _check_row(Profile(**{name: _units(name, values[name], None) for name in Profile._fields}))


def _calls(values: Mapping[str, Any]) -> CallLevels:
    """The margin-call levels of a whole profile; null is the default."""
    levels, hysteresis = values["margin_call_levels"], values["margin_call_hysteresis"]
    calls = CallLevels()
    if levels is not None:
        calls = calls._replace(levels=tuple(RATE.units(level) for level in levels))
    if hysteresis is not None:
        calls = calls._replace(hysteresis=RATE.units(hysteresis))
    if not calls.are_sensible():
        raise ProfileError(
            "margin_call_levels must be up to 4 ascending ratios between 0 and 1, "
            "margin_call_hysteresis less than each")
    return calls if calls.levels else CallLevels((), 0)


def _check_row(row: Profile) -> None:
    for is_right, what in (
        (1 <= row.tiers_per_step <= TIERS_MAX, f"tiers_per_step must be 1 to {TIERS_MAX}"),
        (0 < row.target_ratio <= RATE_SCALE * 99 // 100, "target_ratio must be 0.99 or less"),
        (RATE_SCALE // 100 <= row.fraction <= RATE_SCALE, "fraction must be 0.01 to 1"),
        (0 <= row.cooldown_ns <= MONEY_MAX, "cooldown_ns must not be negative"),
        (0 <= row.exit_buffer < RATE_SCALE, "exit_buffer must be from 0 to below 1"),
        (not _has_target(row) or row.target_ratio < RATE_SCALE - row.exit_buffer,
         "target_ratio must be below 1 - exit_buffer"),
        (row.steps_per_command == NONE or row.steps_per_command >= 1,
         "steps_per_command must be at least 1"),
        (row.fund_drawdown_limit == NONE or 0 < row.fund_drawdown_limit < RATE_SCALE,
         "fund_drawdown_limit must lie between 0 and 1"),
        (0 < row.fund_drawdown_window_ns <= MONEY_MAX,
         "fund_drawdown_window_ns must be positive"),
        (0 < row.fund_workoff_fraction <= RATE_SCALE,
         "fund_workoff_fraction must be above 0, and at most 1"),
        (0 < row.fund_workoff_interval_ns <= MONEY_MAX,
         "fund_workoff_interval_ns must be positive"),
        (0 <= row.fund_workoff_offset < RATE_SCALE,
         "fund_workoff_offset must be from 0 to below 1"),
        (0 <= row.fund_workoff_reprice <= RATE_SCALE, "fund_workoff_reprice must be 0 to 1"),
        (row.fraction_above_notional >= 0 and row.min_remainder_notional >= 0
         and (row.fund_max_notional == NONE or row.fund_max_notional >= 0)
         and (row.slice_rate == NONE or row.slice_rate >= 0),
         "a notional must not be negative"),
        *_closing_rules(row),
    ):
        if not is_right:
            raise ProfileError(what)


def _has_target(row: Profile) -> bool:
    return row.close_policy == ClosePolicy.TO_TARGET or (
        row.close_policy == ClosePolicy.RAMP and row.ramp_of == messages.RampOf.TARGET)


def _closing_rules(row: Profile) -> tuple[tuple[bool, str], ...]:
    """What must hold of bounds, ramps and slices."""
    has_slices = row.slice_max_share != NONE or row.slice_rate != NONE
    return (
        (0 < row.spread_to_maintenance <= 10 * RATE_SCALE,
         "spread_to_maintenance must be above 0, at most 10"),
        (RATE_SCALE <= row.bankruptcy_adjustment <= 10 * RATE_SCALE,
         "bankruptcy_adjustment must be 1 to 10"),
        (0 <= row.bound_band < RATE_SCALE, "bound_band must be from 0 to below 1"),
        (0 < row.ramp_ns <= MONEY_MAX, "ramp_ns must be positive"),
        (1 <= row.ramp_steps <= RAMP_STEPS_MAX, f"ramp_steps must be 1 to {RAMP_STEPS_MAX}"),
        (row.slice_max_share == NONE or 0 < row.slice_max_share <= RATE_SCALE,
         "slice_max_share must be above 0, at most 1"),
        (0 < row.slice_interval_ns <= MONEY_MAX, "slice_interval_ns must be positive"),
        (not has_slices or row.close_policy != ClosePolicy.FRACTION,
         "slices do not go with the close policy fraction"),
    )
